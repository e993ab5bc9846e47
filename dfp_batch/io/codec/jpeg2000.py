"""JPEG 2000: JP2 files and bare codestreams, read."""

import struct
from dataclasses import dataclass

import imagecodecs
import numpy as np

from dfp_batch.io.codec import exif
from dfp_batch.io.codec.boxes import boxes
from dfp_batch.io.codec.frame import Metadata, with_channels
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

SIGNATURES = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_CODESTREAM, _END = b"\xff\x4f\xff\x51", b"\xff\xd9"
_EXIF = b"JpgTiffExif->JP2"
_ENUMERATED, _PROFILES = 1, (2, 3)  # ways to name a colour space
_SPACES = {16: 3, 17: 1}  # colours of sRGB and grey
_OPACITY = 1
_BITS = range(8, 17)
_GROWTH = 2**20  # as in TIFF: no photograph shrinks to a millionth


@dataclass(frozen=True)
class _Size:
    """The segment SIZ of a codestream."""

    width: int
    height: int
    components: int
    bits: int


@dataclass
class _Parts:
    """What the boxes around a codestream say."""

    codestream: bytes = b""
    is_whole: bool = True
    space: int | None = None
    has_palette: bool = False
    opacity: int | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    size_um: tuple[float, float] | None = None


def opened(data: bytes, size_bytes: int) -> Opened:
    """Read everything but the pixels.

    Args:
        data: The file, or what of it ``holds_header``.
        size_bytes: Of the whole file.

    Raises:
        RefusedError: Damaged, too large, or samples or channels that a frame does not have.
    """
    try:
        parts = _parts(data)
        size = _size(parts.codestream)
    except (struct.error, IndexError, ValueError) as error:
        raise damaged("JPEG 2000", size_bytes) from error
    check_size(size.width, size.height)
    channels, has_alpha = _channels(parts, size)
    samples = size.width * size.height * size.components
    check_fill("JPEG 2000", samples, size_bytes, _GROWTH, size_bytes)
    dtype = "uint8" if size.bits == 8 else "uint16"  # noqa: PLR2004
    header = Header("JPEG 2000", size.width, size.height, channels, has_alpha, dtype, size.bits)
    block = parts.exif and exif.upright(parts.exif)
    turn = exif.orientation(parts.exif) if parts.exif else 1
    size_um = (block and exif.pixel_size_um(block)) or parts.size_um
    metadata = Metadata(parts.icc, block or None, size_um or None)
    return Opened(header, turn, metadata, lambda: _load(parts, size, size_bytes))


def holds_header(data: bytes) -> bool:
    """Whether the start of a file reaches to its pixels."""
    return _CODESTREAM in data and len(data) > data.index(_CODESTREAM) + 1000


def _load(parts: _Parts, size: _Size, size_bytes: int) -> Stored:
    if not (parts.is_whole and parts.codestream.rstrip(b"\0").endswith(_END)):
        raise damaged("JPEG 2000", size_bytes)
    try:
        pixels = with_channels(np.asarray(imagecodecs.jpeg2k_decode(parts.codestream)))
    except (RuntimeError, ValueError, MemoryError, OverflowError) as error:
        raise damaged("JPEG 2000", size_bytes) from error
    return Stored(pixels, float(2**size.bits - 1) if pixels.dtype == np.uint16 else None)


def _size(codestream: bytes) -> _Size:
    """The size, and one depth of all samples.

    Raises:
        RefusedError: Signed samples, samples of several depths, or colours at a lower resolution.
        struct.error: No codestream.
    """
    if not codestream.startswith(_CODESTREAM):
        raise struct.error("no codestream")
    right, bottom, left, top, count = struct.unpack_from(">4I16xH", codestream, 8)
    kinds = {codestream[42 + 3 * k : 45 + 3 * k] for k in range(min(count, 5))}
    depth, across, down = min(kinds)
    if len(kinds) > 1 or (across, down) != (1, 1):
        raise RefusedError(
            "holds channels of several sizes or depths (JPEG 2000), expected one; convert it"
        )
    if depth + 1 not in _BITS:  # the highest bit says that samples are signed
        sign = "signed " if depth > 127 else ""  # noqa: PLR2004
        raise RefusedError(
            f"holds {sign}{depth % 128 + 1}-bit samples (JPEG 2000), expected 8 to 16 bits "
            "without sign; convert it"
        )
    return _Size(max(0, right - left), max(0, bottom - top), count, depth + 1)


def _channels(parts: _Parts, size: _Size) -> tuple[int, bool]:
    """Colours, and whether there is alpha after them.

    Raises:
        RefusedError: Others than a frame has.
    """
    if parts.has_palette or parts.space not in (None, *_SPACES):
        raise RefusedError(
            "holds a palette or colours other than grey and RGB (JPEG 2000), expected grey or RGB; "
            "convert it"
        )
    colours = size.components - (parts.opacity is not None)
    expected = _SPACES.get(parts.space or 0, colours)
    last = parts.opacity in (None, colours)
    if colours not in (1, 3) or colours != expected or not last:
        raise RefusedError(channel_names(size.components))
    return colours, parts.opacity is not None


def _parts(data: bytes) -> _Parts:
    parts = _Parts()
    if data.startswith(_CODESTREAM):
        parts.codestream = data
        return parts
    for name, content, is_whole in boxes(data):
        if name == b"jp2h":
            _read_header(content, parts)
        elif name == b"jp2c" and not parts.codestream:
            parts.codestream, parts.is_whole = content, is_whole
        elif name == b"uuid" and content.startswith(_EXIF):
            parts.exif = content[len(_EXIF) :].removeprefix(b"Exif\0\0")
    return parts


def _read_header(data: bytes, parts: _Parts) -> None:
    for name, content, _ in boxes(data):
        if name == b"colr" and content[:1] == bytes([_ENUMERATED]) and parts.space is None:
            (parts.space,) = struct.unpack_from(">I", content, 3)
        elif name == b"colr" and content[0] in _PROFILES:
            parts.icc = content[3:] or None
        elif name == b"pclr":
            parts.has_palette = True
        elif name == b"cdef":
            parts.opacity = _opacity(content)
        elif name == b"res ":
            parts.size_um = _pixel_size_um(content)


def _opacity(content: bytes) -> int | None:
    """Index of the channel that is alpha."""
    (count,) = struct.unpack_from(">H", content)
    entries = [struct.unpack_from(">3H", content, 2 + 6 * k) for k in range(min(count, 5))]
    return next((channel for channel, kind, _ in entries if kind == _OPACITY), None)


def _pixel_size_um(data: bytes) -> tuple[float, float] | None:
    """Of the resolution at which the image was taken: points per metre."""
    for name, content, _ in boxes(data):
        if name == b"resc":
            y_over, y_under, x_over, x_under, y_power, x_power = struct.unpack_from(
                ">4H2b", content
            )
            if all((y_over, y_under, x_over, x_under)):
                x, y = (x_under / x_over, y_under / y_over)
                return 1e6 * x / 10.0**x_power, 1e6 * y / 10.0**y_power
    return None
