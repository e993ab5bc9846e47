"""One image as it is stored, and the way to the unit range and back."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dfp_batch.errors import ConfigError, ImageError

Pixels = npt.NDArray[Any]

_MAXIMUM = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
OPEN_DTYPES = ("int8", "int16", "int32", "uint32")
"""Whole numbers that say nothing of black and white: measured values, in a unit of their own."""

Span = tuple[float, float]  # values that mean 0 and 1
_RANGES = (1023, 4095, 16383, 65535)  # of 10, 12, 14 and 16 bits


@dataclass(frozen=True)
class Metadata:
    r"""What travels with the pixels.

    Attributes:
        icc: The ICC profile.
        exif: The EXIF data as a TIFF structure, without a leading ``Exif\0\0``; its orientation
            is 1.
        pixel_size_um: Width and height of one pixel in micrometres.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    pixel_size_um: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One image as it is stored.

    Attributes:
        pixels: (h, w, C), C = 1 (grey) or 3 (red, green, blue); uint8, uint16, or float32 in
            [0, 1]; or measured values, floats or one of ``OPEN_DTYPES``, which need a span.
        alpha: (h, w), 0 where the image is transparent; of the dtype and range of the pixels, which
            are not multiplied by it.
        white: The sample value that means 1.0: 1023, 4095 or 16383 for 10, 12 or 14 bits in
            uint16. None is the full range of the dtype.
        metadata: What travels with the pixels.
        span: Of measured values, what 0 and 1 mean; None if the type says it, or it is not known.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    white: float | None = None
    metadata: Metadata = Metadata()
    span: Span | None = None

    @property
    def bit_depth(self) -> int:
        """Bits of the container of one sample: 8, 16, or 32 for float."""
        return 8 * self.pixels.dtype.itemsize

    @property
    def significant_bits(self) -> int:
        """Bits that one sample uses: 8, 10, 12, 14, 16, or 32 for float."""
        if self.white is None or self.pixels.dtype.kind != "u":
            return self.bit_depth
        return int(self.white).bit_length()

    @property
    def size(self) -> str:
        """Width and height for people, ``512x510 px``."""
        height, width = self.pixels.shape[:2]
        return f"{width}x{height} px"

    @property
    def kind(self) -> str:
        """What sources of one item share: ``512x510 px, 3 channels with alpha, 12 bit``."""
        samples = samples_text(self.pixels.dtype.name, self.significant_bits)
        return kind_text(self.size, self.pixels.shape[2], self.alpha is not None, samples)


def samples_text(dtype: str, bits: int) -> str:
    """Samples for people: ``12 bit``, or ``int16``."""
    return dtype if dtype in OPEN_DTYPES else f"{bits} bit"


def kind_text(size: str, channels: int, has_alpha: bool, samples: str) -> str:
    """What sources of one item share, for people."""
    alpha = " with alpha" if has_alpha else ""
    return f"{size}, {channels} channel{'s' * (channels > 1)}{alpha}, {samples}"


def white(frame: Frame) -> float:
    """The sample value that means 1.0.

    Raises:
        ConfigError: The pixels are of another dtype than a frame has.
    """
    return full_range(frame.pixels.dtype) if frame.white is None else frame.white


def white_of(highest: int) -> float:
    """Value of white of 16-bit samples that say nothing about their range.

    Sensors of 10, 12 and 14 bits are stored in 16 bits without scaling, so the range is the
    smallest of these that holds the highest value; a range below 10 bits is never assumed, since
    no camera has it and a dark frame must not be stretched.

    Args:
        highest: Highest sample of all frames that belong together, 0 to 65535.

    Returns:
        1023 for 0 to 1023, 4095, 16383 or 65535.
    """
    return float(next((limit for limit in _RANGES if highest <= limit), _RANGES[-1]))


def to_unit(frame: Frame) -> npt.NDArray[np.float32]:
    """Scale to the unit range: (h, w, C) of any depth to float32 (C, h, w) in [0, 1].

    Samples above ``white`` or beyond the span would leave it and count as its end.

    Raises:
        ImageError: Measured values without a span.
    """
    if frame.span is not None:
        return _within(frame.pixels.transpose(2, 0, 1), frame.span)
    _check_unit(frame.pixels)
    planes = frame.pixels.transpose(2, 0, 1).astype(np.float32, order="C")
    return _over_white(planes, frame)


