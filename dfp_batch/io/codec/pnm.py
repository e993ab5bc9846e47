"""PNM: PBM, PGM and PPM, as text or binary, and PAM.

Read here, not by a library: OpenCV and Pillow scale or cut samples of more than 8 bits, and the
header of netpbmfile is a regular expression that damaged files make run without end.
"""

import re
from dataclasses import dataclass

import numpy as np

from dfp_batch.io.codec.frame import Metadata, Pixels
from dfp_batch.io.codec.header import (
    Header,
    Opened,
    RefusedError,
    Stored,
    channel_names,
    check_frames,
    check_size,
    damaged,
)

_NUMBER = re.compile(rb"(?:\s|#[^\r\n]*+[\r\n])++(\d{1,9})(?!\d)")
_COMMENT = re.compile(rb"#[^\r\n]*+")
_TEXT = re.compile(rb"[\d\s]*+")
_LONGEST_HEADER = 64 * 1024
_END = b"ENDHDR\n"
_COLOURS = {b"1": 1, b"2": 1, b"3": 3, b"4": 1, b"5": 1, b"6": 3}
_BITMAPS, _TEXTS = (b"1", b"4"), (b"1", b"2", b"3")
_PAM_DEPTHS = {1: (1, False), 2: (1, True), 3: (3, False), 4: (3, True)}
_BYTE, _SHORT = 255, 65535
_WHITES = {2**bits - 1 for bits in range(9, 17)}


@dataclass(frozen=True)
class _Head:
    """What stands before the samples; ``start`` is where they begin, ``top`` is white."""

    kind: bytes
    width: int
    height: int
    samples: int
    top: int
    start: int

    @property
    def is_packed(self) -> bool:
        """Whether eight pixels share a byte."""
        return self.kind == b"4"

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of a stored sample."""
        return np.dtype(np.uint8 if self.top <= _BYTE else ">u2")

    @property
    def row_bytes(self) -> int:
        """Of a binary image."""
        if self.is_packed:
            return -(-self.width // 8)
        return self.width * self.samples * self.dtype.itemsize


def opened(data: bytes, size_bytes: int) -> Opened:
    """Read everything but the pixels.

    Args:
        data: The file, or its start with the header.
        size_bytes: Of the whole file.

    Raises:
        RefusedError: Damaged, too large, several images, or channels that a frame does not have.
    """
    try:
        head = _pam_head(data) if data[1:2] == b"7" else _head(data)
    except (ValueError, LookupError) as error:
        raise damaged("PNM", size_bytes) from error
    check_size(head.width, head.height)
    if not 0 < head.top <= _SHORT:
        raise RefusedError(f"has samples up to {head.top}, expected at most {_SHORT}; convert it")
    _check_length(head, size_bytes)
    channels, has_alpha = _PAM_DEPTHS[head.samples]
    white = _white(head)
    dtype = "uint8" if white is None else "uint16"
    bits = 8 if white is None else int(white).bit_length()
    header = Header("PNM", head.width, head.height, channels, has_alpha, dtype, bits)
    return Opened(header, 1, Metadata(), lambda: _load(data, head))


def _head(data: bytes) -> _Head:
    """The header of P1 to P6: numbers between white space and comments."""
    kind, at, numbers = data[1:2], 2, []
    for _ in range(2 if kind in _BITMAPS else 3):
        match = _NUMBER.match(data, at, _LONGEST_HEADER)
        if match is None:
            raise ValueError("not a number")
        numbers.append(int(match[1]))
        at = match.end()
    top = numbers[2] if len(numbers) > 2 else 1  # noqa: PLR2004
    return _Head(kind, numbers[0], numbers[1], _COLOURS[kind], top, at + 1)


def _pam_head(data: bytes) -> _Head:
    """The header of P7: a line for each value."""
    end = data.index(_END, 0, _LONGEST_HEADER)
    lines = [line.split(None, 1) for line in data[2:end].split(b"\n")]
    values = {line[0]: line[1] for line in lines if len(line) == 2}  # noqa: PLR2004
    names = (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
    width, height, depth, top = (int(values[name]) for name in names)
    if depth not in _PAM_DEPTHS:
        raise RefusedError(channel_names(depth))
    return _Head(b"7", width, height, depth, top, end + len(_END))


def _check_length(head: _Head, size_bytes: int) -> None:
    """Refuse a file that ends early, or that holds more images than one."""
    left = size_bytes - head.start
    if head.kind in _TEXTS:
        if left < head.width * head.height * head.samples:
            raise damaged("PNM", size_bytes)
        return
    needed = head.row_bytes * head.height
    if left < needed:
        raise damaged("PNM", size_bytes)
    if left >= 2 * needed:
        check_frames(left // needed)


def _white(head: _Head) -> float | None:
    """As in ``Frame``: values that are no bit depth are scaled to 16 bits."""
    if head.top <= _BYTE:
        return None
    return float(head.top if head.top in _WHITES else _SHORT)


def _load(data: bytes, head: _Head) -> Stored:
    try:
        values = _text(data, head) if head.kind in _TEXTS else _binary(data, head)
    except (ValueError, OverflowError) as error:
        raise damaged("PNM", len(data)) from error
    if int(values.max()) > head.top:
        raise damaged("PNM", len(data))
    if head.kind in _BITMAPS:
        values = 1 - values  # 1 is black
    white = _white(head)
    full = int(white or _BYTE)
    if full != head.top:
        values = np.rint(values * (full / head.top))
    return Stored(values.astype(np.uint8 if white is None else np.uint16), white)


def _binary(data: bytes, head: _Head) -> Pixels:
    count = head.row_bytes * head.height // head.dtype.itemsize
    stored = np.frombuffer(data, head.dtype, count, head.start)
    if not head.is_packed:
        return stored.reshape(head.height, head.width, head.samples)
    bits = np.unpackbits(stored.reshape(head.height, head.row_bytes), axis=1)
    return bits[:, : head.width, None]


def _text(data: bytes, head: _Head) -> Pixels:
    body = _COMMENT.sub(b"", data[head.start - 1 :])
    if not _TEXT.fullmatch(body):
        raise ValueError("holds more than numbers")
    if head.kind in _BITMAPS:  # digits need nothing between them
        digits = np.frombuffer(b"".join(body.split()), np.uint8) - ord("0")
    else:
        digits = np.array(body.split(), np.int64)
    return digits.reshape(head.height, head.width, head.samples)
