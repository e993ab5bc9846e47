"""Bytes <-> pixels: JPEG, PNG, TIFF and WebP in; PNG, TIFF and JPEG out.

Nothing is guessed: what OpenCV would read wrongly without a word (a second page, a second channel,
separate colour planes, inverted grey) is refused with the reason.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile

from dfp_batch.errors import ConfigError, ImageError

Pixels = npt.NDArray[Any]

# OpenCV reports a damaged image twice: to us (we raise) and to the terminal of every worker.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_MAXIMUM = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
_ORIENTED = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR  # applies the EXIF orientation, hides alpha
_FLAGS = {
    "JPEG": _ORIENTED,
    "PNG": cv2.IMREAD_UNCHANGED,
    "TIFF": cv2.IMREAD_UNCHANGED,
    "WebP": cv2.IMREAD_UNCHANGED,
}
_TIFF_DTYPES = {"uint8", "uint16", "float32", "float64"}
_TIFF_COLOURS = {"MINISBLACK", "RGB", "PALETTE", "YCBCR"}
_TIFF_DAMAGE = (  # what tifffile lets through on a damaged header
    tifffile.TiffFileError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
_DEPTHS = {"png": (8, 16), "tiff": (8, 16, 32), "jpg": (8,)}
_JPEG_QUALITY = 95


@dataclass(frozen=True, eq=False)
class Frame:
    """One image as it is stored.

    Attributes:
        pixels: (h, w, C), C = 1 (grey) or 3 (red, green, blue); uint8, uint16, or float32 in
            [0, 1].
    """

    pixels: Pixels

    @property
    def bit_depth(self) -> int:
        """Bits of one sample: 8, 16, or 32 for float."""
        return 8 * self.pixels.dtype.itemsize

    @property
    def size(self) -> str:
        """Width and height for people, ``512x510 px``."""
        height, width = self.pixels.shape[:2]
        return f"{width}x{height} px"

    @property
    def kind(self) -> str:
        """What sources of one item share, for people, ``512x510 px, 3 channels, 8 bit``."""
        channels = self.pixels.shape[2]
        return f"{self.size}, {channels} channel{'s' * (channels > 1)}, {self.bit_depth} bit"


def decode(data: bytes, url: str) -> Frame:
    """Read one whole grey or colour image.

    The EXIF orientation of a JPEG and the orientation of a TIFF are applied; those of PNG and
    WebP are not.

    Args:
        data: The file's bytes.
        url: Where they come from; used in error messages only.

    Returns:
        The image at its own bit depth; float64 becomes float32.

    Raises:
        ImageError: Empty, damaged, not an image, alpha, several pages, or samples that are not
            uint8, uint16 or finite floats in [0, 1].
    """
    if not data:
        raise ImageError(f"{url}: is empty (0 bytes), expected an image")
    kind = _kind(data, url)
    if kind == "TIFF":
        _check_tiff(data, url)
    pixels = _imdecode(data, kind, url)
    _check_channels(pixels.shape[2], url)
    return Frame(_checked_samples(_rgb(pixels), url))


def encode(frame: Frame, extension: str, jpeg_quality: int = _JPEG_QUALITY) -> bytes:
    """Write an image; PNG and TIFF are lossless.

    Args:
        frame: The image.
        extension: ``png`` (8 or 16 bit), ``tiff`` (8, 16 or 32 bit) or ``jpg`` (8 bit).
        jpeg_quality: 1 to 100.

    Returns:
        The bytes of the whole file.

    Raises:
        ConfigError: The format is unknown or cannot hold the bit depth.
        ImageError: The encoder failed.
    """
    check_depth(extension, frame.bit_depth)
    return _imencode(frame, extension, jpeg_quality)


def check_depth(extension: str, bit_depth: int) -> None:
    """Refuse a format that is unknown or cannot hold the depth.

    Raises:
        ConfigError: One of the two.
    """
    if extension not in _DEPTHS:
        raise ConfigError(f"extension must be one of {', '.join(_DEPTHS)}, got {extension!r}")
    if bit_depth not in _DEPTHS[extension]:
        depths = " or ".join(map(str, _DEPTHS[extension]))
        use = "tiff" if bit_depth == 32 else "png or tiff"  # noqa: PLR2004
        raise ConfigError(f"{extension} holds {depths} bits per sample, got {bit_depth}; use {use}")


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
    """The lossless format for this bit depth: ``png`` for 8 and 16 bit, ``tiff`` for float."""
    return "png" if frame.bit_depth in _DEPTHS["png"] else "tiff"


def to_unit(frame: Frame) -> npt.NDArray[np.float32]:
    """Scale to the unit range: (h, w, C) of any depth to float32 (C, h, w) in [0, 1]."""
    planes = frame.pixels.transpose(2, 0, 1).astype(np.float32, order="C")
    planes /= np.float32(_maximum(frame.pixels.dtype))
    return planes


def from_unit(image: Pixels, dtype: npt.DTypeLike) -> Frame:
    """Undo :func:`to_unit`: clip to [0, 1], scale and round to the nearest value.

    Args:
        image: (C, h, w), finite floats.
        dtype: uint8, uint16 or float32.

    Returns:
        The image as (h, w, C) of this dtype.

    Raises:
        ConfigError: The dtype is another one.
    """
    maximum = _maximum(np.dtype(dtype))
    scaled = image.clip(0, 1) * np.asarray(maximum, image.dtype)
    rounded = scaled if np.dtype(dtype).kind == "f" else np.rint(scaled)
    return Frame(rounded.transpose(1, 2, 0).astype(dtype, order="C"))


def thumbnail(frame: Frame, longest_px: int = 512) -> Frame:
    """Shrink by area averaging to 8 bits and at most ``longest_px`` a side; never enlarges."""
    height, width = frame.pixels.shape[:2]
    ratio = min(1.0, longest_px / max(height, width))
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    small = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
    return from_unit(to_unit(Frame(_with_channels(small))), np.uint8)


def _kind(data: bytes, url: str) -> str:
    kind = _signature(data)
    if kind is None:
        raise ImageError(
            f"{url}: does not start like a JPEG, PNG, TIFF or WebP image: {data[:8]!r}..., "
            f"{len(data)} bytes"
        )
    return kind


def _signature(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    return "WebP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _imdecode(data: bytes, kind: str, url: str) -> Pixels:
    """Decode to (h, w, C) in OpenCV's channel order."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS[kind])
    except cv2.error as error:
        reason = " ".join(error.err.split())
        raise ImageError(f"{url}: OpenCV cannot decode this {kind}: {reason}") from error
    if pixels is None:
        raise _undecodable(data, kind, url)
    return _with_channels(pixels)


