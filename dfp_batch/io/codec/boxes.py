"""Boxes: the parts that JPEG 2000, JPEG XL and HEIC files are made of (ISO 14496-12)."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_TO_THE_END, _LONG = 0, 1  # lengths that say something else


class Box(NamedTuple):
    """A box; ``is_whole`` is false where the data end before it does."""

    name: bytes
    content: bytes
    is_whole: bool


def boxes(data: bytes) -> Iterator[Box]:
    """The boxes that follow each other in these bytes; what is no box ends them."""
    at = 0
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == _LONG:
            if at + 16 > len(data):
                return
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        end = len(data) if length == _TO_THE_END else at + length
        if end < at + head:
            return
        yield Box(name, data[at + head : end], end <= len(data))
        at = end
