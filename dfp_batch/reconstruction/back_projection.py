"""Classical enlargement of the merged sources: bicubic, Lanczos, back projection."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Reconstruction, Solution
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import Interpolation, enlarge
from dfp_batch.core.part import CountOrNone


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

        interpolated = enlarge(low, degrade.scale, self.kernel)
        fused, residuals = project_back(interpolated, low, degrade, steps, self.kernel, on_step)
        return Solution(fused.clamp(0, 1), residuals)


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