def _undecodable(data: bytes, kind: str, url: str) -> ImageError:
    why = "truncated or damaged"
    if kind == "TIFF":
        why += ", or a layout that OpenCV cannot read"
    return ImageError(
        f"{url}: starts like a {kind} but does not decode ({len(data)} bytes): {why}; "
        "expected a whole JPEG, PNG, TIFF or WebP image"
    )


def _imencode(frame: Frame, extension: str, jpeg_quality: int) -> bytes:
    pixels = _rgb(frame.pixels)  # its own inverse: red and blue change places
    options = (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality) if extension == "jpg" else ()
    try:
        done, data = cv2.imencode(f".{extension}", pixels, options)
    except cv2.error as error:
        reason = " ".join(error.err.split())
        raise ImageError(f"cannot encode {frame.size} as {extension}: {reason}") from error
    if not done:
        raise ImageError(f"cannot encode {frame.size} as {extension}: OpenCV refused it")
    return data.tobytes()


def _with_channels(pixels: Pixels) -> Pixels:
    """Give a grey (h, w) image its channel axis."""
    return pixels if pixels.ndim == 3 else pixels[:, :, None]  # noqa: PLR2004


def _rgb(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _maximum(dtype: np.dtype[Any]) -> float:
    if dtype.name not in _MAXIMUM:
        raise ConfigError(f"pixels must be {', '.join(_MAXIMUM)}, got {dtype.name}")
    return _MAXIMUM[dtype.name]


def _check_channels(count: int, url: str) -> None:
    if count in (1, 3):
        return
    alpha = {2: " (alpha)", 4: " (alpha)"}.get(count, "")
    raise ImageError(
        f"{url}: has {count} channels{alpha}, expected 1 (grey) or 3 (colour); flatten it first"
    )


def _checked_samples(pixels: Pixels, url: str) -> Pixels:
    """Pass uint8 and uint16, check floats, refuse the rest."""
    if pixels.dtype.kind == "f":
        return _checked_floats(pixels, url).astype(np.float32, copy=False)
    if pixels.dtype.name not in _MAXIMUM:
        raise ImageError(
            f"{url}: holds {pixels.dtype.name} samples, expected uint8, uint16 or float32"
        )
    return pixels


def _checked_floats(pixels: Pixels, url: str) -> Pixels:
    broken = int((~np.isfinite(pixels)).any(axis=2).sum())
    if broken:
        total = pixels.shape[0] * pixels.shape[1]
        raise ImageError(f"{url}: {broken} of {total} pixels are NaN or infinite, expected finite")
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        raise ImageError(
            f"{url}: float samples must be in [0, 1], found {low:g} to {high:g}; rescale them"
        )
    return pixels


def _check_tiff(data: bytes, url: str) -> None:
    """Refuse what OpenCV would read as something else; it looks at the first page only."""
    try:
        with tifffile.TiffFile(BytesIO(data)) as tiff:
            pages = list(tiff.pages)
            problem = _page_problem(pages[0]) or _pages_problem(pages)
    except _TIFF_DAMAGE as error:
        raise _undecodable(data, "TIFF", url) from error
    if problem:
        raise ImageError(f"{url}: {problem}")


def _pages_problem(pages: Sequence[Any]) -> str | None:
    """Say what is wrong with the number of pages; reduced copies after the image may stay."""
    images = sum(not page.is_reduced for page in pages)
    if images == 1 and not pages[0].is_reduced:
        return None
    if images == 1:
        return "holds a thumbnail before the image, expected the image first; save it again"
    return f"holds {images} pages, expected one image; save each page as its own file"


def _page_problem(page: Any) -> str | None:  # noqa: ANN401 - tifffile has no types
    samples, name = page.samplesperpixel, page.dtype.name if page.dtype else "unknown"
    if samples not in (1, 3):
        return f"has {samples} channels, expected 1 (grey) or 3 (colour); flatten it first"
    if name not in _TIFF_DTYPES or page.bitspersample != 8 * page.dtype.itemsize:
        return (
            f"holds {page.bitspersample}-bit {name} samples, expected uint8, uint16 or float32; "
            "convert it"
        )
    if page.photometric.name not in _TIFF_COLOURS:
        return (
            f"holds {page.photometric.name} pixels, expected grey (black is 0) or RGB; convert it"
        )
    if samples > 1 and page.planarconfig.name != "CONTIG":
        return "stores its colours as separate planes, expected interleaved RGB; save it again"
    return None
