"""JPEG XL: files with boxes and bare codestreams, read.

imagecodecs decodes them, but cannot say beforehand how large they will be: the first bits of a
codestream (ISO 18181-1, annex D) are read here.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import imagecodecs
import numpy as np

from dfp_batch.io.codec import exif
from dfp_batch.io.codec.boxes import boxes
from dfp_batch.io.codec.frame import Metadata
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

SIGNATURES = (b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a")
_CODESTREAM = b"\xff\x0a"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height
_ALPHA, _GREY, _RGB = 0, 1, 0
_GROWTH = 2**20  # as in TIFF: no photograph shrinks to a millionth
_Choice = tuple[int, int]  # what is added to so many bits

_SIDES: tuple[_Choice, ...] = ((1, 9), (1, 13), (1, 18), (1, 30))
_PREVIEW_BY_8: tuple[_Choice, ...] = ((16, 0), (32, 0), (1, 5), (33, 9))
_PREVIEW: tuple[_Choice, ...] = ((1, 6), (65, 8), (321, 10), (1345, 12))
_WHOLE_BITS: tuple[_Choice, ...] = ((8, 0), (10, 0), (12, 0), (1, 6))
_FLOAT_BITS: tuple[_Choice, ...] = ((32, 0), (16, 0), (24, 0), (1, 6))
_COUNT: tuple[_Choice, ...] = ((0, 0), (1, 0), (2, 4), (1, 12))
_SHIFT: tuple[_Choice, ...] = ((0, 0), (3, 0), (4, 0), (1, 3))
_NAME: tuple[_Choice, ...] = ((0, 0), (0, 4), (16, 5), (48, 10))
_ENUM: tuple[_Choice, ...] = ((0, 0), (1, 0), (2, 4), (18, 6))


@dataclass(frozen=True)
class _Head:
    """What the codestream says; the size is that before the orientation."""

    width: int
    height: int
    orientation: int = 1
    bits: int = 8
    is_float: bool = False
    has_alpha: bool = False
    is_grey: bool = False

    @property
    def dtype(self) -> str:
        """Of the samples as they are decoded: whole numbers fill the range of their type."""
        if self.is_float:
            return "float32"
        return "uint8" if self.bits <= 8 else "uint16"  # noqa: PLR2004


def opened(data: bytes, size_bytes: int) -> Opened:
    """Read everything but the pixels.

    The decoder applies the orientation.

    Args:
        data: The file.
        size_bytes: Of it.

    Raises:
        RefusedError: Damaged, too large, an animation, or channels that a frame does not have.
    """
    try:
        codestream, raw = _parts(data)
        head = _head(_Bits(codestream[2:1000]))
    except (IndexError, struct.error) as error:
        raise damaged("JPEG XL", size_bytes) from error
    check_size(head.width, head.height)
    samples = head.width * head.height * ((1 if head.is_grey else 3) + head.has_alpha)
    check_fill("JPEG XL", samples, size_bytes, _GROWTH, size_bytes)
    bits = {"uint8": 8, "uint16": 16}.get(head.dtype, 32)
    colours = 1 if head.is_grey else 3
    stored = Header("JPEG XL", head.width, head.height, colours, head.has_alpha, head.dtype, bits)
    header = upright(stored, head.orientation)
    block = exif.upright(raw) if raw else None
    metadata = Metadata(None, block, exif.pixel_size_um(block) if block else None)
    return Opened(header, 1, metadata, lambda: _load(data, header))


def _load(data: bytes, header: Header) -> Stored:
    samples = header.channels + header.has_alpha
    shape = header.height, header.width, *((samples,) if samples > 1 else ())
    try:
        pixels = np.empty(shape, header.dtype)
        imagecodecs.jpegxl_decode(data, out=pixels)  # refuses another size
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise damaged("JPEG XL", len(data)) from error
    pixels = pixels.reshape(header.height, header.width, samples)
    return Stored(pixels, 65535.0 if header.dtype == "uint16" else None)


class _Bits:
    """Bits of the start of a codestream, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """An unsigned number of so many bits.

        Raises:
            IndexError: There are fewer.
        """
        if count > self._left:
            raise IndexError("ends early")
        found = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return found

    def flag(self) -> bool:
        """One bit."""
        return bool(self.take(1))

    def choose(self, choices: Sequence[_Choice]) -> int:
        """A number in one of four forms: two bits say which."""
        least, count = choices[self.take(2)]
        return least + self.take(count)


