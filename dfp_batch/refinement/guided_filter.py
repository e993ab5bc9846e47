"""The guided filter (He et al., 2010) of a decision."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Refinement, Sources
from dfp_batch.core.decision import divide_, total
from dfp_batch.core.filters import box_blur, resize_by_area, resize_linearly
from dfp_batch.core.part import Count, Positive
from dfp_batch.core.sources import greys

_EXACT_PX = 1 << 20  # images of more pixels are fitted at half their size


@dataclass(frozen=True)
class GuidedFilter(Refinement):
    """Guided filter of every decision map by the mean luma of the sources (He et al., 2010).

    Attributes:
        radius_px: Of the square windows.
        epsilon: Variance below which an edge of the guide is ignored, guide in [0, 1].

    Raises:
        ConfigError: if radius_px < 1 or epsilon is not positive.
    """

    radius_px: Count = 4
    epsilon: Positive = 1e-3

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N."""
        guide = torch.zeros_like(decision[0], dtype=torch.float32)
        for plane in greys(sources):
            guide += plane
        guide /= len(sources)
        for weight in decision:
            weight.copy_(self._filter(guide, weight.float()).clamp_(0, 1))
        weights = total(decision)
        return divide_(decision, weights.clamp_min_(torch.finfo(weights.dtype).tiny))

    def _filter(self, guide: Tensor, weight: Tensor) -> Tensor:
        """Slope and offset of large images are fitted at half their size (He and Sun, 2015)."""
        _, h, w = guide.shape
        if h * w < _EXACT_PX:
            slope, offset = self._fit(guide, weight, self.radius_px)
            return slope * guide + offset
        size = ((h + 1) // 2, (w + 1) // 2)
        small_guide, small_weight = (resize_by_area(plane, size) for plane in (guide, weight))
        slope, offset = self._fit(small_guide, small_weight, max(1, self.radius_px // 2))
        return resize_linearly(slope, (h, w)) * guide + resize_linearly(offset, (h, w))

    def _fit(self, guide: Tensor, weight: Tensor, radius_px: int) -> tuple[Tensor, Tensor]:
        """Slope and offset of the weight over the guide, in windows and averaged over them."""
        mean_guide, mean_weight = _mean(guide, radius_px), _mean(weight, radius_px)
        variance = _mean(guide * guide, radius_px) - mean_guide**2
        covariance = _mean(guide * weight, radius_px) - mean_guide * mean_weight
        slope = covariance / (variance + self.epsilon)
        offset = mean_weight - slope * mean_guide
        return _mean(slope, radius_px), _mean(offset, radius_px)


def _mean(plane: Tensor, radius_px: int) -> Tensor:
    return box_blur(plane, 2 * radius_px + 1, "reflect")
