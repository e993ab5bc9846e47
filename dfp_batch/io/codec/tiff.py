"""TIFF of one image, or one page of a stack, in and out."""

import hashlib
import struct
import uuid
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO, Literal

import numpy as np
import tifffile

from dfp_batch.io.codec import exif, tiff_page, tiff_pixels
from dfp_batch.io.codec.frame import Frame, Pixels
from dfp_batch.io.codec.header import Header, Opened, RefusedError, Stored, damaged, upright

CLASSIC_BYTES = 2**32 - 2**25  # above, a TIFF needs offsets of 8 bytes
_UM_PER_CM = 10_000.0
_LEVEL = 1  # of deflate, decision 0044


def opened(data: bytes, size_bytes: int) -> Opened:
    """Read everything but the pixels.

    Args:
        data: The file.
        size_bytes: Of it.

    Raises:
        RefusedError: Damaged, too large, several pages, or samples that a frame does not have.
    """
    try:
        tiff = tifffile.TiffFile(BytesIO(data))
        pages = list(tiff.pages)
        tiff_page.check_only(pages, size_bytes)
        return _opened(pages[0], exif.of_tiff(data, pages[0].offset))
    except tiff_page.DAMAGE as error:
        raise damaged("TIFF", size_bytes) from error


def opened_page(page: Any, start: int | None) -> Opened:  # noqa: ANN401 - tifffile's pages are loose
    """Read everything but the pixels of one image of a stack, in a file that is open.

    Args:
        page: Of tifffile.
        start: Offset of the image in a page that holds several; None for the whole page.

    Raises:
        RefusedError: Damaged, too large, or samples that a frame does not have.
        StorageError: The store failed.
    """
    size_bytes = page.parent.filehandle.size
    try:
        tiff_page.check_kind(page)
        if start is None:
            tiff_pixels.check_segments(page, size_bytes)
        return _opened(page, tiff_page.exif_of(page), start)
    except tiff_page.DAMAGE as error:
        raise damaged("TIFF", size_bytes) from error


def inspected(file: BinaryIO, size_bytes: int) -> Header:
    """The header of an open file; no pixels are read.

    Raises:
        RefusedError: As ``opened``.
        StorageError: The store failed.
    """
    file.seek(0)
    try:
        # These two would open other files beside this one.
        with tifffile.TiffFile(file, is_mmstack=False, is_ndtiff=False) as tiff:
            pages = list(tiff.pages)
            tiff_page.check_only(pages, size_bytes)
            return page_header(pages[0])
    except tiff_page.DAMAGE as error:
        raise damaged("TIFF", size_bytes) from error


def page_header(page: Any) -> Header:  # noqa: ANN401
    """What a page will be, after its orientation has been applied.

    Raises:
        RefusedError: Damaged, too large, or samples that a frame does not have.
    """
    try:
        tiff_page.check_kind(page)
        return upright(tiff_page.stored_header(page), tiff_page.orientation(page))
    except tiff_page.DAMAGE as error:
        raise damaged("TIFF", page.parent.filehandle.size) from error


def written(frame: Frame) -> bytes:
    """Encode a frame of any depth, lossless (deflate).

    Raises:
        RefusedError: tifffile failed.
    """
    block = frame.metadata.exif
    order: Literal["<", ">"] = ">" if block and exif.byte_order(block) == ">" else "<"
    samples = frame.pixels if frame.alpha is None else np.dstack([frame.pixels, frame.alpha])
    buffer = BytesIO()
    try:
        with tifffile.TiffWriter(buffer, bigtiff=_needs_big(samples), byteorder=order) as writer:
            writer.write(_squeezed(samples), **_options(frame, samples.shape[2]))
    except (ValueError, struct.error) as error:
        raise RefusedError(f"tifffile refused it: {' '.join(str(error).split())}") from error
    if block is None:
        return buffer.getvalue()
    return _with_exif(bytearray(buffer.getbuffer()), frame, block)


