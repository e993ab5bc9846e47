"""HEIC, which pillow-heif reads: an extra of this package."""

from types import ModuleType
from typing import Any

import numpy as np

from dfp_batch.io.codec import exif
from dfp_batch.io.codec.frame import Metadata
from dfp_batch.io.codec.header import (
    Header,
    Opened,
    RefusedError,
    Stored,
    check_frames,
    check_size,
    damaged,
)

_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_ANY_CODING = {b"mif1", b"msf1"}
_CHANNELS = {
    "L": (1, False),
    "I": (1, False),
    "LA": (1, True),
    "RGB": (3, False),
    "RGBA": (3, True),
}
_DAMAGE = (OSError, EOFError, SyntaxError, RuntimeError, ValueError, LookupError, MemoryError)


def is_heic(data: bytes) -> bool:
    """Whether a file that starts like this is a HEIC."""
    if data[4:8] != b"ftyp":
        return False
    length = int.from_bytes(data[:4], "big")
    others = {data[at : at + 4] for at in range(16, min(length, 200), 4)}
    return data[8:12] in _BRANDS or (data[8:12] in _ANY_CODING and bool(others & _BRANDS))


def opened(data: bytes, size_bytes: int) -> Opened:
    """Read everything but the pixels; the decoder turns them as the file asks for.

    Args:
        data: The file.
        size_bytes: Of it.

    Raises:
        RefusedError: Damaged, too large, several images, or pillow-heif is not installed.
    """
    library = _library()
    try:
        file = library.HeifFile(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        check_frames(len(file))
        image = file[0]
        return _opened(image, size_bytes)
    except _DAMAGE as error:
        raise damaged("HEIC", size_bytes) from error


def _library() -> ModuleType:
    try:
        import pillow_heif  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RefusedError(
            "is a HEIC image, which needs the package pillow-heif; pip install 'dfp-batch[heic]'"
        ) from error
    return pillow_heif


def _opened(image: Any, size_bytes: int) -> Opened:  # noqa: ANN401 - of an optional package
    width, height = image.size
    check_size(width, height)
    colours, has_alpha = _CHANNELS[image.mode.partition(";")[0]]
    bits = int(image.info["bit_depth"])
    dtype = "uint8" if bits <= 8 else "uint16"  # noqa: PLR2004
    header = Header("HEIC", width, height, colours, has_alpha, dtype, bits)
    block = exif.upright((image.info.get("exif") or b"").removeprefix(b"Exif\0\0"))
    size_um = exif.pixel_size_um(block) if block else None
    metadata = Metadata(image.info.get("icc_profile") or None, block, size_um)
    return Opened(header, 1, metadata, lambda: _load(image, header, size_bytes))


def _load(image: Any, header: Header, size_bytes: int) -> Stored:  # noqa: ANN401
    shape = header.height, header.width, header.channels + header.has_alpha
    try:
        stored = np.frombuffer(image.data, np.dtype(header.dtype).newbyteorder("<"))
        pixels = stored.reshape(shape).astype(header.dtype)
    except _DAMAGE as error:
        raise damaged("HEIC", size_bytes) from error
    return Stored(pixels, float(2**header.bits - 1) if header.bits > 8 else None)  # noqa: PLR2004
