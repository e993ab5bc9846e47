"""The Deep Fusion Prior: fit an untrained network to one item, Algorithm 1 and Eq. (10), (21)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from dfp_batch.core.contracts import Compute, NetworkSpec, Reconstruction, Solution
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import enlarge, luma
from dfp_batch.core.part import Count, NotNegative, Positive
from dfp_batch.networks.fitting import Fit, Schedule, minimise, uniform_noise
from dfp_batch.networks.skip_net import SkipNet
from dfp_batch.reconstruction.losses import (
    content_loss,
    gradient_limit_loss,
    joint_gradient_loss,
    strongest_laplacian,
)


@dataclass(frozen=True)
class DeepFusionPrior(Reconstruction):
    """X = argmin con + 0.5 jgrad + 0.1 grad over the weights of a network, Eq. (10) and (21).

    Differs from the released code: the last iterate is the result (the code returns the iterate
    nearest to the ground truth), and all three terms of the paper are used.

    Attributes:
        iterations: K of Algorithm 1.
        learning_rate: Of Adam.
        content_weight: alpha of Eq. (21).
        joint_gradient_weight: beta of Eq. (21).
        gradient_limit_weight: gamma of Eq. (21).
        network_input: "average" of the bicubically enlarged sources, or "noise".
        network: The generator.

    Raises:
        ConfigError: for a field out of its range.
    """

    iterations: Count = 1000
    learning_rate: Positive = 1e-3
    content_weight: NotNegative = 1.0
    joint_gradient_weight: NotNegative = 0.5
    gradient_limit_weight: NotNegative = 0.1
    network_input: Literal["average", "noise"] = "average"
    network: NetworkSpec = field(default_factory=SkipNet)

    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Solution:
        """Fused (1, C, scale * h, scale * w) in [0, 1] and the loss of every iteration."""
        inputs = self._inputs(sources, degrade.scale, compute)
        fit = Fit.start(self.network, inputs, sources.shape[1], compute)
        objective = self.objective(sources, decision, degrade)
        losses = minimise(fit, objective, self._schedule(), compute, "fusion")
        return Solution(fit.solution(compute, "fusion").sigmoid(), losses)

    def objective(
        self, sources: Tensor, decision: Tensor, degrade: Degradation
    ) -> Callable[[Tensor], Tensor]:
        """Eq. (21) as a function of the logits (1, C, scale * h, scale * w)."""
        edges = strongest_laplacian(luma(sources))

        def loss(logits: Tensor) -> Tensor:
            fused = logits.sigmoid()
            degraded = degrade(fused)
            return (  # Eq. (21)
                self.content_weight * content_loss(degraded, sources, decision)
                + self.joint_gradient_weight * joint_gradient_loss(luma(degraded), edges)
                + self.gradient_limit_weight * gradient_limit_loss(fused)
            )

        return loss

    def _schedule(self) -> Schedule:
        return Schedule(self.iterations, self.learning_rate)

    def _inputs(self, sources: Tensor, scale: int, compute: Compute) -> Tensor:
        average = enlarge(sources, scale).mean(0, keepdim=True)
        if self.network_input == "average":
            return average
        return uniform_noise((average.shape[-2], average.shape[-1]), compute)
