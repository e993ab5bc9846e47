"""Camera RAW and DNG, which rawpy (LibRaw) develops: an extra of this package.

16 bits, the colours and the curve of sRGB, no automatic brightness: what a frame looks like follows
from its samples and from ``Development`` alone, which the frames of a stack share.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from types import ModuleType
from typing import Any

import numpy as np

from dfp_batch.io.codec import exif
from dfp_batch.io.codec.boxes import boxes
from dfp_batch.io.codec.frame import Metadata
from dfp_batch.io.codec.header import (
    Header,
    Opened,
    RefusedError,
    Stored,
    check_size,
    damaged,
)
from dfp_batch.io.codec.names import RAW_ENDINGS

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SIGNATURES = (b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
_TIFF_LIKE = {b"II": b"II*\0", b"MM": b"MM\0*"}
_FIRST_DIRECTORY, _EXIF_DIRECTORY = b"CMT1", b"CMT2"  # of a CR3
_TRANSPOSED = 4  # bit of a flip of LibRaw


@dataclass(frozen=True)
class Development:
    """What the frames of one stack are developed with.

    Attributes:
        white_balance: Factors of red, green, blue and the second green, 0 for as the first.
        black: Level of each of the four.
        saturation: Level of white.
    """

    white_balance: tuple[float, ...]
    black: tuple[int, ...]
    saturation: int


def is_raw(data: bytes, url: str) -> bool:
    """Whether a file that starts like this, or has this name, is a camera RAW file.

    Many start like a TIFF, and only their names or their first directory tell them apart.
    """
    tiff_like = data.startswith(_TIFF_STARTS)
    canon = (tiff_like and data[8:10] == b"CR") or data[4:12] == b"ftypcrx "
    is_other = data.startswith((b"\xff\xd8\xff", b"\x89PNG"))
    named = url.rpartition(".")[2].lower() in RAW_ENDINGS and not is_other
    return canon or named or data.startswith(_SIGNATURES)


def opened(data: bytes, size_bytes: int, shared: Development | None = None) -> Opened:
    """Read everything but the pixels, which are turned as the camera was held.

    Args:
        data: The file.
        size_bytes: Of it.
        shared: What it is developed with; None is its own.

    Raises:
        RefusedError: Damaged, too large, of pixels that are not square, or rawpy is not installed.
    """
    library = _library()
    try:
        with library.imread(BytesIO(data)) as raw:
            own, sizes = _development(raw), raw.sizes
    except _damage(library) as error:
        raise damaged("RAW", size_bytes) from error
    check_size(sizes.width, sizes.height)
    if sizes.pixel_aspect != 1:
        raise RefusedError("has pixels that are not square; convert it to 16-bit TIFF first")
    width, height = sizes.width, sizes.height
    if sizes.flip & _TRANSPOSED:
        width, height = height, width
    header = Header("RAW", width, height, 3, False, "uint16", 16)
    block = exif.upright(_exif(data) or b"")
    return Opened(header, 1, Metadata(exif=block), lambda: _load(data, shared or own))


def development_of(data: bytes) -> Development:
    """What a file would be developed with by itself.

    Raises:
        RefusedError: Damaged, or rawpy is not installed.
    """
    library = _library()
    try:
        with library.imread(BytesIO(data)) as raw:
            return _development(raw)
    except _damage(library) as error:
        raise damaged("RAW", len(data)) from error


def _library() -> ModuleType:
    try:
        import rawpy  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RefusedError(
            "is a camera RAW file, which needs the package rawpy; pip install 'dfp-batch[raw]'"
        ) from error
    return rawpy


def _damage(library: ModuleType) -> tuple[type[Exception], ...]:
    """What rawpy lets through on a damaged file."""
    own: tuple[type[Exception], ...] = (library.LibRawError, library.NotSupportedError)
    return (*own, AttributeError, LookupError, MemoryError, OSError, RuntimeError, ValueError)


def _development(raw: Any) -> Development:  # noqa: ANN401 - of an optional package
    balance = [float(factor) for factor in raw.camera_whitebalance]
    if min(balance[:3]) <= 0:  # the camera has not said
        balance = [float(factor) for factor in raw.daylight_whitebalance]
    return Development(tuple(balance), tuple(raw.black_level_per_channel), int(raw.white_level))


def _load(data: bytes, how: Development) -> Stored:
    library = _library()
    black = min(how.black)
    try:
        with library.imread(BytesIO(data)) as raw:
            pixels = raw.postprocess(
                user_wb=list(how.white_balance),
                user_black=black,
                user_cblack=[level - black for level in how.black],
                user_sat=how.saturation - black,  # LibRaw takes it as what is left above black
                adjust_maximum_thr=0.0,  # else white depends on the brightest sample
                no_auto_bright=True,
                output_bps=16,
            )
    except _damage(library) as error:
        raise damaged("RAW", len(data)) from error
    return Stored(np.asarray(pixels), 65535.0)


def _exif(data: bytes) -> bytes | None:
    """EXIF data of a file that is built like a TIFF, or of boxes; None of others."""
    if data[4:12] == b"ftypcrx ":
        return _exif_of_boxes(data)
    start = _TIFF_LIKE.get(data[:2])
    if start is None or len(data) < 8:  # noqa: PLR2004
        return None
    (at,) = struct.unpack_from("<I" if start[:2] == b"II" else ">I", data, 4)
    return exif.of_tiff(start + data[4:], at)


def _exif_of_boxes(data: bytes) -> bytes | None:
    """The first directory of a CR3, with that of the exposure."""
    inside = [box.content for box in boxes(data) if box.name == b"moov"]
    parts = {
        box.name: box.content
        for content in inside
        for uuid in boxes(content)
        if uuid.name == b"uuid"
        for box in boxes(uuid.content[16:])
    }
    first, second = parts.get(_FIRST_DIRECTORY), parts.get(_EXIF_DIRECTORY)
    return first and exif.with_directory(first, second)
