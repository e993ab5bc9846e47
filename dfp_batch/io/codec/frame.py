"""One image as it is stored, and the way to the unit range and back."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dfp_batch.errors import ConfigError

Pixels = npt.NDArray[Any]

_MAXIMUM = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
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
            [0, 1].
        alpha: (h, w), 0 where the image is transparent; of the dtype and range of the pixels, which
            are not multiplied by it.
        white: The sample value that means 1.0: 1023, 4095 or 16383 for 10, 12 or 14 bits in
            uint16. None is the full range of the dtype.
        metadata: What travels with the pixels.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    white: float | None = None
    metadata: Metadata = Metadata()

    @property
    def bit_depth(self) -> int:
        """Bits of the container of one sample: 8, 16, or 32 for float."""
        return 8 * self.pixels.dtype.itemsize

    @property
    def significant_bits(self) -> int:
        """Bits that one sample uses: 8, 10, 12, 14, 16, or 32 for float."""
        if self.white is None or self.pixels.dtype.kind == "f":
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
        has_alpha = self.alpha is not None
        return kind_text(self.size, self.pixels.shape[2], has_alpha, self.significant_bits)


def kind_text(size: str, channels: int, has_alpha: bool, bits: int) -> str:
    """What sources of one item share, for people."""
    alpha = " with alpha" if has_alpha else ""
    return f"{size}, {channels} channel{'s' * (channels > 1)}{alpha}, {bits} bit"


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

    Samples above ``white`` would leave it and count as white.
    """
    planes = frame.pixels.transpose(2, 0, 1).astype(np.float32, order="C")
    return _over_white(planes, frame)


def alpha_to_unit(frame: Frame) -> npt.NDArray[np.float32] | None:
    """Scale the alpha to float32 (1, h, w) in [0, 1]; None if the frame has none."""
    if frame.alpha is None:
        return None
    return _over_white(frame.alpha[None].astype(np.float32, order="C"), frame)


def from_unit(image: Pixels, dtype: npt.DTypeLike, white: float | None = None) -> Frame:
    """Undo :func:`to_unit`: clip to [0, 1], scale and round to the nearest value.

    Args:
        image: (C, h, w), finite floats.
        dtype: uint8, uint16 or float32.
        white: Sample value that 1.0 becomes; None is the full range of the dtype.

    Returns:
        The image as (h, w, C) of this dtype.

    Raises:
        ConfigError: The dtype is another one.
    """
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


def _over_white(planes: npt.NDArray[np.float32], frame: Frame) -> npt.NDArray[np.float32]:
    planes /= np.float32(white(frame))
    return planes if frame.white is None else np.minimum(planes, 1, out=planes)
