"""``D(up(y))`` at source size: what is left of an image that was enlarged and degraded again."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch.core.degradation import Degradation, weights_of
from dfp_batch.core.image import Image, Interpolation, enlarge

REACH_PX = 4  # of an enlargement, in source px: Lanczos4
_ALONE = np.ones(1, np.float32)

Weights = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RoundTrip:
    """``D(up(y))`` for a separable kernel: a filter along rows and columns, other at the borders.

    A twelfth of the time that enlarging and degrading take.

    Attributes:
        taps: Along either axis, (2 r + 1,).
        first: What the first r pixels take of the first 2 r, (r, 2 r).
        last: What the last r take of the last 2 r.
    """

    taps: Weights
    first: Weights
    last: Weights

    @property
    def least_px(self) -> int:
        """Smallest side of an image that it is for."""
        return 2 * len(self.taps)

    def __call__(self, image: Image) -> Image:
        """D(up(y)) of y (h, w, C), float32."""
        columns = self._along_columns(image, cv2.sepFilter2D(image, -1, _ALONE, self.taps))
        rows = cv2.sepFilter2D(columns, -1, self.taps, _ALONE).reshape(image.shape)
        turned = self._along_columns(columns.swapaxes(0, 1), rows.swapaxes(0, 1))
        return turned.swapaxes(0, 1)

    def _along_columns(self, image: Image, filtered: Image) -> Image:
        """The filtered image (h, w, C), with its first and last rows as they are to be."""
        made, reach_px = filtered.reshape(image.shape), len(self.first)
        made[:reach_px] = np.tensordot(self.first, image[: 2 * reach_px], 1)
        made[-reach_px:] = np.tensordot(self.last, image[-2 * reach_px :], 1)
        return made


def reach_of(degrade: Degradation) -> int:
    """Source px on every side that a pixel of ``D(up(y))`` depends on, at most."""
    taps = len(weights_of(degrade.kernel, degrade.scale))
    return -(-taps // (2 * degrade.scale)) + REACH_PX


@lru_cache(maxsize=64)
def round_trip(degrade: Degradation, kernel: Interpolation) -> RoundTrip | None:
    """That of a degradation and an enlargement; None if the blur is not separable.

    It is found by what becomes of unit pulses on a line.
    """
    weights = weights_of(degrade.kernel, degrade.scale)
    if weights.ndim > 1:
        return None
    reach_px = reach_of(degrade)
    pulses = torch.eye(4 * reach_px + 1, dtype=torch.float64)[:, None, :, None]
    seen = degrade(enlarge(pulses, degrade.scale, kernel))[:, 0, :, 0].numpy().T
    whole = seen.astype(np.float32)
    return RoundTrip(
        np.ascontiguousarray(whole[2 * reach_px, reach_px : 3 * reach_px + 1]),
        np.ascontiguousarray(whole[:reach_px, : 2 * reach_px]),
        np.ascontiguousarray(whole[-reach_px:, -2 * reach_px :]),
    )
