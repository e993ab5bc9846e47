"""Whole files in, and JPEG, PNG, TIFF and WebP out.

Nothing is guessed: what would be read wrongly without a word (a second page, pixels for print, a
camera's raw data) is refused with the reason.
"""

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from dfp_batch.errors import ConfigError, ImageError
from dfp_batch.io.codec import (
    exif,
    heic,
    jpeg,
    jpeg2000,
    jpeg_xl,
    pillow_image,
    png,
    pnm,
    raw,
    tiff,
    webp,
)
from dfp_batch.io.codec.frame import OPEN_DTYPES, Frame, Metadata, Pixels, full_range
from dfp_batch.io.codec.header import (
    Header,
    Opened,
    RawFileError,
    RefusedError,
    Stored,
    damaged,
    is_sideways,
    oriented,
    upright,
)
from dfp_batch.io.codec.names import FORMATS
from dfp_batch.io.codec.raw import Development

QUALITY = 95

_OPENED = {
    "JPEG": jpeg.opened,
    "PNG": png.opened,
    "TIFF": tiff.opened,
    "WebP": webp.opened,
    "BMP": pillow_image.opened_bmp,
    "PNM": pnm.opened,
    "GIF": pillow_image.opened_gif,
    "JPEG 2000": jpeg2000.opened,
    "JPEG XL": jpeg_xl.opened,
    "HEIC": heic.opened,
}
_HOLD_HEADER: dict[str, Callable[[bytes], bool]] = {  # of the others the whole file is read
    "JPEG": jpeg.holds_header,
    "PNG": png.holds_header,
    "BMP": bool,
    "PNM": bool,
    "JPEG 2000": jpeg2000.holds_header,
}
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    **dict.fromkeys(jpeg2000.SIGNATURES, "JPEG 2000"),
    **dict.fromkeys(jpeg_xl.SIGNATURES, "JPEG XL"),
}
_PNM_NUMBERS = b"1234567"
_DEPTHS = {"png": (8, 16), "tiff": (8, 16, 32), "jpg": (8,), "webp": (8,)}
_LOSSLESS = "uint8", "uint16"  # what png holds as it is
_OPAQUE = {"jpg"}
_LARGEST_FLOAT = float(np.finfo(np.float32).max) / 4  # a span must not overflow
_FIRST_BYTES = 64 * 1024  # of a file whose header is looked for
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def decode(data: bytes, url: str, shared: Development | None = None) -> Frame:
    """Read one whole grey or colour image, with or without alpha.

    The orientation that the file states is applied once, and is 1 in the EXIF data that are kept.

    Args:
        data: The file's bytes.
        url: Where they come from; used in error messages, and its ending tells camera RAW files.
        shared: What a camera RAW file is developed with; None is its own.

    Returns:
        The image at its own bit depth; float64 becomes float32, a palette becomes colours.

    Raises:
        ImageError: Empty, damaged, not an image, too large, several pages or frames, CMYK, RAW, or
            samples that a frame does not hold, or floats that are not finite.
    """
    try:
        return loaded(_opened(data, url, shared=shared), len(data))
    except RefusedError as error:
        raise ImageError(f"{url}: {error}") from error


def loaded(found: Opened, size_bytes: int) -> Frame:
    """Decode the pixels of a file, or of a page of one, that has been opened.

    Args:
        found: What its header says.
        size_bytes: Of the file, for the message.

    Raises:
        RefusedError: Damaged, or floats that are not finite.
        StorageError: The store failed.
    """
    stored, head = found.load(), found.header
    if stored.pixels.shape != (head.height, head.width, head.channels + head.has_alpha):
        raise damaged(head.format, size_bytes)
    return _frame(stored, found)


def development_of(data: bytes, url: str) -> Development | None:
    """What a camera RAW file is developed with by itself; None for other images.

    Raises:
        ImageError: Empty, not an image, or damaged.
    """
    try:
        kind = _kind(data, url, len(data))
        if kind == "TIFF":
            with suppress(RawFileError):
                tiff.opened(data, len(data))
                return None
        return raw.development_of(data) if kind in ("RAW", "TIFF") else None
    except RefusedError as error:
        raise ImageError(f"{url}: {error}") from error


def inspect(data: bytes, url: str) -> Header:
    """Read the header of an image, and refuse what :func:`decode` refuses without its pixels.

    Args:
        data: The file's bytes.
        url: Where they come from.

    Returns:
        Size, channels and depth of the frame that it holds.

    Raises:
        ImageError: As :func:`decode`, as far as the header tells.
    """
    try:
        found = _opened(data, url)
    except RefusedError as error:
        raise ImageError(f"{url}: {error}") from error
    return upright(found.header, found.orientation)


