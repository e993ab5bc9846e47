"""Classical enlargement of the merged sources: bicubic, Lanczos, back projection."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Reconstruction, Solution
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.filters import as_array, as_image, on_host
from dfp_batch.core.image import Interpolation, enlarge
from dfp_batch.core.part import CountOrNone
from dfp_batch.reconstruction.round_trip import round_trip


@dataclass(frozen=True)
class BackProjection(Reconstruction):
    """Enlargement of the blended sources u and ``x += up(u - D(x))`` (Irani and Peleg, 1991).

    Attributes:
        steps: Of back projection; 0 is plain interpolation.
        kernel: Of the enlargement: "bicubic" or "lanczos" (Lanczos4).

    Raises:
        ConfigError: if steps is negative.
    """

    steps: CountOrNone = 10
    kernel: Interpolation = "bicubic"

    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Solution:
        """Fused (1, C, scale * h, scale * w) in [0, 1]; mean |u - D(x)| before each step."""
        low = (decision * sources).sum(0, keepdim=True)
        steps = self.steps if degrade.scale > 1 else 0  # else D and up are the identity

        def on_step(step: int) -> None:
            compute.on_iteration("back projection", step, steps)

        fused, residuals = enlarge_back(low, degrade, steps, self.kernel, on_step)
        return Solution(fused.clamp(0, 1), residuals)


def enlarge_back(
    low: Tensor,
    degrade: Degradation,
    steps: int,
    kernel: Interpolation = "bicubic",
    on_step: Callable[[int], None] = lambda _: None,
) -> tuple[Tensor, Tensor]:
    """``project_back`` from ``x = up(low)`` on.

    Then x is ``up(y)`` throughout, with ``y += low - D(up(y))`` from low on: on a CPU all steps are
    at source size, to the same result within roundings.

    Args:
        low: (N, C, h, w).
        degrade: D, and the scale.
        steps: Their number.
        kernel: Of the enlargement ``up``.
        on_step: Called with the number of each step, from 1.

    Returns:
        x, and the mean of |low - D(x)| before each step, (steps,).
    """
    back = round_trip(degrade, kernel) if degrade.scale > 1 and on_host(low) else None
    if back is None or min(low.shape[-2:]) < back.least_px:
        interpolated = enlarge(low, degrade.scale, kernel)
        return project_back(interpolated, low, degrade, steps, kernel, on_step)
    given = [as_array(image) for image in low]
    images = [image.copy() for image in given]
    residuals = torch.empty(steps)
    for step in range(steps):
        missing = [whole - back(image) for whole, image in zip(given, images, strict=True)]
        residuals[step] = float(np.mean([np.abs(part).mean() for part in missing]))
        images = [image + part for image, part in zip(images, missing, strict=True)]
        on_step(step + 1)
    stacked = torch.stack([as_image(image) for image in images])
    return enlarge(stacked, degrade.scale, kernel), residuals


def project_back(
    fused: Tensor,
    low: Tensor,
    degrade: Degradation,
    steps: int,
    kernel: Interpolation = "bicubic",
    on_step: Callable[[int], None] = lambda _: None,
) -> tuple[Tensor, Tensor]:
    """``x += up(low - D(x))``, so many steps from ``fused`` on.

    Args:
        fused: x, (N, C, scale * h, scale * w).
        low: (N, C, h, w).
        degrade: D, and the scale.
        steps: Their number.
        kernel: Of the enlargement ``up``.
        on_step: Called with the number of each step, from 1.

    Returns:
        x, and the mean of |low - D(x)| before each step, (steps,).
    """
    residuals = torch.empty(steps, device=low.device)
    for step in range(steps):
        residual = low - degrade(fused)
        residuals[step] = residual.abs().mean()
        fused = fused + enlarge(residual, degrade.scale, kernel)
        on_step(step + 1)
    return fused, residuals
