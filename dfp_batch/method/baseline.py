"""The classical floor: weighted fusion, bicubic enlargement, back projection."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.errors import ConfigError
from dfp_batch.method.degrade import Lanczos2
from dfp_batch.method.image import enlarge
from dfp_batch.method.optimise import Compute


@dataclass(frozen=True)
class BackProjection:
    """Bicubic enlargement of the fused sources and ``x += up(u - D(x))`` (Irani and Peleg, 1991).

    Attributes:
        steps: Of back projection; 0 is plain bicubic.

    Raises:
        ConfigError: if steps is negative.
    """

    steps: int = 10

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ConfigError(f"reconstruction.steps must be >= 0, got {self.steps}")

    def __call__(
        self, sources: Tensor, decision: Tensor, scale: int, compute: Compute
    ) -> tuple[Tensor, Tensor]:
        """Fused (1, C, scale * h, scale * w) in [0, 1]; mean |u - D(x)| before each step."""
        low = (decision * sources).sum(0, keepdim=True)
        degrade = Lanczos2(scale)
        fused = enlarge(low, scale)
        residuals = torch.empty(self.steps, device=sources.device)
        for step in range(self.steps):
            residual = low - degrade(fused)
            residuals[step] = residual.abs().mean()
            fused = fused + enlarge(residual, scale)
            compute.on_iteration("back projection", step + 1, self.steps)
        return fused.clamp(0, 1), residuals