def inspect_file(file: BinaryIO, url: str) -> Header:
    """As :func:`inspect`, and reads no more than it needs.

    Of a WebP, a GIF, a JPEG XL and a HEIC that is the whole file.

    A PNG that states its orientation after the pixels, as few programs write it, counts as upright.

    Args:
        file: Open for reading in any order.
        url: Where it comes from.

    Raises:
        ImageError: As :func:`decode`, as far as the header tells.
        StorageError: The store failed.
    """
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    data = file.read(_FIRST_BYTES)
    try:
        if _kind(data, url, size_bytes) == "TIFF":
            with suppress(RawFileError):
                return tiff.inspected(file, size_bytes)
            file.seek(0)
            data = file.read()
        found = _opened_from(data, file, url, size_bytes)
    except RefusedError as error:
        raise ImageError(f"{url}: {error}") from error
    return upright(found.header, found.orientation)


def metadata_of(file: BinaryIO, url: str) -> Metadata:
    """What travels with the pixels of an image other than a TIFF; read as by `inspect_file`.

    Args:
        file: Open for reading in any order.
        url: Where it comes from.

    Raises:
        ImageError: As :func:`decode`, as far as the header tells.
        StorageError: The store failed.
    """
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        return _opened_from(file.read(_FIRST_BYTES), file, url, size_bytes).metadata
    except RefusedError as error:
        raise ImageError(f"{url}: {error}") from error


def _opened_from(data: bytes, file: BinaryIO, url: str, size_bytes: int) -> Opened:
    """Open a file that is no TIFF by its beginning, and as much more as it takes."""
    holds_header = _HOLD_HEADER.get(_kind(data, url, size_bytes), _needs_all)
    while len(data) < size_bytes and not holds_header(data):
        data += file.read(len(data))
    return _opened(data, url, size_bytes)


def encode(frame: Frame, extension: str, quality: int = QUALITY) -> bytes:
    """Write an image with its metadata; PNG and TIFF are lossless.

    Args:
        frame: The image.
        extension: ``png`` (8 or 16 bit), ``tiff`` (8, 16 or 32 bit), ``jpg`` (8 bit, no alpha) or
            ``webp`` (8 bit).
        quality: Of jpg and webp, 1 to 100.

    Returns:
        The bytes of the whole file.

    Raises:
        ConfigError: The format is unknown or cannot hold the frame, or the quality is out of range.
        ImageError: The encoder failed.
    """
    check_depth(extension, frame)
    block = frame.metadata.exif
    if block is not None and exif.upright(block) is None:
        raise ImageError(f"cannot encode {frame.size} as {extension}: its EXIF data are damaged")
    if not 1 <= quality <= 100:  # noqa: PLR2004
        raise ConfigError(f"quality must be 1 to 100, got {quality}")
    try:
        return _written(frame, extension, quality)
    except RefusedError as error:
        raise ImageError(f"cannot encode {frame.size} as {extension}: {error}") from error


def encode_channels(frames: Sequence[Frame], names: Sequence[str]) -> bytes:
    """Write several grey images as the channels of one OME-TIFF, lossless.

    Args:
        frames: (h, w, 1) each, of one size and kind, without alpha; the metadata of the first one.
        names: Of the channels.

    Raises:
        ImageError: The encoder failed.
    """
    try:
        return tiff.written_channels(frames, names)
    except RefusedError as error:
        count = len(frames)
        raise ImageError(f"cannot encode {count} channels of {frames[0].size}: {error}") from error


def check_depth(extension: str, frame: Frame) -> None:
    """Refuse a format that is unknown or cannot hold the samples of a frame.

    Raises:
        ConfigError: One of the two.
    """
    if extension not in _DEPTHS:
        raise ConfigError(f"extension must be one of {', '.join(_DEPTHS)}, got {extension!r}")
    depths, bits, name = _DEPTHS[extension], frame.bit_depth, frame.pixels.dtype.name
    if extension != "tiff" and (bits not in depths or name not in _LOSSLESS):
        named = " or ".join(map(str, depths))
        found, use = (bits, "png or tiff") if name in _LOSSLESS else (name, "tiff")
        raise ConfigError(f"{extension} holds {named} bits per sample, got {found}; use {use}")
    if frame.alpha is not None and extension in _OPAQUE:
        raise ConfigError(f"{extension} holds no alpha; use png, tiff or webp")
    _check_alpha(frame)
    _check_white(frame)