def alpha_to_unit(frame: Frame) -> npt.NDArray[np.float32] | None:
    """Scale the alpha to float32 (1, h, w) in [0, 1]; None if the frame has none."""
    if frame.alpha is None:
        return None
    return _over_white(frame.alpha[None].astype(np.float32, order="C"), frame)


def from_unit(
    image: Pixels, dtype: npt.DTypeLike, white: float | None = None, span: Span | None = None
) -> Frame:
    """Undo :func:`to_unit`: clip to [0, 1], scale and round to the nearest value.

    Args:
        image: (C, h, w), finite floats.
        dtype: uint8, uint16 or float32; of measured values also one of ``OPEN_DTYPES``.
        white: Sample value that 1.0 becomes; None is the full range of the dtype.
        span: Of measured values, what 0 and 1 become.

    Returns:
        The image as (h, w, C) of this dtype.

    Raises:
        ConfigError: The dtype is another one.
    """
    if span is not None:
        return Frame(_spread(image, np.dtype(dtype), span), span=span)
    maximum = full_range(np.dtype(dtype)) if white is None else white
    scaled = image.clip(0, 1) * np.asarray(maximum, image.dtype)
    rounded = scaled if np.dtype(dtype).kind == "f" else np.rint(scaled)
    return Frame(rounded.transpose(1, 2, 0).astype(dtype, order="C"), white=white)


def thumbnail(frame: Frame, longest_px: int = 512) -> Frame:
    """Shrink by area averaging to 8 bits and at most ``longest_px`` a side; never enlarges.

    The ICC profile stays; alpha and the rest of the metadata are left out.
    """
    height, width = frame.pixels.shape[:2]
    ratio = min(1.0, longest_px / max(height, width))
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    if frame.span is not None:
        frame = replace(from_unit(to_unit(frame), np.uint16), metadata=frame.metadata)
    small = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
    unit = to_unit(Frame(with_channels(small), white=frame.white))
    return replace(from_unit(unit, np.uint8), metadata=Metadata(icc=frame.metadata.icc))


def with_channels(pixels: Pixels) -> Pixels:
    """Give a grey (h, w) image its channel axis."""
    return pixels if pixels.ndim == 3 else pixels[:, :, None]  # noqa: PLR2004


def full_range(dtype: np.dtype[Any]) -> float:
    """Highest sample of a dtype: 255, 65535, or 1 for float32.

    Raises:
        ConfigError: The dtype is another one.
    """
    if dtype.name not in _MAXIMUM:
        raise ConfigError(f"pixels must be {', '.join(_MAXIMUM)}, got {dtype.name}")
    return _MAXIMUM[dtype.name]


def is_in_unit(pixels: Pixels) -> bool:
    """Whether samples mean something in [0, 1] by themselves: not if they are measured values."""
    if pixels.dtype.kind == "f":
        return float(pixels.min(initial=0)) >= 0 and float(pixels.max(initial=0)) <= 1
    return pixels.dtype.name in _MAXIMUM


def _check_unit(pixels: Pixels) -> None:
    if is_in_unit(pixels):
        return
    if pixels.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        raise ImageError(
            f"float samples must be in [0, 1], found {low:g} to {high:g}; rescale them"
        )
    raise ImageError(
        f"samples must be uint8, uint16 or float32, found {pixels.dtype}; convert them"
    )


def _within(values: Pixels, span: Span) -> npt.NDArray[np.float32]:
    """Measured values from their span to [0, 1]."""
    low, high = span
    unit = (values.astype(np.float64) - low) / (high - low)
    return np.ascontiguousarray(unit.clip(0, 1), np.float32)


def _spread(image: Pixels, dtype: np.dtype[Any], span: Span) -> Pixels:
    """Values (h, w, C) in [0, 1] to their span; what is rounded stays in it."""
    low, high = span
    values = image.transpose(1, 2, 0).clip(0, 1).astype(np.float64) * (high - low) + low
    rounded = values if dtype.kind == "f" else np.rint(values)
    return rounded.astype(dtype, order="C")


def _over_white(planes: npt.NDArray[np.float32], frame: Frame) -> npt.NDArray[np.float32]:
    planes /= np.float32(white(frame))
    return planes if frame.white is None else np.minimum(planes, 1, out=planes)
