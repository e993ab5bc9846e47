"""WebP: its chunks, read and written."""

import struct
from collections.abc import Iterator

import cv2
import numpy as np

from dfp_batch.io.codec import exif, opencv
from dfp_batch.io.codec.frame import Frame, Metadata, Pixels
from dfp_batch.io.codec.header import (
    Header,
    Opened,
    RefusedError,
    Stored,
    check_frames,
    check_size,
    damaged,
)

_EXTENDED, _LOSSY, _LOSSLESS = b"VP8X", b"VP8 ", b"VP8L"
_ALPHA_FLAG, _ANIMATION_FLAG = 0x10, 0x02


def opened(data: bytes, size_bytes: int) -> Opened:
    """Read everything but the pixels.

    Args:
        data: The file.
        size_bytes: Of it.

    Raises:
        RefusedError: Damaged, too large, or an animation.
    """
    chunks = dict(reversed(list(_chunks(data))))  # the first of each name counts
    frames = [name for name, _ in _chunks(data)].count(b"ANMF")
    if frames or _flags(chunks) & _ANIMATION_FLAG:
        check_frames(max(2, frames))
    try:
        width, height, has_alpha = _size(chunks)
    except (struct.error, IndexError) as error:
        raise damaged("WebP", size_bytes) from error
    check_size(width, height)
    raw = chunks.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
    block = exif.upright(raw)
    size_um = exif.pixel_size_um(block) if block else None
    metadata = Metadata(chunks.get(b"ICCP") or None, block, size_um)
    header = Header("WebP", width, height, 3, has_alpha, "uint8", 8)
    return Opened(header, exif.orientation(raw), metadata, lambda: _load(data))


def written(frame: Frame, quality: int) -> bytes:
    """Encode an 8-bit frame, lossy; grey becomes colour, which is all that WebP has.

    Args:
        frame: The image.
        quality: 1 to 100.

    Raises:
        RefusedError: The encoder failed, or an ICC profile for grey would describe colours.
    """
    height, width, channels = frame.pixels.shape
    metadata = frame.metadata
    if channels == 1 and metadata.icc is not None and metadata.icc[16:20] == b"GRAY":
        raise RefusedError("webp has no grey, its ICC profile is for grey; use png, tiff or jpg")
    block = exif.stamped(metadata.exif, width, height, metadata.pixel_size_um)
    options = (cv2.IMWRITE_WEBP_QUALITY, quality)
    return opencv.file_of(_coloured(frame), "webp", options, block, metadata.icc)


def _load(data: bytes) -> Stored:
    pixels = opencv.pixels_of(data, "WebP")
    if pixels is None:
        raise damaged("WebP", len(data))
    return Stored(pixels)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of every chunk; what is cut off ends it."""
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _flags(chunks: dict[bytes, bytes]) -> int:
    return chunks.get(_EXTENDED, b"\0")[:1][0] if chunks.get(_EXTENDED) else 0


def _size(chunks: dict[bytes, bytes]) -> tuple[int, int, bool]:
    """Width, height and whether there is alpha, from the header of the coded image."""
    if _LOSSLESS in chunks:
        (bits,) = struct.unpack_from("<I", chunks[_LOSSLESS], 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    width, height = struct.unpack_from("<HH", chunks.get(_LOSSY, b""), 6)
    has_alpha = bool(_flags(chunks) & _ALPHA_FLAG) or b"ALPH" in chunks
    return width & 0x3FFF, height & 0x3FFF, has_alpha


def _coloured(frame: Frame) -> Pixels:
    colours = np.repeat(frame.pixels, 3, axis=2) if frame.pixels.shape[2] == 1 else frame.pixels
    return colours if frame.alpha is None else np.dstack([colours, frame.alpha])