def extension_of(url: str) -> str:
    """Format that a file name asks for; ``tif`` and ``jpeg`` are other spellings.

    Raises:
        ConfigError: The name ends in none of them.
    """
    found = url.rpartition(".")[2].lower()
    extension = {"tif": "tiff", "jpeg": "jpg"}.get(found, found)
    if extension not in _DEPTHS:
        raise ConfigError(f"{url}: the name must end in .{', .'.join(_DEPTHS)}")
    return extension


def extension_for(frame: Frame) -> str:
    """The lossless format for these samples: ``png`` for uint8 and uint16, else ``tiff``."""
    return "png" if frame.pixels.dtype.name in _LOSSLESS else "tiff"


def _needs_all(_data: bytes) -> bool:
    """Of a format whose header may be anywhere."""
    return False


def _opened(
    data: bytes, url: str, size_bytes: int | None = None, shared: Development | None = None
) -> Opened:
    """Open a file by its bytes, or by those up to its pixels and the size of the whole."""
    size_bytes = len(data) if size_bytes is None else size_bytes
    kind = _kind(data, url, size_bytes)
    try:
        if kind != "RAW":
            return _OPENED[kind](data, size_bytes)
    except RawFileError:
        pass
    return raw.opened(data, size_bytes, shared)


def _kind(data: bytes, url: str, size_bytes: int) -> str:
    """Format of a file by its first bytes, unless it cannot be used whatever follows."""
    if not data:
        raise RefusedError("is empty (0 bytes), expected an image")
    kind = "RAW" if raw.is_raw(data, url) else _signature(data)
    if kind is None:
        raise RefusedError(
            f"does not start like a {FORMATS} image: {data[:8]!r}..., {size_bytes} bytes"
        )
    return kind


def _signature(data: bytes) -> str | None:
    for start, kind in _SIGNATURES.items():
        if data.startswith(start):
            return kind
    if data.startswith(_TIFF_SIGNATURES):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    is_pnm = data[:1] == b"P" and data[1:2] in _PNM_NUMBERS and data[2:3] in b" \t\r\n#"
    if is_pnm and len(data) > 2:  # noqa: PLR2004
        return "PNM"
    return "HEIC" if heic.is_heic(data) else None


def _frame(stored: Stored, found: Opened) -> Frame:
    """Turn, check and split what was decoded."""
    head, metadata = found.header, found.metadata
    pixels = np.ascontiguousarray(_checked(oriented(stored.pixels, found.orientation)))
    size_um = metadata.pixel_size_um
    if size_um is not None and is_sideways(found.orientation):
        metadata = Metadata(metadata.icc, metadata.exif, size_um[::-1])
    if not head.has_alpha:
        return Frame(pixels, None, stored.white, metadata)
    colours, alpha = pixels[:, :, :-1], pixels[:, :, -1]
    return Frame(np.ascontiguousarray(colours), np.ascontiguousarray(alpha), stored.white, metadata)


def _checked(pixels: Pixels) -> Pixels:
    """Pass whole numbers, check that floats are finite."""
    if pixels.dtype.kind != "f":
        return pixels
    broken = int((~np.isfinite(pixels)).any(axis=2).sum())
    if broken:
        total = pixels.shape[0] * pixels.shape[1]
        raise RefusedError(f"{broken} of {total} pixels are NaN or infinite, expected finite")
    most = float(max(-pixels.min(), pixels.max()))
    if most > _LARGEST_FLOAT:
        raise RefusedError(f"float samples must be below {_LARGEST_FLOAT:g}, found {most:g}")
    return pixels.astype(np.float32, copy=False)


def _check_alpha(frame: Frame) -> None:
    """Refuse an alpha that does not belong to the pixels."""
    pixels, alpha = frame.pixels, frame.alpha
    if alpha is not None and (alpha.shape, alpha.dtype) != (pixels.shape[:2], pixels.dtype):
        raise ConfigError(
            f"alpha must be {pixels.dtype} of shape {pixels.shape[:2]} like the pixels, got "
            f"{alpha.dtype} of shape {alpha.shape}"
        )


def _check_white(frame: Frame) -> None:
    """Refuse a white that is not that of a bit depth; no format could say it."""
    if frame.pixels.dtype.name in OPEN_DTYPES:
        return
    full = full_range(frame.pixels.dtype)
    value: Any = full if frame.white is None else frame.white
    if value != full and not (full > 1 and value in {2**bits - 1 for bits in range(8, 16)}):
        raise ConfigError(
            f"white must be {full:g}, or 2**n - 1 for n of 8 to 15 bits, got {value:g}"
        )


def _written(frame: Frame, extension: str, quality: int) -> bytes:
    if extension == "png":
        return png.written(frame)
    if extension == "tiff":
        return tiff.written(frame)
    return jpeg.written(frame, quality) if extension == "jpg" else webp.written(frame, quality)
