"""JPEG: its segments, read and written."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2

from dfp_batch.io.codec import exif, opencv
from dfp_batch.io.codec.frame import Frame, Metadata
from dfp_batch.io.codec.header import (
    Header,
    Opened,
    RefusedError,
    Stored,
    channel_names,
    check_fill,
    check_size,
    damaged,
)

_APP0, _APP1, _APP2 = 0xE0, 0xE1, 0xE2
_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN = {0xC0, 0xC1, 0xC2}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_EXIF, _ICC = b"Exif\0\0", b"ICC_PROFILE\0"
_LONGEST = 65_533  # bytes after the length of a segment
_LONGEST_EXIF = _LONGEST - len(_EXIF)
_PX_PER_BYTE = 512  # an 8x8 block takes at least one bit
_CMYK = 4


@dataclass
class _Parts:
    """What the segments before the first scan hold."""

    frame: int = 0
    precision: int = 0
    width: int = 0
    height: int = 0
    components: int = 0
    exif: bytes | None = None
    density_um: tuple[float, float] | None = None
    icc: dict[int, bytes] = field(default_factory=dict)
    icc_count: int = 0


def opened(data: bytes, size_bytes: int) -> Opened:
    """Read everything but the pixels.

    Args:
        data: The file, or what of it ``holds_header``.
        size_bytes: Of the whole file.

    Raises:
        RefusedError: Damaged, too large, CMYK, or another depth than 8 bits.
    """
    parts = _parts(data)
    if not parts.frame:
        raise damaged("JPEG", size_bytes)
    _check(parts)
    if parts.frame in _HUFFMAN:
        needed = parts.width * parts.height
        check_fill("JPEG", needed, size_bytes, _PX_PER_BYTE, size_bytes)
    header = Header("JPEG", parts.width, parts.height, parts.components, False, "uint8", 8)
    block = parts.exif and exif.upright(parts.exif)
    turn = exif.orientation(parts.exif) if parts.exif else 1
    size_um = (block and exif.pixel_size_um(block)) or parts.density_um
    metadata = Metadata(_joined(parts), block or None, size_um or None)
    return Opened(header, turn, metadata, lambda: _load(data))


def holds_header(data: bytes) -> bool:
    """Whether the start of a file reaches to its pixels."""
    return any(marker in (_START_OF_SCAN, _END) for marker, _ in _segments(data))


def written(frame: Frame, quality: int) -> bytes:
    """Encode an 8-bit frame without alpha.

    Args:
        frame: The image.
        quality: 1 to 100.

    Raises:
        RefusedError: The encoder failed, or the EXIF data are too long for a JPEG.
    """
    height, width, _ = frame.pixels.shape
    metadata = frame.metadata
    block = exif.stamped(metadata.exif, width, height, metadata.pixel_size_um)
    if block is not None and len(block) > _LONGEST_EXIF:
        raise RefusedError(
            f"{len(block)} bytes of EXIF do not fit a JPEG, which holds {_LONGEST_EXIF}; "
            "use png, tiff or webp"
        )
    data = opencv.file_of(frame.pixels, "jpg", (cv2.IMWRITE_JPEG_QUALITY, quality), block)
    first = (len(content) for marker, content in _segments(data) if marker in (_APP0, _APP1))
    at = 2 + sum(4 + length for length in first)  # after JFIF and EXIF
    return data[:at] + _icc_segments(metadata.icc) + data[at:]


def shape_of(data: bytes) -> tuple[int, int, int]:
    """Height, width and channels of a JPEG of 8 bits.

    Raises:
        ValueError: It is none.
    """
    parts = _parts(data)
    if parts.precision != 8:  # noqa: PLR2004
        raise ValueError("not a JPEG of 8 bits")
    return parts.height, parts.width, parts.components


def _load(data: bytes) -> Stored:
    pixels = opencv.pixels_of(data, "JPEG")
    if pixels is None:
        raise damaged("JPEG", len(data))
    return Stored(pixels)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of the segments up to the first scan, whose content is left out."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:  # noqa: PLR2004
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:  # noqa: PLR2004 - a fill byte
            at += 1 if marker == 0xFF else 2  # noqa: PLR2004
            continue
        if marker in (_START_OF_SCAN, _END):
            yield marker, b""
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + max(2, length)


def _parts(data: bytes) -> _Parts:
    parts = _Parts()
    for marker, content in _segments(data):
        if marker in _FRAMES and len(content) >= 6 and not parts.frame:  # noqa: PLR2004
            parts.frame = marker
            parts.precision, parts.height, parts.width, parts.components = struct.unpack_from(
                ">BHHB", content
            )
        elif marker == _APP1 and content.startswith(_EXIF) and parts.exif is None:
            parts.exif = content[len(_EXIF) :]
        elif marker == _APP0 and content.startswith(b"JFIF\0") and len(content) >= 12:  # noqa: PLR2004
            unit, x, y = struct.unpack_from(">BHH", content, 7)
            parts.density_um = exif.size_of_resolution(x, y, unit + 1)  # 1 is inch, 2 is cm
        elif marker == _APP2 and content.startswith(_ICC) and len(content) > len(_ICC) + 2:
            number, parts.icc_count = content[len(_ICC) : len(_ICC) + 2]
            parts.icc[number] = content[len(_ICC) + 2 :]
    return parts


def _check(parts: _Parts) -> None:
    check_size(parts.width, parts.height)
    if parts.components == _CMYK:
        raise RefusedError("holds CMYK pixels, expected grey or RGB; convert it to RGB")
    if parts.components not in (1, 3):
        raise RefusedError(channel_names(parts.components))
    if parts.precision != 8:  # noqa: PLR2004
        raise RefusedError(
            f"holds {parts.precision}-bit samples in a JPEG, expected 8; save it as PNG or TIFF"
        )


def _joined(parts: _Parts) -> bytes | None:
    """The ICC profile; None if there is none or a part of it is missing."""
    numbers = range(1, parts.icc_count + 1)
    if not parts.icc or set(parts.icc) != set(numbers):
        return None
    return b"".join(parts.icc[number] for number in numbers)


def _icc_segments(icc: bytes | None) -> bytes:
    """Segments of a profile; OpenCV writes none that needs several."""
    step = _LONGEST - len(_ICC) - 2
    parts = [icc[at : at + step] for at in range(0, len(icc), step)] if icc else []
    if len(parts) > 255:  # noqa: PLR2004
        raise RefusedError(
            f"an ICC profile of {len(icc or b'')} bytes does not fit a JPEG; use png"
        )
    return b"".join(
        struct.pack(">BBH", 0xFF, _APP2, len(_ICC) + 4 + len(part))
        + _ICC
        + bytes([number, len(parts)])
        + part
        for number, part in enumerate(parts, 1)
    )
