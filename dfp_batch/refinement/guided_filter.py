"""The guided filter (He et al., 2010) of a decision."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from dfp_batch.alignment.stack import previews
from dfp_batch.core.contracts import Compute, Sources
from dfp_batch.core.image import Plane
from dfp_batch.core.sources import in_turn, luma_plane
from dfp_batch.errors import ConfigError

_EXACT_PX = 1 << 20  # the guided filter of images of more pixels is fitted at half their size


@dataclass(frozen=True)
class GuidedFilter:
    """Guided filter of every decision map by the mean luma of the sources (He et al., 2010).

    Attributes:
        radius_px: Of the square windows.
        epsilon: Variance below which an edge of the guide is ignored, guide in [0, 1].

    Raises:
        ConfigError: if radius_px < 1 or epsilon is not positive.
    """

    radius_px: int = 4
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        if self.radius_px < 1:
            raise ConfigError(f"refinement.radius_px must be >= 1, got {self.radius_px}")
        if not self.epsilon > 0:
            raise ConfigError(f"refinement.epsilon must be > 0, got {self.epsilon}")

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N."""
        guide = np.zeros(decision.shape[2:], np.float32)
        for source in in_turn(previews(sources)):
            guide += luma_plane(source)
        guide /= len(sources)
        maps = decision[:, 0].cpu().numpy()  # on the CPU the memory of the decision itself
        total = np.zeros_like(guide)
        for weight in maps:
            weight[:] = self._filter(guide, weight).clip(0, 1)
            total += weight
        maps /= np.maximum(total, np.finfo(np.float32).tiny)
        return torch.from_numpy(maps)[:, None].to(decision)

    def _filter(self, guide: Plane, weight: Plane) -> Plane:
        """Slope and offset of large images are fitted at half their size (He and Sun, 2015)."""
        h, w = guide.shape
        if h * w < _EXACT_PX:
            slope, offset = self._fit(guide, weight, self.radius_px)
            return slope * guide + offset
        size = ((w + 1) // 2, (h + 1) // 2)
        small_guide, small_weight = (
            np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)
            for plane in (guide, weight)
        )
        slope, offset = self._fit(small_guide, small_weight, max(1, self.radius_px // 2))
        filtered = cv2.resize(slope, (w, h)) * guide + cv2.resize(offset, (w, h))
        return np.asarray(filtered, np.float32)

    def _fit(self, guide: Plane, weight: Plane, radius_px: int) -> tuple[Plane, Plane]:
        """Slope and offset of the weight over the guide, in windows and averaged over them."""
        mean_guide, mean_weight = _mean(guide, radius_px), _mean(weight, radius_px)
        variance = _mean(guide * guide, radius_px) - mean_guide**2
        covariance = _mean(guide * weight, radius_px) - mean_guide * mean_weight
        slope = covariance / (variance + self.epsilon)
        offset = mean_weight - slope * mean_guide
        return _mean(slope, radius_px), _mean(offset, radius_px)


def _mean(plane: Plane, radius_px: int) -> Plane:
    size = (2 * radius_px + 1,) * 2
    return np.asarray(cv2.blur(plane, size, borderType=cv2.BORDER_REFLECT), np.float32)