def _head(bits: _Bits) -> _Head:
    width, height = _size(bits, _SIDES, None)
    if bits.flag():
        return _Head(width, height)
    orientation = _extra_fields(bits) if bits.flag() else 1
    is_float, depth = _depth(bits)
    bits.flag()  # whether 16 bits are enough while decoding
    kinds = [_extra_channel(bits) for _ in range(bits.choose(_COUNT))]
    if kinds not in ([], [_ALPHA]):
        raise RefusedError(
            "holds other channels than colour and alpha (JPEG XL); save it without them"
        )
    bits.flag()  # whether colours are stored as the eye sees them
    space = _RGB
    if not bits.flag():
        bits.flag()  # whether a profile follows
        space = bits.choose(_ENUM)
    if space not in (_RGB, _GREY):
        raise RefusedError(channel_names(1 + len(kinds)))
    return _Head(width, height, orientation, depth, is_float, bool(kinds), space == _GREY)


def _size(bits: _Bits, sides: Sequence[_Choice], by_8: Sequence[_Choice] | None) -> tuple[int, int]:
    """Width and height; ``by_8`` are the forms of a number of 8 px, None is five bits."""

    def side() -> int:
        if not is_small:
            return bits.choose(sides)
        return 8 * (1 + bits.take(5) if by_8 is None else bits.choose(by_8))

    is_small = bits.flag()
    height = side()
    ratio = bits.take(3)
    if ratio == 0:
        return side(), height
    over, under = _RATIOS[ratio - 1]
    return height * over // under, height


def _extra_fields(bits: _Bits) -> int:
    """The orientation; a size to show it at and a preview are passed over."""
    orientation = 1 + bits.take(3)
    if bits.flag():
        _size(bits, _SIDES, None)
    if bits.flag():
        _size(bits, _PREVIEW, _PREVIEW_BY_8)
    if bits.flag():
        raise RefusedError(
            "holds an animation (JPEG XL), expected one image; save each frame as its own file"
        )
    return orientation


def _depth(bits: _Bits) -> tuple[bool, int]:
    """Whether samples are floats, and their bits."""
    if not bits.flag():
        return False, bits.choose(_WHOLE_BITS)
    depth = bits.choose(_FLOAT_BITS)
    bits.take(4)  # of the exponent
    return True, depth


def _extra_channel(bits: _Bits) -> int:
    """The kind of a channel beside the colours."""
    if bits.flag():
        return _ALPHA
    kind = bits.choose(_ENUM)
    _depth(bits)
    bits.choose(_SHIFT)
    length = bits.choose(_NAME)
    bits.take(8 * length)
    if kind == _ALPHA and bits.flag():
        raise RefusedError("has colours multiplied by alpha (JPEG XL); save it without that")
    if kind not in (_ALPHA,):
        raise RefusedError(
            "holds other channels than colour and alpha (JPEG XL); save it without them"
        )
    return kind


def _parts(data: bytes) -> tuple[bytes, bytes | None]:
    """The codestream, as far as its start needs, and the EXIF data."""
    if data.startswith(_CODESTREAM):
        return data, None
    codestream, block = b"", None
    for name, content, _ in boxes(data):
        if name == b"jxlc" and not codestream:
            codestream = content
        elif name == b"jxlp":
            codestream += content[4:]
        elif name == b"Exif" and block is None:
            block = content[4 + int.from_bytes(content[:4], "big") :]
    if not codestream.startswith(_CODESTREAM):
        raise IndexError("no codestream")
    return codestream, block
