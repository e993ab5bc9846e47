"""TIFF of one image: its header by tifffile, its pixels by us, JPEG in it by OpenCV."""

import logging
import struct
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO, Literal

import numpy as np
import tifffile

from dfp_batch.io.codec import exif, opencv, segments
from dfp_batch.io.codec.frame import Frame, Metadata, Pixels, full_range
from dfp_batch.io.codec.header import (
    Header,
    Opened,
    RefusedError,
    Stored,
    channel_names,
    check_fill,
    check_size,
    damaged,
    upright,
)

# tifffile logs damage as well as raising it; one report is enough.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)

_DTYPES = {"uint8", "uint16", "float32", "float64"}
_COLOURS = {"MINISBLACK": 1, "RGB": 3, "PALETTE": 1}
_CMYK, _PALETTE, _CFA, _LINEAR_RAW = 5, 3, 32803, 34892
_PACKED_BITS = (10, 12, 14)
_UNASSOCIATED, _ASSOCIATED = 2, 1
_ORIENTATION, _ICC, _MAXIMUM, _COLOUR_MAP, _SUB_IFDS, _DNG = 274, 34675, 281, 320, 330, 50706
_WHITES = {2**bits - 1 for bits in range(8, 17)}
_JPEG_PX_PER_BYTE = 512
_CLASSIC_BYTES = 2**32 - 2**25  # above, a TIFF needs offsets of 8 bytes
_UM_PER_CM = 10_000.0
_LEVEL = 3  # of deflate: a quarter of the time of level 6, 1 % larger
_DAMAGE = (  # what tifffile lets through on a damaged header
    tifffile.TiffFileError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


def opened(data: bytes, size_bytes: int) -> Opened:
    """Read everything but the pixels.

    Args:
        data: The file.
        size_bytes: Of it.

    Raises:
        RefusedError: Damaged, too large, several pages, or samples that a frame does not have.
    """
    try:
        with tifffile.TiffFile(BytesIO(data)) as tiff:
            page = _only_page(list(tiff.pages), size_bytes)
            load = partial(_load, page, data)
            return Opened(_header(page), _orientation(page), _metadata(page, data), load)
    except _DAMAGE as error:
        raise _damaged(size_bytes) from error


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
            page = _only_page(list(tiff.pages), size_bytes)
            return upright(_header(page), _orientation(page))
    except _DAMAGE as error:
        raise _damaged(size_bytes) from error


def page_header(page: Any) -> Header:  # noqa: ANN401 - tifffile's pages are loose
    """The header of one page of a stack.

    Raises:
        RefusedError: Too large, or samples that a frame does not have.
    """
    check_size(page.imagewidth, page.imagelength)
    problem = _page_problem(page)
    if problem:
        raise RefusedError(problem)
    return upright(_header(page), _orientation(page))


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


def _only_page(pages: Sequence[Any], size_bytes: int) -> Any:  # noqa: ANN401
    """The page that is the image, once it has been found usable."""
    page = pages[0]
    _check_raw(page)
    check_size(page.imagewidth, page.imagelength)
    problem = _page_problem(page) or _pages_problem(pages)
    if problem:
        raise RefusedError(problem)
    _check_fill(page, size_bytes)
    return page


def _orientation(page: Any) -> int:  # noqa: ANN401
    turn = _number(page, _ORIENTATION, 1)
    return turn if turn in range(1, 9) else 1


def _number(page: Any, tag: int, default: int) -> int:  # noqa: ANN401 - tifffile's tags are loose
    value = page.tags.valueof(tag, default)
    value = value[0] if isinstance(value, tuple) and value else value
    return int(value) if isinstance(value, int) else default


def _check_raw(page: Any) -> None:  # noqa: ANN401
    """Refuse camera RAW files that start like a TIFF; their first image is a thumbnail."""
    colours = int(page.photometric)
    has_inner = page.is_reduced and _SUB_IFDS in page.tags
    if _DNG in page.tags or colours in (_CFA, _LINEAR_RAW) or has_inner:
        raise RefusedError(
            "is a camera RAW file, expected developed pixels; convert to 16-bit TIFF first"
        )


def _pages_problem(pages: Sequence[Any]) -> str | None:
    """Say what is wrong with the number of pages; reduced copies after the image may stay."""
    images = sum(not page.is_reduced for page in pages)
    if len(pages) == 1 or (images == 1 and not pages[0].is_reduced):
        return None
    if images < 2:  # noqa: PLR2004
        return "holds a thumbnail before the image, expected the image first; save it again"
    return (
        f"holds {images} pages, expected one image; a stack in one file must be the only source "
        "of its pair, else save each page as its own file"
    )


def _page_problem(page: Any) -> str | None:  # noqa: ANN401
    """Say why the page cannot be a frame."""
    checks = (_colour_problem, _sample_problem, _channel_problem, _layout_problem)
    return next((problem for check in checks if (problem := check(page))), None)


def _colour_problem(page: Any) -> str | None:  # noqa: ANN401
    if page.photometric == _CMYK:
        return "holds CMYK pixels, expected grey or RGB; convert it to RGB"
    name = getattr(page.photometric, "name", str(page.photometric))
    if name in _COLOURS or (name == "YCBCR" and page.compression == segments.JPEG):
        return None
    return f"holds {name} pixels, expected grey (black is 0) or RGB; convert it"


def _sample_problem(page: Any) -> str | None:  # noqa: ANN401
    name, bits = page.dtype.name if page.dtype else "unknown", page.bitspersample
    whole = name in _DTYPES and bits == 8 * page.dtype.itemsize
    packed = bits in _PACKED_BITS and page.sampleformat == 1 and page.predictor == 1
    if (whole or packed) and (page.photometric != _PALETTE or bits == 8):  # noqa: PLR2004
        return None
    return f"holds {bits}-bit {name} samples, expected uint8, uint16 or float32; convert it"


def _channel_problem(page: Any) -> str | None:  # noqa: ANN401
    colours, extra = _colours(page), tuple(page.extrasamples)
    count = page.samplesperpixel
    if count == colours:
        return None
    if count != colours + 1:
        return channel_names(count)
    if extra not in ((_UNASSOCIATED,), (_ASSOCIATED,)):
        return (
            f"has {count} channels, the last of which the file does not call alpha; expected "
            "1 (grey) or 3 (colour), with or without alpha"
        )
    return None


def _layout_problem(page: Any) -> str | None:  # noqa: ANN401
    name = getattr(page.compression, "name", str(page.compression))
    if page.fillorder != 1 or page.imagedepth != 1 or page.tiledepth > 1:
        return "stores bits or planes in an unusual order; save it again"
    if page.compression == segments.JPEG:
        fits = page.bitspersample == 8 and page.samplesperpixel in (1, 3)  # noqa: PLR2004
        if not fits or page.planarconfig != 1:
            return "holds JPEG data of more than 8 bits, alpha or separate planes; save it again"
        return None
    if int(page.compression) not in segments.GROWTH:
        return (
            f"is compressed by {name}, expected none, LZW, deflate, packbits or JPEG; save it again"
        )
    return None if page.predictor in (1, 2, 3) else f"has predictor {page.predictor}; save it again"


def _colours(page: Any) -> int:  # noqa: ANN401
    return _COLOURS.get(page.photometric.name, 3)


def _check_fill(page: Any, size_bytes: int) -> None:  # noqa: ANN401
    """Refuse a page whose segments cannot fill it, before memory for that is taken."""
    layout = _layout(page)
    check_size(layout.segment_width, layout.segment_height)
    ends = [sum(piece) for piece in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if len(ends) < layout.count or max(ends) > size_bytes:
        raise _damaged(size_bytes)
    if page.compression == segments.JPEG:
        needed, most = layout.width * layout.height, _JPEG_PX_PER_BYTE
    else:
        row = -(-layout.width * layout.samples * layout.bits // 8)
        needed, most = row * layout.height, segments.GROWTH[layout.compression]
    stored = min(sum(page.databytecounts), size_bytes)
    check_fill("TIFF", needed, stored, most, size_bytes)


def _layout(page: Any) -> segments.Layout:  # noqa: ANN401
    height, width = page.imagelength, page.imagewidth
    strip = page.rowsperstrip if 0 < page.rowsperstrip < height else height
    dtype = np.dtype(np.uint16) if page.bitspersample in _PACKED_BITS else np.dtype(page.dtype)
    return segments.Layout(
        height=height,
        width=width,
        samples=page.samplesperpixel,
        bits=page.bitspersample,
        dtype=dtype.newbyteorder(page.parent.byteorder),
        segment_height=page.tilelength if page.is_tiled else strip,
        segment_width=page.tilewidth if page.is_tiled else width,
        tiled=page.is_tiled,
        planes=1 if page.planarconfig == 1 else page.samplesperpixel,
        compression=int(page.compression),
        predictor=int(page.predictor),
    )


def _header(page: Any) -> Header:  # noqa: ANN401
    colours = 3 if page.photometric == _PALETTE else _colours(page)
    has_alpha = page.samplesperpixel == _colours(page) + 1
    layout = _layout(page)
    dtype = "float32" if layout.dtype.kind == "f" else layout.dtype.name
    white = _white(page)
    bits = int(white).bit_length() if white else min(layout.bits, 32)
    size = page.imagewidth, page.imagelength
    return Header("TIFF", *size, colours, has_alpha, dtype, bits)


def _white(page: Any) -> float | None:  # noqa: ANN401
    """What packed bits or MaxSampleValue say; the latter counts if it is that of a bit depth.

    Some programs write the highest value of the image there, which says nothing about white.
    """
    if page.bitspersample in _PACKED_BITS:
        return float(2**page.bitspersample - 1)
    value = _number(page, _MAXIMUM, 0)
    return float(value) if page.bitspersample == 16 and value in _WHITES else None  # noqa: PLR2004


def _metadata(page: Any, data: bytes) -> Metadata:  # noqa: ANN401
    icc = page.tags.valueof(_ICC)
    block = exif.of_tiff(data, page.offset)
    size_um = exif.pixel_size_of_tiff(data, page.offset)
    return Metadata(icc if isinstance(icc, bytes) else None, block and exif.upright(block), size_um)


def _load(page: Any, data: bytes) -> Stored:  # noqa: ANN401
    if page.compression == segments.JPEG:
        return Stored(_by_opencv(page, data))
    offsets, sizes = tuple(page.dataoffsets), tuple(page.databytecounts)
    try:
        pixels = segments.pixels_of(
            _layout(page), offsets, sizes, lambda at, size: data[at : at + size]
        )
        if page.photometric == _PALETTE:
            return Stored(_coloured(page, pixels))
    except _DAMAGE as error:
        raise _damaged(len(data)) from error
    if tuple(page.extrasamples) == (_ASSOCIATED,):
        pixels = _divided(pixels, _white(page))
    return Stored(pixels, _white(page))


def _by_opencv(page: Any, data: bytes) -> Pixels:  # noqa: ANN401
    """Decode JPEG in TIFF; OpenCV would apply the orientation, which is ours to do."""
    tag = page.tags.get(_ORIENTATION)
    if tag is not None:
        plain = bytearray(data)
        struct.pack_into(f"{page.parent.byteorder}H", plain, tag.valueoffset, 1)
        data = bytes(plain)
    pixels = opencv.pixels_of(data, "TIFF")
    expected = page.imagelength, page.imagewidth, page.samplesperpixel
    if pixels is None or pixels.shape != expected or pixels.dtype != np.uint8:
        raise _damaged(len(data))
    return pixels


def _coloured(page: Any, indices: Pixels) -> Pixels:  # noqa: ANN401
    """Look indices (h, w, 1) up in the colour map, whose 16 bits repeat 8."""
    table = np.asarray(page.tags.valueof(_COLOUR_MAP), np.uint16).reshape(3, 256)
    return (table >> 8).astype(np.uint8).T[indices[:, :, 0]]


def _divided(pixels: Pixels, white: float | None) -> Pixels:
    """Undo the multiplication of colours by alpha (the last channel)."""
    top = full_range(pixels.dtype) if white is None else white
    alpha = pixels[:, :, -1:].astype(np.float64)
    colours = pixels[:, :, :-1] * np.divide(top, alpha, out=np.zeros_like(alpha), where=alpha > 0)
    rounded = colours if pixels.dtype.kind == "f" else np.rint(colours)
    divided = pixels.copy()
    divided[:, :, :-1] = rounded.clip(0, top)
    return divided


def _damaged(size_bytes: int) -> RefusedError:
    return damaged("TIFF", size_bytes)


def _needs_big(samples: Pixels) -> bool:
    """Whether offsets of 4 bytes may be too small."""
    return samples.nbytes > _CLASSIC_BYTES


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
        "predictor": frame.pixels.dtype.kind == "u",
        "iccprofile": frame.metadata.icc,
        "metadata": None,
        "software": False,
        "maxworkers": 1,
    }
    if frame.white is not None and frame.pixels.dtype.kind == "u":
        options["extratags"] = [(_MAXIMUM, "H", samples, (int(frame.white),) * samples, True)]
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
