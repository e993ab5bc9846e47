"""The sum-modified-Laplacian (Nayar and Nakagawa, 1994)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.core.contracts import FocusMeasure, Sources
from dfp_batch.core.decision import decided
from dfp_batch.core.filters import (
    claim_,
    gaussian_blur,
    median,
    modified_laplacian,
    reduce_by_area,
    resize_linearly,
)
from dfp_batch.core.part import Positive
from dfp_batch.core.sources import greys

_WIDE_PX = 3.0
_HALVING_PX = 0.9  # standard deviation of what halving and doubling blur


@dataclass(frozen=True)
class SumModifiedLaplacian(FocusMeasure):
    """Source with the largest smoothed modified Laplacian.

    ``ML = |2 I - I(x-1) - I(x+1)| + |2 I - I(y-1) - I(y+1)|`` on luma (Nayar and Nakagawa, 1994).
    The decision is as sure as the largest sum S stands above the mean R of the others and noise:
    ``(S - R) / (S + 2 n)``, n the median over pixels of the least sum.

    Attributes:
        sigma_px: Gaussian window over which the modified Laplacian is summed.

    Raises:
        ConfigError: if sigma_px is not positive.
    """

    sigma_px: Positive = 4.0

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w) of N sources (C, h, w), which it looks at one by one."""
        count = len(sources)
        for index, plane in enumerate(greys(sources)):
            sharpness = sum_modified_laplacian(plane, self.sigma_px)[0]
            if index == 0:
                largest, total, least = sharpness, sharpness.clone(), sharpness.clone()
                labels = torch.zeros_like(sharpness, dtype=torch.int16)
                continue
            claim_(labels, largest, sharpness, index)
            torch.minimum(least, sharpness, out=least)
            total += sharpness
        above = largest - (total - largest) / max(1, count - 1)
        noise = median(least)
        sure = above / (largest + 2 * noise).clamp_min(torch.finfo(largest.dtype).tiny)
        return decided(labels, sure.clamp(0, 1), count)


def sum_modified_laplacian(plane: Tensor, sigma_px: float) -> Tensor:
    """Modified Laplacian of a plane (1, h, w), summed over a Gaussian window: (1, h, w), >= 0.

    A wide window is summed at half the size, where the same costs a fifth.
    """
    detail = modified_laplacian(plane)
    if sigma_px < _WIDE_PX:
        return gaussian_blur(detail, sigma_px)
    halved_px = (sigma_px**2 - _HALVING_PX**2) ** 0.5 / 2
    size = (plane.shape[1], plane.shape[2])
    return resize_linearly(gaussian_blur(reduce_by_area(detail, 2), halved_px), size)
