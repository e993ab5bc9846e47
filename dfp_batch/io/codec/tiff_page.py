"""One page of a TIFF: what its header says, and whether it can be a frame."""

import logging
import struct
from collections.abc import Sequence
from typing import Any

import tifffile

from dfp_batch.io.codec import exif, tiff_pixels
from dfp_batch.io.codec.frame import OPEN_DTYPES, Metadata
from dfp_batch.io.codec.header import (
    Header,
    RawFileError,
    RefusedError,
    channel_names,
    check_size,
)

# tifffile logs damage as well as raising it; one report is enough.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)

DAMAGE = (  # what tifffile and imagecodecs let through on a damaged file
    tifffile.TiffFileError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
MAXIMUM, ICC = 281, 34675
ASSOCIATED, WHITE_IS_ZERO, PALETTE = 1, 0, 3
_DTYPES = {"uint8", "uint16", "float16", "float32", "float64", *OPEN_DTYPES}
_GREYS = {"uint8", "uint16"}
_COLOURS = {"MINISBLACK": 1, "MINISWHITE": 1, "RGB": 3, "PALETTE": 1}
_CMYK, _CFA, _LINEAR_RAW = 5, 32803, 34892
_PACKED_BITS = (10, 12, 14)
_PALETTE_BITS = (1, 2, 4, 8)
_UNASSOCIATED = 2
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 274, 282, 283, 296
_SUB_IFDS, _DNG = 330, 50706
_DESCRIPTIVE = {271, 272, 305, 306, 315, 33432}  # maker to copyright
_WHITES = {2**bits - 1 for bits in range(8, 17)}


def check_kind(page: Any) -> None:  # noqa: ANN401 - tifffile's pages are loose
    """Refuse a page that is enormous or of a kind that a frame does not have.

    Raises:
        RefusedError: One of the two.
    """
    check_size(page.imagewidth, page.imagelength)
    problem = _page_problem(page)
    if problem:
        raise RefusedError(problem)


def check_only(pages: Sequence[Any], size_bytes: int) -> None:
    """Refuse a file of one image unless its first page is that.

    Raises:
        RefusedError: As ``check_kind``, too few segments, or there are other images.
    """
    _check_raw(pages[0])
    check_kind(pages[0])
    problem = _pages_problem(pages)
    if problem:
        raise RefusedError(problem)
    tiff_pixels.check_segments(pages[0], size_bytes)


def stored_header(page: Any) -> Header:  # noqa: ANN401
    """What a page is as stored."""
    size = page.imagewidth, page.imagelength
    if page.photometric == PALETTE:
        return Header("TIFF", *size, 3, False, "uint8", 8)
    colours = _colours(page)
    has_alpha = page.samplesperpixel == colours + 1
    dtype = "float32" if page.dtype.kind == "f" else page.dtype.name
    top = white(page)
    bits = int(top).bit_length() if top else min(page.bitspersample, 32)
    return Header("TIFF", *size, colours, has_alpha, dtype, bits)


def orientation(page: Any) -> int:  # noqa: ANN401
    """Orientation 1 to 8, as in EXIF."""
    turn = _number(page, _ORIENTATION, 1)
    return turn if turn in range(1, 9) else 1


def white(page: Any) -> float | None:  # noqa: ANN401
    """What packed bits or MaxSampleValue say; the latter counts if it is that of a bit depth.

    Some programs write the highest value of the image there, which says nothing about white.
    """
    if page.bitspersample in _PACKED_BITS:
        return float(2**page.bitspersample - 1)
    value = _number(page, MAXIMUM, 0)
    return float(value) if page.bitspersample == 16 and value in _WHITES else None  # noqa: PLR2004


def metadata(page: Any, block: bytes | None) -> Metadata:  # noqa: ANN401
    """What travels with the pixels of a page.

    Args:
        page: Of tifffile.
        block: Its EXIF data.
    """
    icc = page.tags.valueof(ICC)
    size_um = exif.size_of_resolution(
        _rational(page, _X_RESOLUTION), _rational(page, _Y_RESOLUTION), _number(page, _UNIT, 2)
    )
    return Metadata(icc if isinstance(icc, bytes) else None, block and exif.upright(block), size_um)


def exif_of(page: Any) -> bytes | None:  # noqa: ANN401
    """EXIF block of what a page of a stack says of the photograph; None if that is nothing.

    Raises:
        StorageError: The store failed.
    """
    file = page.parent.filehandle
    fields = {}
    for tag in page.tags:
        new = tag.code in _DESCRIPTIVE and tag.code not in fields
        if new and tag.valuebytecount <= exif.MOST_BYTES:
            file.seek(tag.valueoffset)
            fields[tag.code] = exif.Entry(int(tag.dtype), tag.count, file.read(tag.valuebytecount))
    return exif.of_fields(page.parent.byteorder, fields)


def _rational(page: Any, tag: int) -> float:  # noqa: ANN401
    value = page.tags.valueof(tag)
    if isinstance(value, tuple) and len(value) == 2:  # noqa: PLR2004 - above and below the line
        return value[0] / value[1] if value[1] else 0.0
    return float(value) if isinstance(value, int) else 0.0


def _number(page: Any, tag: int, default: int) -> int:  # noqa: ANN401
    value = page.tags.valueof(tag, default)
    value = value[0] if isinstance(value, tuple) and value else value
    return int(value) if isinstance(value, int) else default


def _check_raw(page: Any) -> None:  # noqa: ANN401
    """Tell camera RAW files that start like a TIFF; their first image is a thumbnail."""
    colours = int(page.photometric)
    has_inner = page.is_reduced and _SUB_IFDS in page.tags
    if _DNG in page.tags or colours in (_CFA, _LINEAR_RAW) or has_inner:
        raise RawFileError("is a camera RAW file, expected developed pixels")


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
    if name in _COLOURS or (name == "YCBCR" and page.compression == tiff_pixels.JPEG):
        return None
    return f"holds {name} pixels, expected grey or RGB; convert it"


def _sample_problem(page: Any) -> str | None:  # noqa: ANN401
    name, bits = page.dtype.name if page.dtype else "unknown", page.bitspersample
    whole = name in _DTYPES and bits == 8 * page.dtype.itemsize
    packed = bits in _PACKED_BITS and page.sampleformat == 1 and page.predictor == 1
    if page.photometric == PALETTE:
        fits = name in ("uint8", "bool") and bits in _PALETTE_BITS
    elif page.photometric == WHITE_IS_ZERO:
        fits = packed or (whole and name in _GREYS)
    else:
        fits = whole or packed
    if fits:
        return None
    if whole and page.photometric == WHITE_IS_ZERO:
        expected = "expected uint8 or uint16; convert it"
        return f"holds {bits}-bit {name} samples where white is 0, {expected}"
    return f"holds {bits}-bit {name} samples, expected 8, 16 or 32 bits; convert it"


def _channel_problem(page: Any) -> str | None:  # noqa: ANN401
    colours, extra = _colours(page), tuple(page.extrasamples)
    count = page.samplesperpixel
    if count == colours:
        return None
    if count != colours + 1:
        return channel_names(count)
    if page.dtype.name in OPEN_DTYPES:
        return f"holds {page.dtype.name} samples with alpha, expected none; save it without"
    if extra not in ((_UNASSOCIATED,), (ASSOCIATED,)):
        return (
            f"has {count} channels, the last of which the file does not call alpha; expected "
            "1 (grey) or 3 (colour), with or without alpha"
        )
    return None


def _layout_problem(page: Any) -> str | None:  # noqa: ANN401
    name = getattr(page.compression, "name", str(page.compression))
    planes = page.planarconfig in (1, 2) or page.samplesperpixel == 1
    if page.fillorder != 1 or page.imagedepth != 1 or page.tiledepth > 1 or not planes:
        return "stores bits or planes in an unusual order; save it again"
    if page.compression == tiff_pixels.JPEG:
        fits = page.bitspersample == 8 and page.samplesperpixel in (1, 3)  # noqa: PLR2004
        if not fits or page.planarconfig != 1:
            return "holds JPEG data of more than 8 bits, alpha or separate planes; save it again"
        return None
    if int(page.compression) not in tiff_pixels.GROWTH:
        return (
            f"is compressed by {name}, expected none, LZW, deflate, packbits, JPEG, ZSTD, LERC, "
            "JPEG 2000 or JPEG XL; save it again"
        )
    return None if page.predictor in (1, 2, 3) else f"has predictor {page.predictor}; save it again"


def _colours(page: Any) -> int:  # noqa: ANN401
    return _COLOURS.get(page.photometric.name, 3)
