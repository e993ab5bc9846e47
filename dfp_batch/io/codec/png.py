"""PNG: its chunks, read and written."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import imagecodecs
import numpy as np

from dfp_batch.io.codec import exif, opencv
from dfp_batch.io.codec.frame import Frame, Metadata, Pixels, full_range, white
from dfp_batch.io.codec.header import (
    Header,
    Opened,
    Stored,
    check_fill,
    check_frames,
    check_size,
    damaged,
)

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_AFTER_HEAD = len(_SIGNATURE) + 12 + 13
_GREY, _COLOUR, _PALETTE, _GREY_ALPHA, _COLOUR_ALPHA = 0, 2, 3, 4, 6
_SAMPLES = {_GREY: 1, _COLOUR: 3, _PALETTE: 1, _GREY_ALPHA: 2, _COLOUR_ALPHA: 4}
_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_DEFLATE = 1032  # bytes that deflate can make of one byte
_LONGEST_ICC = 16 * 2**20
_UM_PER_METRE = 1e6
_LEVEL = 3  # of deflate
_RUN_LENGTHS_AFTER_PAETH = (  # decision 0044
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_PAETH,
)
_FEWEST_BITS, _BITS = 8, 16  # that sBIT may name, and of the samples it is obeyed for


@dataclass(frozen=True)
class _Head:
    """The chunk IHDR."""

    width: int
    height: int
    depth: int
    colour: int


def opened(data: bytes, size_bytes: int) -> Opened:
    """Read everything but the pixels.

    Args:
        data: The file, or what of it ``holds_header``.
        size_bytes: Of the whole file.

    Raises:
        RefusedError: Damaged, too large, or an animation.
    """
    chunks = _first_chunks(data)
    head = _head(chunks, size_bytes)
    check_size(head.width, head.height)
    check_frames(int.from_bytes(chunks.get(b"acTL", b"")[:4], "big"))
    row_bytes = -(-head.width * head.depth * _SAMPLES[head.colour] // 8) + 1
    check_fill("PNG", row_bytes * head.height, size_bytes, _DEFLATE, size_bytes)
    raw = chunks.get(b"eXIf", b"")
    block = exif.upright(raw)
    size_um = _pixel_size_um(chunks) or (exif.pixel_size_um(block) if block else None)
    metadata = Metadata(_icc(chunks), block, size_um)
    return Opened(
        _header(head, chunks), exif.orientation(raw), metadata, lambda: _load(data, head, chunks)
    )


def holds_header(data: bytes) -> bool:
    """Whether the start of a file reaches to its pixels."""
    ends = [end for _, _, _, end in _chunks(data)]
    at = ends[-1] if ends else len(_SIGNATURE)
    return data[at + 4 : at + 8] == b"IDAT" or any(name == b"IDAT" for name, *_ in _chunks(data))


def written(frame: Frame) -> bytes:
    """Encode a frame of 8 or 16 bits, lossless.

    Samples of 10, 12 or 14 bits are scaled to 16 and marked with sBIT, as PNG wants it; reading
    takes that back exactly.

    Raises:
        RefusedError: The encoder failed.
    """
    alpha = None if frame.alpha is None else frame.alpha[:, :, None]
    pixels = frame.pixels if alpha is None else np.dstack([frame.pixels, alpha])
    if white(frame) < full_range(pixels.dtype):
        pixels = _scales(frame.significant_bits)[0][pixels]
    metadata, (height, width, samples) = frame.metadata, pixels.shape
    block = metadata.exif and exif.stamped(metadata.exif, width, height, metadata.pixel_size_um)
    chunks = _chunks_of_samples(frame, samples)
    if samples == 2:  # noqa: PLR2004 - grey with alpha, which OpenCV does not write
        data = bytes(imagecodecs.png_encode(pixels, _LEVEL))
        chunks += _chunks_of_metadata(metadata.icc, block)
    else:
        data = opencv.file_of(pixels, "png", _RUN_LENGTHS_AFTER_PAETH, block, metadata.icc)
    whole = memoryview(data)  # a slice of bytes would be one more copy
    return b"".join((whole[:_AFTER_HEAD], *chunks, whole[_AFTER_HEAD:]))


def with_palette(data: bytes, palette: bytes) -> bytes:
    """Make the grey levels (8 bits) of a PNG indices into a palette, which OpenCV does not write.

    Args:
        data: The file.
        palette: Red, green and blue of each index.
    """
    return _recoloured(data, _PALETTE, _chunk(b"PLTE", palette))


def without_palette(data: bytes) -> bytes:
    """Make the indices into a palette grey levels."""
    return _recoloured(data, _GREY, b"")


def _recoloured(data: bytes, colour: int, palette: bytes) -> bytes:
    """The same samples with another meaning, after all but the pixels has been left out."""
    parts = [
        _chunk(name, content[:9] + bytes([colour]) + content[10:]) + palette
        if name == b"IHDR"
        else data[start:end]
        for name, content, start, end in _chunks(data)
        if name in _PIXEL_CHUNKS - {b"PLTE"}
    ]
    return _SIGNATURE + b"".join(parts)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int, int]]:
    """Name, content, start and end of every chunk; ends at IEND or where the file is cut off."""
    at, name = len(_SIGNATURE), b""
    while at + 12 <= len(data) and name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            return
        yield name, data[at + 8 : end - 4], at, end
        at = end


def _first_chunks(data: bytes) -> dict[bytes, bytes]:
    """Content by name, of the first of each name; pixels are left out."""
    found: dict[bytes, bytes] = {}
    for name, content, _, _ in _chunks(data):
        if name != b"IDAT":
            found.setdefault(name, content)
    return found


def _head(chunks: dict[bytes, bytes], size_bytes: int) -> _Head:
    content = chunks.get(b"IHDR", b"")
    if len(content) != 13:  # noqa: PLR2004
        raise damaged("PNG", size_bytes)
    head = _Head(*struct.unpack_from(">IIBB", content))
    if head.colour not in _SAMPLES or head.depth not in (1, 2, 4, 8, 16):
        raise damaged("PNG", size_bytes)
    return head


def _header(head: _Head, chunks: dict[bytes, bytes]) -> Header:
    has_alpha = head.colour in (_GREY_ALPHA, _COLOUR_ALPHA) or b"tRNS" in chunks
    channels = 1 if head.colour in (_GREY, _GREY_ALPHA) else 3
    wide = head.depth == _BITS
    bits = _significant_bits(chunks) if wide else None
    dtype = "uint16" if wide else "uint8"
    container = _BITS if wide else 8
    return Header("PNG", head.width, head.height, channels, has_alpha, dtype, bits or container)


def _load(data: bytes, head: _Head, chunks: dict[bytes, bytes]) -> Stored:
    kept = _PIXEL_CHUNKS if head.colour == _GREY else _PIXEL_CHUNKS | {b"tRNS"}
    spans = [(start, end) for name, _, start, end in _chunks(data) if name in kept]
    bare = _SIGNATURE + b"".join(data[start:end] for start, end in spans)
    pixels = opencv.pixels_of(bare, "PNG")
    if pixels is None:
        raise damaged("PNG", len(data))
    if head.colour == _GREY_ALPHA:
        pixels = pixels[:, :, [0, 3]]
    elif head.colour == _GREY and b"tRNS" in chunks:
        pixels = np.dstack([pixels, _alpha_of_key(pixels, head, chunks[b"tRNS"])])
    bits = _significant_bits(chunks) if pixels.dtype == np.uint16 else None
    return _unscaled(pixels, bits) if bits else Stored(pixels)


def _alpha_of_key(pixels: Pixels, head: _Head, key: bytes) -> Pixels:
    """Alpha of a grey image in which one grey is transparent; OpenCV leaves it out."""
    grey = int.from_bytes(key[:2], "big")
    if head.depth < 8:  # noqa: PLR2004 - OpenCV has scaled the pixels to 8 bits
        grey = grey * 255 // (2**head.depth - 1)
    top = np.iinfo(pixels.dtype).max
    return np.where(pixels == grey, 0, top).astype(pixels.dtype)


def _significant_bits(chunks: dict[bytes, bytes]) -> int | None:
    """What sBIT says of 16-bit samples, if all channels agree."""
    named = set(chunks.get(b"sBIT", b""))
    bits = named.pop() if len(named) == 1 else 0
    return bits if _FEWEST_BITS <= bits <= _BITS else None


def _scales(bits: int) -> tuple[Pixels, ...]:
    """Tables from ``bits`` to 16 bits: linear (the one we write), repeated bits, zero filled."""
    values = np.arange(2**bits, dtype=np.uint32)
    top, shift = 2**bits - 1, _BITS - bits
    linear = (values * 65_535 + top // 2) // top
    filled = values << shift
    tables = (linear, filled | values >> (bits - shift), filled)
    return tuple(table.astype(np.uint16) for table in tables)


def _unscaled(pixels: Pixels, bits: int) -> Stored:
    """Take back the scaling that PNG asks for, if that loses nothing.

    Some programs mark samples with sBIT that they have not scaled; those stay as they are. Where
    the samples agree with neither, sBIT is wrong and is not believed.
    """
    top = 2**bits - 1
    if bits == _BITS:
        return Stored(pixels, float(top))
    small = pixels >> (_BITS - bits)
    if any(np.array_equal(table[small], pixels) for table in _scales(bits)):
        return Stored(small, float(top))
    return Stored(pixels, float(top) if int(pixels.max()) <= top else None)


def _icc(chunks: dict[bytes, bytes]) -> bytes | None:
    """The ICC profile; None if there is none or it is damaged."""
    name, _, packed = chunks.get(b"iCCP", b"").partition(b"\0")
    if not name:
        return None
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(packed[1:], _LONGEST_ICC)
    except zlib.error:
        return None
    return profile if inflater.eof else None


def _pixel_size_um(chunks: dict[bytes, bytes]) -> tuple[float, float] | None:
    content = chunks.get(b"pHYs", b"")
    if len(content) != 9:  # noqa: PLR2004
        return None
    x, y, unit = struct.unpack(">IIB", content)
    return (_UM_PER_METRE / x, _UM_PER_METRE / y) if unit == 1 and x and y else None


def _chunks_of_samples(frame: Frame, samples: int) -> list[bytes]:
    """Chunks that OpenCV does not write: bits in use, size of a pixel."""
    size_um = frame.metadata.pixel_size_um
    made = []
    if frame.white is not None and frame.bit_depth == _BITS:
        made.append(_chunk(b"sBIT", bytes([frame.significant_bits] * samples)))
    if size_um is not None:
        x, y = (min(round(_UM_PER_METRE / side), 2**31 - 1) for side in size_um)
        made.append(_chunk(b"pHYs", struct.pack(">IIB", x, y, 1)))
    return made


def _chunks_of_metadata(icc: bytes | None, block: bytes | None) -> list[bytes]:
    profile = None if icc is None else b"ICC profile\0\0" + zlib.compress(icc)
    found = [(b"iCCP", profile), (b"eXIf", block)]
    return [_chunk(name, content) for name, content in found if content is not None]


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
