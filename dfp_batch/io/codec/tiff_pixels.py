"""The pixels of one page of a TIFF, segment by segment: its strips or tiles.

tifffile finds the segments and imagecodecs unpacks them. What they would take in good faith is
checked here: a missing segment would be black, and one that names a size of its own may name any.
No segment is unpacked to more than its place in the image holds.
"""

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import imagecodecs
import numpy as np

from dfp_batch.io.codec import jpeg
from dfp_batch.io.codec.frame import Pixels, full_range
from dfp_batch.io.codec.header import check_fill, check_size, damaged

NONE, LZW, JPEG, DEFLATE, DEFLATE_OLD, PACKBITS = 1, 5, 7, 8, 32946, 32773
LERC, JPEG_2000, ZSTD, JPEG_XL, JPEG_XL_DNG = 34887, 34712, 50000, 50002, 52546
# These hold images of a size of their own, and may make any number of pixels of one byte; no
# photograph shrinks to a millionth.
_IMAGES_GROWTH = 2**20
GROWTH = {  # decoded bytes that a compression can make of one stored byte; of JPEG, pixels
    NONE: 1,
    LZW: 2731,
    JPEG: 512,
    DEFLATE: 1032,
    DEFLATE_OLD: 1032,
    PACKBITS: 64,
    ZSTD: 2**15,
    **dict.fromkeys((LERC, JPEG_2000, JPEG_XL, JPEG_XL_DNG), _IMAGES_GROWTH),
}
_COLOUR_MAP, _LERC_PARAMETERS = 320, 50674
_CODESTREAM = b"\xff\x4f\xff\x51"  # start of JPEG 2000, and of the segment that holds its size
_LERC_MARKS = (b"Lerc2 ", b"CntZImage ")
_LERC_UNPACKERS = {1: imagecodecs.deflate_decode, 2: imagecodecs.zstd_decode}
_READ_BYTES = 16 * 2**20  # segments that follow each other are read together up to this size


