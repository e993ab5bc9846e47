"""Whole files out: JPEG, PNG, TIFF and WebP."""

from collections.abc import Sequence
from typing import Any

from dfp_batch.errors import ConfigError, ImageError
from dfp_batch.io.codec import exif, jpeg, png, tiff, webp
from dfp_batch.io.codec.frame import OPEN_DTYPES, Frame, full_range
from dfp_batch.io.codec.header import named

QUALITY = 95
_DEPTHS = {"png": (8, 16), "tiff": (8, 16, 32), "jpg": (8,), "webp": (8,)}
_LOSSLESS = "uint8", "uint16"  # what png holds as it is
_OPAQUE = {"jpg"}


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
    with named(f"cannot encode {frame.size} as {extension}"):
        return _written(frame, extension, quality)


def encode_channels(frames: Sequence[Frame], names: Sequence[str]) -> bytes:
    """Write several grey images as the channels of one OME-TIFF, lossless.

    Args:
        frames: (h, w, 1) each, of one size and kind, without alpha; the metadata of the first one.
        names: Of the channels.

    Raises:
        ImageError: The encoder failed.
    """
    with named(f"cannot encode {len(frames)} channels of {frames[0].size}"):
        return tiff.written_channels(frames, names)


def check_depth(extension: str, frame: Frame) -> None:
    """Refuse a format that is unknown or cannot hold the samples of a frame.

    Raises:
        ConfigError: One of the two.
    """
    if extension not in _DEPTHS:
        raise ConfigError(f"extension must be one of {', '.join(_DEPTHS)}, got {extension!r}")
    depths, bits, name = _DEPTHS[extension], frame.bit_depth, frame.pixels.dtype.name
    if extension != "tiff" and (bits not in depths or name not in _LOSSLESS):
        known = " or ".join(map(str, depths))
        found, use = (bits, "png or tiff") if name in _LOSSLESS else (name, "tiff")
        raise ConfigError(f"{extension} holds {known} bits per sample, got {found}; use {use}")
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
