"""Whole files in, of any format.

Nothing is guessed: what would be read wrongly without a word (a second page, pixels for print, a
camera's raw data) is refused with the reason.
"""

import io
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from dfp_batch.io.codec import (
    heic,
    jpeg,
    jpeg2000,
    jpeg_xl,
    pillow_image,
    png,
    pnm,
    raw,
    tiff,
    webp,
)
from dfp_batch.io.codec.frame import Frame, Metadata, Pixels
from dfp_batch.io.codec.header import (
    Header,
    Opened,
    RawFileError,
    RefusedError,
    Stored,
    damaged,
    is_sideways,
    named,
    oriented,
    upright,
)
from dfp_batch.io.codec.names import FORMATS
from dfp_batch.io.codec.raw import Development

_OPENED = {
    "JPEG": jpeg.opened,
    "PNG": png.opened,
    "TIFF": tiff.opened,
    "WebP": webp.opened,
    "BMP": pillow_image.opened_bmp,
    "PNM": pnm.opened,
    "GIF": pillow_image.opened_gif,
    "JPEG 2000": jpeg2000.opened,
    "JPEG XL": jpeg_xl.opened,
    "HEIC": heic.opened,
}
_HOLD_HEADER: dict[str, Callable[[bytes], bool]] = {  # of the others the whole file is read
    "JPEG": jpeg.holds_header,
    "PNG": png.holds_header,
    "BMP": bool,
    "PNM": bool,
    "JPEG 2000": jpeg2000.holds_header,
}
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    **dict.fromkeys(jpeg2000.SIGNATURES, "JPEG 2000"),
    **dict.fromkeys(jpeg_xl.SIGNATURES, "JPEG XL"),
}
_PNM_NUMBERS = b"1234567"
_LARGEST_FLOAT = float(np.finfo(np.float32).max) / 4  # a span must not overflow
_FIRST_BYTES = 64 * 1024  # of a file whose header is looked for
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def decode(data: bytes, url: str, shared: Development | None = None) -> Frame:
    """Read one whole grey or colour image, with or without alpha.

    The orientation that the file states is applied once, and is 1 in the EXIF data that are kept.

    Args:
        data: The file's bytes.
        url: Where they come from; used in error messages, and its ending tells camera RAW files.
        shared: What a camera RAW file is developed with; None is its own.

    Returns:
        The image at its own bit depth; float64 becomes float32, a palette becomes colours.

    Raises:
        ImageError: Empty, damaged, not an image, too large, several pages or frames, CMYK, RAW, or
            samples that a frame does not hold, or floats that are not finite.
    """
    with named(url):
        return loaded(_opened(data, url, shared=shared), len(data))


def loaded(found: Opened, size_bytes: int) -> Frame:
    """Decode the pixels of a file, or of a page of one, that has been opened.

    Args:
        found: What its header says.
        size_bytes: Of the file, for the message.

    Raises:
        RefusedError: Damaged, or floats that are not finite.
        StorageError: The store failed.
    """
    stored, head = found.load(), found.header
    if stored.pixels.shape != (head.height, head.width, head.channels + head.has_alpha):
        raise damaged(head.format, size_bytes)
    return _frame(stored, found)


def development_of(data: bytes, url: str) -> Development | None:
    """What a camera RAW file is developed with by itself; None for other images.

    Raises:
        ImageError: Empty, not an image, or damaged.
    """
    with named(url):
        kind = _kind(data, url, len(data))
        if kind == "TIFF":
            with suppress(RawFileError):
                tiff.opened(data, len(data))
                return None
        return raw.development_of(data) if kind in ("RAW", "TIFF") else None


def inspect(data: bytes, url: str) -> Header:
    """Read the header of an image, and refuse what :func:`decode` refuses without its pixels.

    Args:
        data: The file's bytes.
        url: Where they come from.

    Returns:
        Size, channels and depth of the frame that it holds.

    Raises:
        ImageError: As :func:`decode`, as far as the header tells.
    """
    with named(url):
        found = _opened(data, url)
        return upright(found.header, found.orientation)