def check_segments(page: Any, size_bytes: int) -> None:  # noqa: ANN401 - tifffile's pages are loose
    """Refuse a page whose segments cannot fill it, before memory for that is taken.

    Args:
        page: Of tifffile; compressed as ``GROWTH`` knows it.
        size_bytes: Of the whole file.

    Raises:
        RefusedError: Some are missing, beyond the end or too short, or tiles are enormous.
    """
    height, width = _filled_size(page)
    check_size(page.tilewidth if page.is_tiled else width, page.tilelength or height)
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    missing = len(pieces) < math.prod(page.chunked) or not all(map(all, pieces))
    if missing or max(map(sum, pieces)) > size_bytes:
        raise damaged("TIFF", size_bytes)
    row_bytes = -(-width * page.samplesperpixel * page.bitspersample // 8)
    needed = height * (width if page.compression == JPEG else row_bytes)
    stored = min(sum(page.databytecounts), size_bytes)
    check_fill("TIFF", needed, stored, GROWTH[int(page.compression)], size_bytes)


def pixels_of(page: Any, start: int | None = None) -> Pixels:  # noqa: ANN401
    """Decode a page that ``check_segments`` has passed; no other bytes are read.

    Args:
        page: Of tifffile.
        start: Where one image starts in a page without compression that holds several, each after
            the other; None if the page is the image.

    Returns:
        (h, w, samples) in the byte order of this machine; a palette is not looked up.

    Raises:
        RuntimeError: A segment is damaged; also other errors of tifffile and imagecodecs.
    """
    planes, _, height, width, samples = page.shaped
    shape = planes, height, width, samples
    image = _filled(page, shape) if start is None else _plain(page, start).reshape(shape)
    return np.moveaxis(image, 0, 2).reshape(height, width, planes * samples)


def coloured(page: Any, indices: Pixels) -> Pixels:  # noqa: ANN401
    """Look indices (h, w, 1) up in the colour map, whose 16 bits repeat 8.

    Some programs write 8 bits there.
    """
    table = np.asarray(page.tags.valueof(_COLOUR_MAP), np.uint16)
    table = table.reshape(3, 2**page.bitspersample)
    levels = table if table.max() <= 255 else table >> 8  # noqa: PLR2004
    return levels.astype(np.uint8).T[indices[:, :, 0].astype(np.uint8)]


def inverted(pixels: Pixels, white: float | None, has_alpha: bool) -> Pixels:
    """Make black 0 where white was; alpha (the last channel) stays."""
    top = pixels.dtype.type(full_range(pixels.dtype) if white is None else white)
    found = pixels.copy()
    colours = found[:, :, :-1] if has_alpha else found
    colours[:] = top - np.minimum(colours, top)
    return found


def divided(pixels: Pixels, white: float | None) -> Pixels:
    """Undo the multiplication of colours by alpha (the last channel)."""
    top = full_range(pixels.dtype) if white is None else white
    alpha = pixels[:, :, -1:].astype(np.float64)
    colours = pixels[:, :, :-1] * np.divide(top, alpha, out=np.zeros_like(alpha), where=alpha > 0)
    rounded = colours if pixels.dtype.kind == "f" else np.rint(colours)
    divided_ = pixels.copy()
    divided_[:, :, :-1] = rounded.clip(0, top)
    return divided_


def _filled_size(page: Any) -> tuple[int, int]:  # noqa: ANN401
    """Height and width of all segments together; tiles reach over the edge of the image."""
    height, width = page.imagelength, page.imagewidth
    if not page.is_tiled:
        return height, width
    return height + -height % page.tilelength, width + -width % page.tilewidth


def _segments(page: Any) -> Iterator[tuple[bytes, int]]:  # noqa: ANN401
    """Content and number of each segment."""
    segments: Iterator[tuple[bytes, int]] = page.parent.filehandle.read_segments(
        page.dataoffsets,
        page.databytecounts,
        length=math.prod(page.chunked),
        buffersize=_READ_BYTES,
    )
    return segments


def _filled(page: Any, shape: tuple[int, ...]) -> Pixels:  # noqa: ANN401
    """Segments in their places: (planes, h, w, samples)."""
    image = np.empty(shape, page.dtype)
    for data, index in _segments(page):
        block, (plane, _, top, left, _) = _decoded(page, data, index)
        place = image[plane, top : top + block.shape[0], left : left + block.shape[1]]
        place[:] = block[: place.shape[0], : place.shape[1]]  # tiles reach over the edge
    return image


def _plain(page: Any, start: int) -> Pixels:  # noqa: ANN401
    """Samples (n,) of one image without compression."""
    file, order = page.parent.filehandle, page.parent.byteorder
    file.seek(start)
    stored = np.frombuffer(file.read(page.nbytes), page.dtype.newbyteorder(order))
    return stored.astype(page.dtype)


def _decoded(page: Any, data: bytes, index: int) -> tuple[Pixels, tuple[int, ...]]:  # noqa: ANN401
    """One segment (rows, columns, samples), and its place in the normalised shape of the page."""
    decode = _IMAGE_DECODERS.get(int(page.compression))
    if decode is not None:
        _, place, (_, *shape) = page.decode(None, index)
        block = np.empty(shape, page.dtype)
        decode(page, data, block)
        return block, place
    if page.compression == JPEG:
        _check_jpeg(page, data)
    try:
        block, place, _ = page.decode(data, index, jpegtables=page.jpegtables)
    except RuntimeError:
        _, place, _ = page.decode(None, index)
        block = _of_full_height(page, data, place[2])
    return block[0], place


def _of_full_height(page: Any, data: bytes, top: int) -> Pixels:  # noqa: ANN401
    """A last strip that holds as many rows as the others, as some programs write it."""
    if page.is_tiled or top + page.rowsperstrip <= page.imagelength:
        raise ValueError("segment does not fit its place")
    block: Pixels = page.decode(data, 0)[0]
    return block[:, : page.imagelength - top]


# Segments that say their own size


def _check_jpeg(page: Any, data: bytes) -> None:  # noqa: ANN401
    """Refuse a JPEG larger than its place; one strip may hold more rows than are left."""
    height, width, channels = jpeg.shape_of(data)
    rows, columns = page.tilelength or page.rowsperstrip, page.tilewidth or page.imagewidth
    if height > rows or width != columns or channels != page.samplesperpixel:
        raise ValueError(f"JPEG of {width}x{height} px, expected {columns}x{rows} px")


def _by_jpeg_2000(_page: Any, data: bytes, block: Pixels) -> None:  # noqa: ANN401
    """Decode the bare codestream, whose size is checked: its decoder looks at ``out`` too late."""
    start = data.index(_CODESTREAM)
    right, bottom, left, top, channels = struct.unpack_from(">4I16xH", data, start + 8)
    if (bottom - top, right - left, channels) != block.shape:
        raise ValueError(f"JPEG 2000 of {right - left}x{bottom - top} px, {channels} channels")
    imagecodecs.jpeg2k_decode(data[start:], out=block)


def _by_jpeg_xl(_page: Any, data: bytes, block: Pixels) -> None:  # noqa: ANN401
    imagecodecs.jpegxl_decode(data, out=block)  # refuses another size before it takes memory


def _by_lerc(page: Any, data: bytes, block: Pixels) -> None:  # noqa: ANN401
    """Decode LERC, also inside deflate or ZSTD; pixels that it leaves out would be black."""
    _, packed = page.tags.valueof(_LERC_PARAMETERS, (0, 0))
    if packed:
        most = block.nbytes * 2 + 1000  # LERC falls back to plain samples, with a mask
        data = bytes(_LERC_UNPACKERS[packed](data, out=most))
    if not data.startswith(_LERC_MARKS):
        raise ValueError("does not start like LERC")
    _, mask = imagecodecs.lerc_decode(data, masks=True, out=block)  # checks the size first
    if mask is not None and not mask.all():
        raise ValueError("LERC with pixels left out")


_IMAGE_DECODERS: dict[int, Callable[[Any, bytes, Pixels], None]] = {
    JPEG_2000: _by_jpeg_2000,
    JPEG_XL: _by_jpeg_xl,
    JPEG_XL_DNG: _by_jpeg_xl,
    LERC: _by_lerc,
}