def written_channels(frames: Sequence[Frame], names: Sequence[str]) -> bytes:
    """Encode grey frames of one kind as the channels of an OME-TIFF, lossless (deflate).

    Raises:
        RefusedError: tifffile failed.
    """
    first, samples = frames[0], np.stack([frame.pixels[:, :, 0] for frame in frames])
    buffer = BytesIO()
    try:
        with tifffile.TiffWriter(buffer, bigtiff=_needs_big(samples), ome=True) as writer:
            writer.write(samples, **_options(first, 1) | {"metadata": _ome(first, samples, names)})
    except (ValueError, struct.error) as error:
        raise RefusedError(f"tifffile refused it: {' '.join(str(error).split())}") from error
    return buffer.getvalue()


def _ome(first: Frame, samples: Pixels, names: Sequence[str]) -> dict[str, Any]:
    """What OME-XML says of channels (C, h, w); the id is that of the pixels, not of the day."""
    digest = hashlib.sha256(np.ascontiguousarray(samples).data).digest()
    said: dict[str, Any] = {
        "axes": "CYX",
        "Channel": {"Name": list(names)},
        "SignificantBits": first.significant_bits,
        "UUID": str(uuid.UUID(bytes=digest[:16])),
    }
    size_um = first.metadata.pixel_size_um
    if size_um is not None:
        said |= {"PhysicalSizeX": size_um[0], "PhysicalSizeY": size_um[1]}
        said |= {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    return said


def _opened(page: Any, block: bytes | None, start: int | None = None) -> Opened:  # noqa: ANN401
    head, turn = tiff_page.stored_header(page), tiff_page.orientation(page)
    return Opened(head, turn, tiff_page.metadata(page, block), partial(_load, page, start))


def _load(page: Any, start: int | None) -> Stored:  # noqa: ANN401
    try:
        pixels = tiff_pixels.pixels_of(page, start)
        if page.photometric == tiff_page.PALETTE:
            return Stored(tiff_pixels.coloured(page, pixels))
    except tiff_page.DAMAGE as error:
        raise damaged("TIFF", page.parent.filehandle.size) from error
    white = tiff_page.white(page)
    if page.photometric == tiff_page.WHITE_IS_ZERO:
        pixels = tiff_pixels.inverted(pixels, white, bool(page.extrasamples))
    if tuple(page.extrasamples) == (tiff_page.ASSOCIATED,):
        pixels = tiff_pixels.divided(pixels, white)
    return Stored(pixels, white)


def _needs_big(samples: Pixels) -> bool:
    """Whether offsets of 4 bytes may be too small."""
    return samples.nbytes > CLASSIC_BYTES


def _squeezed(samples: Pixels) -> Pixels:
    return samples[:, :, 0] if samples.shape[2] == 1 else samples


def _options(frame: Frame, samples: int) -> dict[str, Any]:
    """Arguments of tifffile for everything but the pixels and EXIF."""
    options: dict[str, Any] = {
        "photometric": "rgb" if frame.pixels.shape[2] == 3 else "minisblack",  # noqa: PLR2004
        "planarconfig": "contig" if samples > 1 else None,
        "extrasamples": () if frame.alpha is None else ("unassalpha",),
        "compression": "zlib",
        "compressionargs": {"level": _LEVEL},
        "predictor": frame.pixels.dtype.kind in "ui",
        "iccprofile": frame.metadata.icc,
        "metadata": None,
        "software": False,
        "maxworkers": 1,
    }
    if frame.white is not None and frame.pixels.dtype.kind == "u":
        options["extratags"] = [
            (tiff_page.MAXIMUM, "H", samples, (int(frame.white),) * samples, True)
        ]
    size_um = frame.metadata.pixel_size_um
    if size_um is not None:
        per_cm = tuple(_UM_PER_CM / side for side in size_um)
        options |= {"resolution": per_cm, "resolutionunit": "CENTIMETER"}
    return options


def _with_exif(file: bytearray, frame: Frame, block: bytes) -> bytes:
    height, width, _ = frame.pixels.shape
    stamped = exif.stamped(block, width, height, frame.metadata.pixel_size_um)
    exif.add_to_tiff(file, stamped or block)
    return bytes(file)
