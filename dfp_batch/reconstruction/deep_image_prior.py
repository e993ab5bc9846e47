"""The Deep Image Prior: an untrained network, fitted to the blended sources."""

from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional

from dfp_batch.core.contracts import Compute, NetworkSpec, Reconstruction, Solution
from dfp_batch.core.decision import weighted
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.part import Count, Positive
from dfp_batch.networks.fitting import Fit, Schedule, minimise, uniform_noise
from dfp_batch.networks.skip_net import SkipNet


@dataclass(frozen=True)
class DeepImagePrior(Reconstruction):
    """Single-image super resolution of the blended sources u: X = argmin mean (D(X) - u)^2.

    Deep Image Prior (Ulyanov et al., 2018; the paper's reference [64] and the enlargement in its
    Table 2), with the paper's SKIPnet as network and noise as its input.

    Attributes:
        iterations: By the paper's Fig. 9 it needs about 2500.
        learning_rate: Of Adam.
        network: The generator.

    Raises:
        ConfigError: for a field out of its range.
    """

    iterations: Count = 2500
    learning_rate: Positive = 1e-3
    network: NetworkSpec = field(default_factory=SkipNet)

    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Solution:
        """Fused (1, C, scale * h, scale * w) in [0, 1] and the loss of every iteration."""
        low = weighted(sources, decision)
        h, w = (degrade.scale * side for side in low.shape[-2:])
        inputs = uniform_noise((h, w), compute)
        fit = Fit.start(self.network, inputs, low.shape[1], compute)
        losses = minimise(
            fit,
            lambda logits: functional.mse_loss(degrade(logits.sigmoid()), low),
            Schedule(self.iterations, self.learning_rate),
            compute,
            "deep image prior",
        )
        return Solution(fit.solution(compute, "deep image prior").sigmoid(), losses)
