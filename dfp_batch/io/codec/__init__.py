"""Bytes <-> pixels of every format that is read or written, with ICC profile, EXIF and alpha."""

from dfp_batch.io.codec.frame import (
    Frame,
    Metadata,
    Pixels,
    Span,
    alpha_to_unit,
    from_unit,
    is_in_unit,
    thumbnail,
    to_unit,
    white,
    white_of,
)
from dfp_batch.io.codec.header import LARGEST_PX, Header
from dfp_batch.io.codec.index_map import decode_indices, encode_indices
from dfp_batch.io.codec.raw import Development
from dfp_batch.io.codec.reading import decode, development_of, inspect, inspect_file
from dfp_batch.io.codec.writing import (
    check_depth,
    encode,
    encode_channels,
    extension_for,
    extension_of,
)

__all__ = [
    "LARGEST_PX",
    "Development",
    "Frame",
    "Header",
    "Metadata",
    "Pixels",
    "Span",
    "alpha_to_unit",
    "check_depth",
    "decode",
    "decode_indices",
    "development_of",
    "encode",
    "encode_channels",
    "encode_indices",
    "extension_for",
    "extension_of",
    "from_unit",
    "inspect",
    "inspect_file",
    "is_in_unit",
    "thumbnail",
    "to_unit",
    "white",
    "white_of",
]
