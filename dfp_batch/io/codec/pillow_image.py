"""BMP and GIF, which Pillow reads.

Its plugins are called by themselves: ``Image.open`` would try others, and warns of large images
before their size can be checked here.
"""

import struct
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile

from dfp_batch.io.codec import exif
from dfp_batch.io.codec.frame import Metadata, with_channels
from dfp_batch.io.codec.header import (
    LARGEST_PX,
    Header,
    Opened,
    RefusedError,
    Stored,
    check_fill,
    check_frames,
    check_size,
    damaged,
)

DAMAGE = (  # what Pillow lets through on a damaged file
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
_INCH = 2  # unit of a resolution
_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B  # of a GIF
_COLOURS = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA"}
_WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}
_CHANNELS = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3}
_PX_PER_BYTE = {"raw": 8, "bmp_rle": 255, "gif": 8 * 4096}  # at most, by decoder


def opened_bmp(data: bytes, size_bytes: int) -> Opened:
    """Read everything but the pixels of a BMP.

    Args:
        data: The file, or its start with the header.
        size_bytes: Of the whole file.

    Raises:
        RefusedError: Damaged or too large.
    """
    try:
        image = BmpImageFile(BytesIO(data))
        return _opened(image, "BMP", size_bytes)
    except DAMAGE as error:
        raise damaged("BMP", size_bytes) from error


def opened_gif(data: bytes, size_bytes: int) -> Opened:
    """Read everything but the pixels of a GIF.

    Args:
        data: The file.
        size_bytes: Of it.

    Raises:
        RefusedError: Damaged, too large, or an animation.
    """
    try:
        check_frames(_gif_frames(data))
        return _opened(GifImageFile(BytesIO(data)), "GIF", size_bytes)
    except DAMAGE as error:
        raise damaged("GIF", size_bytes) from error


def _gif_frames(data: bytes) -> int:
    """Number of frames; each of them, and the whole, is looked at for its size.

    Raises:
        IndexError: Damaged.
        RefusedError: Pillow would warn of the size.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    _check_gif_size(width, height)
    at, count = 13 + _table_bytes(flags), 0
    while at < len(data) and data[at] != _TRAILER:
        if data[at] == _IMAGE:
            left, top, width, height, flags = struct.unpack_from("<4HB", data, at + 1)
            _check_gif_size(left + width, top + height)
            count += 1
            at = _after_blocks(data, at + 11 + _table_bytes(flags))
        else:
            at = _after_blocks(data, at + 2) if data[at] == _EXTENSION else at + 1
    return count


def _check_gif_size(width: int, height: int) -> None:
    most = Image.MAX_IMAGE_PIXELS or LARGEST_PX
    if width * height > most:
        raise RefusedError(f"is {width}x{height} px, expected at most {most:,} px in a GIF")


def _table_bytes(flags: int) -> int:
    """Of the colour table that follows such flags."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Where a row of blocks ends, each of which begins with its length."""
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _opened(image: ImageFile, kind: str, size_bytes: int) -> Opened:
    width, height = image.size
    check_size(width, height)
    decoder = str(image.tile[0][0])
    check_fill(kind, width * height, size_bytes, _PX_PER_BYTE[decoder], size_bytes)
    mode = _COLOURS[image.mode]
    if "transparency" in image.info:
        mode = _WITH_ALPHA[mode]
    header = Header(kind, width, height, _CHANNELS[mode], mode.endswith("A"), "uint8", 8)
    x, y = image.info.get("dpi", (0.0, 0.0))
    metadata = Metadata(pixel_size_um=exif.size_of_resolution(x, y, _INCH))
    return Opened(header, 1, metadata, lambda: _load(image, mode, kind, size_bytes))


def _load(image: Image.Image, mode: str, kind: str, size_bytes: int) -> Stored:
    try:
        return Stored(with_channels(np.asarray(image.convert(mode))))
    except DAMAGE as error:
        raise damaged(kind, size_bytes) from error
