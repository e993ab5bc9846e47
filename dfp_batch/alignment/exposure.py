"""Exposure and white balance of the frames of a stack, brought to those of the reference."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.core.part import Part

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Gains = NDArray[np.float64]
Model = Literal["none", "gain", "white-balance"]

_SAMPLED_PX = 256  # longest side that is looked at; larger images are thinned out
_BLOCKS = 8  # along the longest side: large, so that defocus moves little light between them
_SMALLEST_PX = 8  # of a block
_DARK, _BRIGHT = 1.5 / 255, 253.5 / 255  # what is not between them may be clipped
_UNCLIPPED = 0.9  # of the pixels of a block, at least
_FEWEST = 4  # blocks
_TINY = np.float32(1e-6)
_MEASURABLE = 0.002


@dataclass(frozen=True)
class ExposureMatch(Part):
    """Gain of a frame that makes it as bright as the reference.

    The weighted median, over large blocks of pixels, of the logarithm of reference / frame: another
    focus moves light, but little of it from block to block. A block counts by its brightness.

    Attributes:
        model: "gain" is one number for all channels, "white-balance" one for each; "none" is 1.

    Raises:
        ConfigError: for an unknown model.
    """

    seam: ClassVar[str] = "exposure"

    model: Model = "white-balance"

    def __call__(self, frame: Image, reference: Image, valid: Mask) -> Gains:
        """Gains (C,) > 0 with which ``frame`` is as bright as ``reference``.

        Clipped pixels are left out. A gain that differs from 1 by less than 0.2 %, which is what
        can be measured, is exactly 1; so is one for which there is nothing to compare.

        Args:
            frame: (h, w, C), in [0, 1], registered to the reference.
            reference: (h, w, C), in [0, 1].
            valid: (h, w), True where the frame covers the reference.
        """
        channels = frame.shape[2]
        if self.model == "none":
            return np.ones(channels)
        step = -(-max(valid.shape) // _SAMPLED_PX)
        thin = (slice(None, None, step),) * 2
        logs, weights = _log_ratios(frame[thin], reference[thin], valid[thin])
        if self.model == "gain":
            return np.full(channels, _gain(logs.ravel(), weights.ravel()))
        return np.array([_gain(logs[..., c], weights[..., c]) for c in range(channels)])


def _log_ratios(frame: Image, reference: Image, valid: Mask) -> tuple[Image, Image]:
    """Log of reference / frame and its weight, both (rows, columns, C), of every block."""
    lowest, highest = np.minimum(frame, reference), np.maximum(frame, reference)
    usable = ((lowest > _DARK) & (highest < _BRIGHT) & valid[..., None]).astype(np.float32)
    share, one, other = map(_block_means, (usable, frame * usable, reference * usable))
    logs = np.log((other + _TINY) / (one + _TINY))
    return logs, np.where(share >= _UNCLIPPED, np.sqrt(one * other), 0)


def _block_means(image: Image) -> Image:
    """Mean (rows, columns, C) of every whole block of (h, w, C)."""
    side = max(_SMALLEST_PX, max(image.shape[:2]) // _BLOCKS)
    h, w = (max(1, length // side) for length in image.shape[:2])
    inner = np.ascontiguousarray(image[: h * side, : w * side])
    means = cv2.resize(inner, (w, h), interpolation=cv2.INTER_AREA)
    return np.asarray(means, np.float32).reshape(h, w, -1)


def _gain(logs: Image, weights: Image) -> float:
    counted = weights.ravel() > 0
    if counted.sum() < _FEWEST:
        return 1.0
    gain = float(np.exp(_median(logs.ravel()[counted], weights.ravel()[counted])))
    return gain if abs(gain - 1) >= _MEASURABLE else 1.0


def _median(values: Image, weights: Image) -> float:
    """Where half of the weight lies below, between two values."""
    order = np.argsort(values)
    values, weights = values[order], weights[order].astype(np.float64)
    below = np.cumsum(weights) - weights / 2
    return float(np.interp(below[-1] / 2 + weights[-1] / 4, below, values))