def inspect_file(file: BinaryIO, url: str) -> Header:
    """As :func:`inspect`, and reads no more than it needs.

    Of a WebP, a GIF, a JPEG XL and a HEIC that is the whole file.

    A PNG that states its orientation after the pixels, as few programs write it, counts as upright.

    Args:
        file: Open for reading in any order.
        url: Where it comes from.

    Raises:
        ImageError: As :func:`decode`, as far as the header tells.
        StorageError: The store failed.
    """
    data, size_bytes = _beginning(file)
    with named(url):
        if _kind(data, url, size_bytes) == "TIFF":
            with suppress(RawFileError):
                return tiff.inspected(file, size_bytes)
            file.seek(0)
            data = file.read()
        found = _opened_from(data, file, url, size_bytes)
        return upright(found.header, found.orientation)


def metadata_of(file: BinaryIO, url: str) -> Metadata:
    """What travels with the pixels of an image other than a TIFF.

    Arguments and errors as of :func:`inspect_file`.
    """
    data, size_bytes = _beginning(file)
    with named(url):
        return _opened_from(data, file, url, size_bytes).metadata


def _beginning(file: BinaryIO) -> tuple[bytes, int]:
    """The first bytes of a file, and its size."""
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    return file.read(_FIRST_BYTES), size_bytes


def _opened_from(data: bytes, file: BinaryIO, url: str, size_bytes: int) -> Opened:
    """Open a file that is no TIFF by its beginning, and as much more as it takes."""
    holds_header = _HOLD_HEADER.get(_kind(data, url, size_bytes), _needs_all)
    while len(data) < size_bytes and not holds_header(data):
        data += file.read(len(data))
    return _opened(data, url, size_bytes)


def _needs_all(_data: bytes) -> bool:
    """Of a format whose header may be anywhere."""
    return False


def _opened(
    data: bytes, url: str, size_bytes: int | None = None, shared: Development | None = None
) -> Opened:
    """Open a file by its bytes, or by those up to its pixels and the size of the whole."""
    size_bytes = len(data) if size_bytes is None else size_bytes
    kind = _kind(data, url, size_bytes)
    try:
        if kind != "RAW":
            return _OPENED[kind](data, size_bytes)
    except RawFileError:
        pass
    return raw.opened(data, size_bytes, shared)


def _kind(data: bytes, url: str, size_bytes: int) -> str:
    """Format of a file by its first bytes, unless it cannot be used whatever follows."""
    if not data:
        raise RefusedError("is empty (0 bytes), expected an image")
    kind = "RAW" if raw.is_raw(data, url) else _signature(data)
    if kind is None:
        raise RefusedError(
            f"does not start like a {FORMATS} image: {data[:8]!r}..., {size_bytes} bytes"
        )
    return kind


def _signature(data: bytes) -> str | None:
    for start, kind in _SIGNATURES.items():
        if data.startswith(start):
            return kind
    if data.startswith(_TIFF_SIGNATURES):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    is_pnm = data[:1] == b"P" and data[1:2] in _PNM_NUMBERS and data[2:3] in b" \t\r\n#"
    if is_pnm and len(data) > 2:  # noqa: PLR2004
        return "PNM"
    return "HEIC" if heic.is_heic(data) else None


def _frame(stored: Stored, found: Opened) -> Frame:
    """Turn, check and split what was decoded."""
    head, metadata = found.header, found.metadata
    pixels = np.ascontiguousarray(_checked(oriented(stored.pixels, found.orientation)))
    size_um = metadata.pixel_size_um
    if size_um is not None and is_sideways(found.orientation):
        metadata = Metadata(metadata.icc, metadata.exif, size_um[::-1])
    if not head.has_alpha:
        return Frame(pixels, None, stored.white, metadata)
    colours, alpha = pixels[:, :, :-1], pixels[:, :, -1]
    return Frame(np.ascontiguousarray(colours), np.ascontiguousarray(alpha), stored.white, metadata)


def _checked(pixels: Pixels) -> Pixels:
    """Pass whole numbers, check that floats are finite."""
    if pixels.dtype.kind != "f":
        return pixels
    broken = int((~np.isfinite(pixels)).any(axis=2).sum())
    if broken:
        total = pixels.shape[0] * pixels.shape[1]
        raise RefusedError(f"{broken} of {total} pixels are NaN or infinite, expected finite")
    most = float(max(-pixels.min(), pixels.max()))
    if most > _LARGEST_FLOAT:
        raise RefusedError(f"float samples must be below {_LARGEST_FLOAT:g}, found {most:g}")
    return pixels.astype(np.float32, copy=False)
