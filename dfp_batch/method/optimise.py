"""The Deep Fusion Prior: fit an untrained network to one item, Algorithm 1 and Eq. (10), (21)."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from dfp_batch.errors import ConfigError, DivergedError
from dfp_batch.method.degrade import Degradation
from dfp_batch.method.image import enlarge, luma, pad_to, round_up
from dfp_batch.method.losses import (
    content_loss,
    gradient_limit_loss,
    joint_gradient_loss,
    strongest_laplacian,
)
from dfp_batch.method.network import NetworkSpec, SkipNet

Precision = Literal["auto", "fp32", "bf16"]
OnIteration = Callable[[str, int, int], None]
_NOISE_CHANNELS, _NOISE_RANGE = 32, 0.1  # as in Deep Image Prior, the paper's reference [64]


def ignore_progress(_stage: str, _iteration: int, _total: int) -> None:
    """No one listens to the progress."""


@dataclass(frozen=True)
class Compute:
    """How to compute, apart from what: randomness, precision, progress, memory.

    Attributes:
        generator: Source of all randomness, on the device of the sources.
        dtype: Of convolutions and activations: float32, or bfloat16 under autocast. Losses,
            batch-norm statistics, weights and the optimiser are float32 in both.
        on_iteration: Called with (stage, iteration from 1, total) after every iteration; it must
            not read device values.
        halvings: How often the usual side of a tile is halved, 0 to 2, where memory is short; the
            result is the same.
    """

    generator: torch.Generator
    dtype: torch.dtype = torch.float32
    on_iteration: OnIteration = ignore_progress
    halvings: int = 0

    def side_px(self, usual_px: int) -> int:
        """Of a tile."""
        return usual_px >> self.halvings

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which the network runs."""
        return torch.autocast(
            self.generator.device.type,
            dtype=torch.bfloat16,
            enabled=self.dtype == torch.bfloat16,
        )


class Reconstruction(Protocol):
    """Makes the fused, enlarged image from sources and decision."""

    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> tuple[Tensor, Tensor]:
        """Fused (1, C, scale * h, scale * w) and the losses (iterations,), which may be empty.

        Args:
            sources: (N, C, h, w), in [0, 1]; where they were merged before, N is 1.
            decision: (N, 1, h, w), sums to 1 over N.
            degrade: D, which made the sources from the image that is looked for, with its scale.
            compute: Randomness, precision, progress.
        """
        ...


@dataclass(frozen=True)
class Fit:
    """A network with its padded input: the part of the problem that is not the objective."""

    network: nn.Module
    inputs: Tensor
    size: tuple[int, int]

    @classmethod
    def start(cls, spec: NetworkSpec, inputs: Tensor, outputs: int, compute: Compute) -> "Fit":
        """Build the network for ``inputs`` (1, C, H, W), padded to what the network accepts."""
        height, width = inputs.shape[-2:]
        padded = pad_to(
            inputs,
            round_up(height, spec.size_multiple, spec.minimum_px),
            round_up(width, spec.size_multiple, spec.minimum_px),
        )
        network = spec.build((inputs.shape[1], outputs), compute.generator)
        # A fifth faster than channels first on CPU, in both precisions.
        layout = torch.channels_last
        network = network.to(memory_format=layout)  # type: ignore[call-overload]
        return cls(network, padded.contiguous(memory_format=layout), (height, width))

    def logits(self, compute: Compute) -> Tensor:
        """Output (1, outputs, H, W) in float32, cropped to the size before padding."""
        with compute.autocast():
            raw: Tensor = self.network(self.inputs)
        return raw[..., : self.size[0], : self.size[1]].float()

    @torch.no_grad()
    def solution(self, compute: Compute, stage: str) -> Tensor:
        """Logits after the last step, without gradient.

        Raises:
            DivergedError: if they are not finite.
        """
        logits = self.logits(compute)
        if not bool(logits.isfinite().all()):
            raise DivergedError(
                f"{stage}: the result is not finite; "
                "lower the learning rate or use --precision fp32"
            )
        return logits


@dataclass(frozen=True)
class Schedule:
    """Iterations of Adam at a constant learning rate.

    Raises:
        ConfigError: for fewer than 1 iteration or a rate that is not positive.
    """

    iterations: int
    learning_rate: float

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ConfigError(f"iterations must be >= 1, got {self.iterations}")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate must be > 0, got {self.learning_rate}")


def minimise(
    fit: Fit,
    objective: Callable[[Tensor], Tensor],
    schedule: Schedule,
    compute: Compute,
    stage: str,
) -> Tensor:
    """Adam on the weights of the network. The host never waits for the device inside the loop.

    Args:
        fit: Network and input.
        objective: Scalar loss of the logits (1, outputs, H, W), float32.
        schedule: Iterations and learning rate.
        compute: Randomness, precision, progress.
        stage: Name for the progress.

    Returns:
        Loss before each step, (iterations,).

    Raises:
        DivergedError: if any loss is not finite.
    """
    optimiser = torch.optim.Adam(fit.network.parameters(), lr=schedule.learning_rate, fused=True)
    losses = torch.empty(schedule.iterations, device=fit.inputs.device)
    for iteration in range(schedule.iterations):
        optimiser.zero_grad(set_to_none=True)
        loss = objective(fit.logits(compute))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses[iteration] = loss.detach()
        compute.on_iteration(stage, iteration + 1, schedule.iterations)
    finite = losses.isfinite()
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0]) + 1
        raise DivergedError(
            f"{stage}: loss is not finite from iteration {first} of {schedule.iterations}; "
            "lower the learning rate or use --precision fp32"
        )
    return losses


@dataclass(frozen=True)
class DeepFusionPrior:
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

    iterations: int = 1000
    learning_rate: float = 1e-3
    content_weight: float = 1.0
    joint_gradient_weight: float = 0.5
    gradient_limit_weight: float = 0.1
    network_input: Literal["average", "noise"] = "average"
    network: NetworkSpec = field(default_factory=SkipNet)

    def __post_init__(self) -> None:
        Schedule(self.iterations, self.learning_rate)
        for name in ("content_weight", "joint_gradient_weight", "gradient_limit_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"reconstruction.{name} must be >= 0, got {getattr(self, name)}")

    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> tuple[Tensor, Tensor]:
        """Fused (1, C, scale * h, scale * w) in [0, 1] and the loss of every iteration."""
        inputs = self._inputs(sources, degrade.scale, compute)
        fit = Fit.start(self.network, inputs, sources.shape[1], compute)
        objective = self.objective(sources, decision, degrade)
        losses = minimise(fit, objective, self._schedule(), compute, "fusion")
        return fit.solution(compute, "fusion").sigmoid(), losses

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


@dataclass(frozen=True)
class DeepImagePrior:
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

    iterations: int = 2500
    learning_rate: float = 1e-3
    network: NetworkSpec = field(default_factory=SkipNet)

    def __post_init__(self) -> None:
        Schedule(self.iterations, self.learning_rate)

    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> tuple[Tensor, Tensor]:
        """Fused (1, C, scale * h, scale * w) in [0, 1] and the loss of every iteration."""
        low = (decision * sources).sum(0, keepdim=True)
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
        return fit.solution(compute, "deep image prior").sigmoid(), losses


def uniform_noise(size: tuple[int, int], compute: Compute) -> Tensor:
    """Input of a network that has none: (1, 32, H, W), uniform in [0, 0.1]."""
    noise = torch.empty(1, _NOISE_CHANNELS, *size, device=compute.generator.device)
    return noise.uniform_(0, _NOISE_RANGE, generator=compute.generator)
