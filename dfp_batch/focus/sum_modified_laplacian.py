"""The sum-modified-Laplacian (Nayar and Nakagawa, 1994)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.core.contracts import FocusMeasure, Sources
from dfp_batch.core.decision import decided
from dfp_batch.core.filters import gaussian_blur, median, modified_laplacian
from dfp_batch.core.image import luma_plane
from dfp_batch.core.part import Positive
from dfp_batch.core.sources import previews


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
        for index, source in enumerate(previews(sources)):
            sharpness = sum_modified_laplacian(luma_plane(source), self.sigma_px)[0]
            if index == 0:
                largest, total, least = sharpness, sharpness.clone(), sharpness.clone()
                labels = torch.zeros_like(sharpness, dtype=torch.int16)
                continue
            labels[sharpness > largest] = index
            torch.maximum(largest, sharpness, out=largest)
            torch.minimum(least, sharpness, out=least)
            total += sharpness
        above = largest - (total - largest) / max(1, count - 1)
        noise = median(least)
        sure = above / (largest + 2 * noise).clamp_min(torch.finfo(largest.dtype).tiny)
        return decided(labels, sure.clamp(0, 1), count)


def sum_modified_laplacian(plane: Tensor, sigma_px: float) -> Tensor:
    """Modified Laplacian of a plane (1, h, w), summed over a Gaussian window: (1, h, w), >= 0."""
    return gaussian_blur(modified_laplacian(plane), sigma_px)
