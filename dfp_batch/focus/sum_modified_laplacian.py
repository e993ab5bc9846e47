"""The sum-modified-Laplacian (Nayar and Nakagawa, 1994)."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from dfp_batch.alignment.stack import previews
from dfp_batch.core.contracts import Sources
from dfp_batch.core.decision import decided
from dfp_batch.core.image import Plane
from dfp_batch.core.sources import in_turn, luma_plane
from dfp_batch.errors import ConfigError


@dataclass(frozen=True)
class SumModifiedLaplacian:
    """Source with the largest smoothed modified Laplacian.

    ``ML = |2 I - I(x-1) - I(x+1)| + |2 I - I(y-1) - I(y+1)|`` on luma (Nayar and Nakagawa, 1994).
    The decision is as sure as the largest sum S stands above the mean R of the others and noise:
    ``(S - R) / (S + 2 n)``, n the median over pixels of the least sum.

    Attributes:
        sigma_px: Gaussian window over which the modified Laplacian is summed.

    Raises:
        ConfigError: if sigma_px is not positive.
    """

    sigma_px: float = 4.0

    def __post_init__(self) -> None:
        if not self.sigma_px > 0:
            raise ConfigError(f"focus.sigma_px must be > 0, got {self.sigma_px}")

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w) of N sources (C, h, w), which it looks at one by one."""
        count = len(sources)
        for index, source in enumerate(in_turn(previews(sources))):
            sharpness = sum_modified_laplacian(luma_plane(source), self.sigma_px)
            if index == 0:
                largest, total, least = sharpness, sharpness.copy(), sharpness.copy()
                labels = np.zeros(largest.shape, np.int16)
                continue
            labels[sharpness > largest] = index
            np.maximum(largest, sharpness, out=largest)
            np.minimum(least, sharpness, out=least)
            total += sharpness
        above = largest - (total - largest) / max(1, count - 1)
        noise = np.float32(np.median(least))
        sure = above / np.maximum(largest + 2 * noise, np.finfo(np.float32).tiny)
        sure = torch.from_numpy(sure.clip(0, 1))
        return decided(torch.from_numpy(labels), sure, count).to(source.device)


def sum_modified_laplacian(plane: Plane, sigma_px: float) -> Plane:
    """Modified Laplacian of a plane (h, w), summed over a Gaussian window: (h, w), >= 0."""
    second = np.array([[-1.0, 2.0, -1.0]], dtype=np.float32)
    across = cv2.filter2D(plane, -1, second, borderType=cv2.BORDER_REFLECT_101)
    down = cv2.filter2D(plane, -1, second.T, borderType=cv2.BORDER_REFLECT_101)
    detail = np.abs(across, out=across)
    detail += np.abs(down, out=down)
    smooth = cv2.GaussianBlur(detail, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(smooth, np.float32)
