"""The pixels of a TIFF page, from its strips or tiles.

tifffile reads the header; the samples are unpacked here, because neither library does all of it:
tifffile alone knows no LZW, OpenCV no plain tiles and no separate planes, and it multiplies 8-bit
colours by their alpha. No segment may grow beyond the size that its place in the image has.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from dfp_batch.io.codec.frame import Pixels

# Pillow would refuse large segments; our limit, on the whole image, has been checked by then.
Image.MAX_IMAGE_PIXELS = None

Fetch = Callable[[int, int], bytes]

NONE, LZW, JPEG, DEFLATE, DEFLATE_OLD, PACKBITS = 1, 5, 7, 8, 32946, 32773
# Decoded bytes that each compression can make of one stored byte.
GROWTH = {NONE: 1, LZW: 2731, DEFLATE: 1032, DEFLATE_OLD: 1032, PACKBITS: 64}
_HORIZONTAL, _FLOATING = 2, 3


class SegmentError(ValueError):
    """A strip or tile that does not hold its part of the image."""


@dataclass(frozen=True)
class Layout:
    """How the samples of a page are stored.

    Attributes:
        height: Of the image in px.
        width: Of the image in px.
        samples: Of one pixel, alpha included.
        bits: Of one sample as stored.
        dtype: Of one sample as stored, with its byte order; uint16 for packed 9 to 15 bits.
        segment_height: Of a tile, or rows of a strip.
        segment_width: Of a tile, or the width of the image.
        tiled: Whether segments at the edges are whole.
        planes: 1 if the samples of a pixel are together, else as many as samples.
        compression: TIFF compression.
        predictor: 1 none, 2 horizontal, 3 floating point.
    """

    height: int
    width: int
    samples: int
    bits: int
    dtype: np.dtype[Any]
    segment_height: int
    segment_width: int
    tiled: bool
    planes: int
    compression: int
    predictor: int

    @property
    def together(self) -> int:
        """Samples of one pixel in one segment."""
        return self.samples // self.planes

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a segment."""
        return -(-self.segment_width * self.together * self.bits // 8)

    @property
    def count(self) -> int:
        """Number of segments."""
        down = -(-self.height // self.segment_height)
        return self.planes * down * -(-self.width // self.segment_width)

    def places(self) -> Iterator[tuple[int, int, int]]:
        """Plane, first row and first column of every segment, in the order of the file."""
        for plane in range(self.planes):
            for top in range(0, self.height, self.segment_height):
                for left in range(0, self.width, self.segment_width):
                    yield plane, top, left


def pixels_of(
    layout: Layout, offsets: tuple[int, ...], sizes: tuple[int, ...], fetch: Fetch
) -> Pixels:
    """Read all segments.

    Args:
        layout: How they are stored.
        offsets: Of the segments in the file.
        sizes: Of the segments in the file, in bytes.
        fetch: Reads (offset, bytes) of the file; may return less.

    Returns:
        (h, w, samples) in the byte order of this machine.

    Raises:
        SegmentError: One is missing or damaged.
    """
    if len(offsets) < layout.count or len(sizes) < layout.count:
        raise SegmentError(f"{len(offsets)} segments, expected {layout.count}")
    shape = layout.height, layout.width, layout.samples
    image = np.empty(shape, layout.dtype.newbyteorder("="))
    for (plane, top, left), offset, size in zip(layout.places(), offsets, sizes, strict=False):
        left_px = layout.height - top
        rows = layout.segment_height if layout.tiled else min(layout.segment_height, left_px)
        raw = _unpacked(fetch(offset, size), rows, layout)
        block = _samples(raw, rows, layout)[: layout.height - top, : layout.width - left]
        last = plane + layout.together
        image[top : top + rows, left : left + layout.segment_width, plane:last] = block
    return image


def _unpacked(data: bytes, rows: int, layout: Layout) -> Pixels:
    """Decompress one segment to (rows, row_bytes) bytes."""
    needed = rows * layout.row_bytes
    if layout.compression in (LZW, PACKBITS):
        return _by_pillow(data, rows, layout)
    raw = data[:needed] if layout.compression == NONE else _inflated(data, needed)
    if len(raw) != needed:
        raise SegmentError(f"{len(raw)} bytes, expected {needed}")
    return np.frombuffer(raw, np.uint8).reshape(rows, layout.row_bytes)


def _inflated(data: bytes, needed: int) -> bytes:
    """Inflate to ``needed`` bytes at most, and check the checksum if they end there."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, needed)
        inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error as error:
        raise SegmentError(str(error)) from error
    return raw


def _by_pillow(data: bytes, rows: int, layout: Layout) -> Pixels:
    """Let Pillow decompress a segment, which is given to it as a grey image of bytes.

    OpenCV would too, but takes a segment that ends early for black.
    """
    width = layout.row_bytes
    tags = [(256, width), (257, rows), (258, 8), (259, layout.compression), (262, 1), (273, 8)]
    tags += [(277, 1), (278, rows), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    padded = data + bytes(len(data) % 2)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    file = b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded + directory
    try:
        with Image.open(BytesIO(file), formats=["TIFF"]) as image:
            raw = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise SegmentError(f"LZW or packbits data: {error}") from error
    if raw.shape != (rows, width):
        raise SegmentError("LZW or packbits data are damaged")
    return raw


def _samples(raw: Pixels, rows: int, layout: Layout) -> Pixels:
    """Bytes (rows, row_bytes) to samples (rows, segment_width, together)."""
    shape = rows, layout.segment_width, layout.together
    if layout.predictor == _FLOATING:
        return _floats(raw, layout).reshape(shape)
    if layout.bits % 8:
        return _packed(raw, layout).reshape(shape)
    values = np.ascontiguousarray(raw).view(layout.dtype).reshape(shape)
    values = values.astype(layout.dtype.newbyteorder("="), copy=False)
    if layout.predictor == _HORIZONTAL:
        return np.cumsum(values, axis=1, dtype=values.dtype)
    return values


def _packed(raw: Pixels, layout: Layout) -> Pixels:
    """Samples of 9 to 15 bits that follow each other without gaps within a row."""
    count = layout.segment_width * layout.together
    bits = np.unpackbits(raw, axis=1, count=count * layout.bits)
    weights = (1 << np.arange(layout.bits - 1, -1, -1)).astype(np.uint16)
    return bits.reshape(len(raw), count, layout.bits) @ weights


def _floats(raw: Pixels, layout: Layout) -> Pixels:
    """Undo the floating point predictor: differences of bytes, highest bytes of a row first."""
    size, step = layout.dtype.itemsize, layout.together
    steps = raw.reshape(len(raw), -1, step)
    summed = np.cumsum(steps, axis=1, dtype=np.uint8).reshape(len(raw), size, -1)
    big = np.ascontiguousarray(summed.transpose(0, 2, 1)).view(layout.dtype.newbyteorder(">"))
    return big.astype(layout.dtype.newbyteorder("="))
