"""Fitting a network to one item by gradient descent, Algorithms 1 and 2."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfp_batch.core.contracts import Compute, NetworkSpec
from dfp_batch.core.image import pad_to, round_up
from dfp_batch.core.part import Count, Part, Positive
from dfp_batch.core.recording import recorded
from dfp_batch.errors import DivergedError

_NOISE_CHANNELS, _NOISE_RANGE = 32, 0.1  # as in Deep Image Prior, the paper's reference [64]


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
class Schedule(Part):
    """Iterations of Adam at a constant learning rate.

    Raises:
        ConfigError: for fewer than 1 iteration or a rate that is not positive.
    """

    iterations: Count
    learning_rate: Positive


def minimise(
    fit: Fit,
    objective: Callable[[Tensor], Tensor],
    schedule: Schedule,
    compute: Compute,
    stage: str,
) -> Tensor:
    """Adam on the weights of the network. The host never waits for the device inside the loop.

    On a GPU an iteration is recorded once and replayed: it is hundreds of kernels, most of them
    over before the host has asked for the next.

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
    device = fit.inputs.device
    optimiser = torch.optim.Adam(fit.network.parameters(), lr=schedule.learning_rate, fused=True)

    def step(_: tuple[()]) -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        loss = objective(fit.logits(compute))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss.detach()

    move = recorded(step, (optimiser,), device)
    losses = torch.empty(schedule.iterations, device=device)
    for iteration in range(schedule.iterations):
        losses[iteration] = move(())
        compute.on_iteration(stage, iteration + 1, schedule.iterations)
    finite = losses.isfinite()
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0]) + 1
        raise DivergedError(
            f"{stage}: loss is not finite from iteration {first} of {schedule.iterations}; "
            "lower the learning rate or use --precision fp32"
        )
    return losses


def uniform_noise(size: tuple[int, int], compute: Compute) -> Tensor:
    """Input of a network that has none: (1, 32, H, W), uniform in [0, 0.1]."""
    noise = torch.empty(1, _NOISE_CHANNELS, *size, device=compute.generator.device)
    return noise.uniform_(0, _NOISE_RANGE, generator=compute.generator)
