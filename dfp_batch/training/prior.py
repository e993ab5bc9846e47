"""Training of the learned prior, from procedural scenes alone."""

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from dfp_batch.core.degradation import Degradation, Kernel
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.networks.prior_network import ENLARGEMENTS, PriorNetwork, PriorSpec
from dfp_batch.networks.weights import grow, save_prior
from dfp_batch.reconstruction.learned_prior import initial_enlargement
from dfp_batch.training.checkpoints import Row, command_of, keep, restored, schedule
from dfp_batch.training.patches import (
    Batch,
    Pool,
    captured,
    draw_batch,
    scene_pool,
)

HELD_OUT, SCENE_PX = 8, 256
GRADIENT_LIMIT = 1.0
AVERAGED_STEPS = 1000  # of the running mean of the weights, at most
MOMENTUM, WEIGHT_DECAY = 0.95, 0.1
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is made orthogonal: all directions learn alike (Jordan, 2024).

    A convolution is the matrix of its outputs by all its weights. At equal time it brought the
    network further than Adam, which the other weights keep. Twice its default rate diverges.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the orthogonal matrix next to the momentum."""
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                momentum = state.setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - MOMENTUM)
                ahead = weight.grad.lerp(momentum, MOMENTUM)
                weight.mul_(1 - group["lr"] * WEIGHT_DECAY)
                weight.add_(orthogonal(ahead.flatten(1)).view_as(weight), alpha=-group["lr"])


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly the nearest matrix (m, n), m <= n, with orthonormal rows."""
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrix.bfloat16() / (matrix.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.float()


@dataclass
class Training:
    """All that changes from step to step.

    Attributes:
        network: In training.
        mean: Running mean of its weights: what is kept in the end.
        optimisers: Muon of the trunk, Adam of the rest.
        step: Steps done.
    """

    network: PriorNetwork
    mean: PriorNetwork
    optimisers: tuple[torch.optim.Optimizer, ...]
    step: int = 0

    @classmethod
    def start(cls, options: argparse.Namespace) -> "Training":
        """Fresh weights of the seed."""
        spec, device = PriorSpec(options.width, options.blocks), torch.device(options.device)
        network, mean = (
            spec.build(torch.Generator(device).manual_seed(options.seed)) for _ in range(2)
        )
        for built in (network, mean) if options.grow else ():
            grow(built, options.grow)
        trunk = [weight for weight in network.trunk.parameters() if weight.ndim > 1]
        known = {id(weight) for weight in trunk}
        rest = [weight for weight in network.parameters() if id(weight) not in known]
        optimisers = (
            Muon(trunk, options.trunk_rate),
            torch.optim.Adam(rest, options.rate, betas=(0.9, 0.99), fused=True),
        )
        return cls(network, mean, optimisers)

    def advance(self, batch: Batch, share: float) -> Tensor:
        """One step at this share of the full learning rates; its loss, on the device."""
        for optimiser in self.optimisers:
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = share * optimiser.defaults["lr"]
        loss = (predicted(self.network, batch) - batch.truth).abs().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_LIMIT)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        self._average()
        return loss.detach()

    @torch.no_grad()
    def _average(self) -> None:
        kept = min(1 - 1 / AVERAGED_STEPS, (1 + self.step) / (10 + self.step))
        for mean, weight in zip(self.mean.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(weight, 1 - kept)

    def state(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a checkpoint."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)


def predicted(network: PriorNetwork, batch: Batch) -> Tensor:
    """The network's result, with convolutions in bfloat16."""
    with torch.autocast(batch.low.device.type, torch.bfloat16):
        result: Tensor = network(batch.low, batch.projected, batch.code)
    return result


# Validation


def validation(options: argparse.Namespace, side_px: int) -> dict[str, Batch]:
    """Scenes that are never learnt from, by name of scale and kernel."""
    scenes = scene_pool(HELD_OUT, side_px, options.seed + 1)
    random = np.random.default_rng(options.seed)
    return {
        f"x{scale} {kernel}": held_out(scenes, scale, kernel, random)
        for scale in ENLARGEMENTS
        for kernel in (Lanczos2(), *(Gaussian(round(s * scale, 2)) for s in (0.35, 0.7)))
    }


def held_out(scenes: Pool, scale: int, kernel: Kernel, random: np.random.Generator) -> Batch:
    """Whole scenes as a camera gives them, some with noise and JPEG."""
    side_px = scenes.shape[1] // scale * scale
    truth = torch.from_numpy(scenes[:, None, :side_px, :side_px] / np.float32(255))
    degrade = Degradation(scale, kernel)
    low = captured(degrade(truth), random)
    code = kernel.code(scale).expand(len(low), -1)
    return Batch(low, initial_enlargement(low, degrade), code, truth)


@torch.no_grad()
def gains_db(network: PriorNetwork, batches: dict[str, Batch], device: torch.device) -> Row:
    """Mean PSNR over back projection."""
    return {name: _gain_db(network, batch.to(device)) for name, batch in batches.items()}


def _gain_db(network: PriorNetwork, batch: Batch) -> float:
    before, after = (
        (image.clamp(0, 1) - batch.truth).square().mean((1, 2, 3)).log10()
        for image in (batch.projected, predicted(network, batch))
    )
    return round(10 * float((before - after).mean()), 4)


# Files


def pool_of(options: argparse.Namespace) -> Pool:
    """The scenes, made once."""
    path = options.out / f"scenes-{options.scenes}-{options.side}-{options.seed}.npy"
    if not path.exists():
        unfinished = path.with_suffix(".part.npy")
        np.save(unfinished, scene_pool(options.scenes, options.side, options.seed))
        unfinished.replace(path)
    return np.load(path)  # type: ignore[no-any-return]


def keep_weights(training: Training, rows: list[Row], options: argparse.Namespace) -> None:
    """Write weights and card."""
    spec = PriorSpec(options.width, options.blocks)
    save_prior(options.out / "prior.safetensors", spec, training.mean.state_dict())
    (options.out / "prior.md").write_text(card(training, rows, options))


CARD = """# Weights of the learned prior

{parameters} parameters in float16, for x2, x3 and x4 together. Made by
`jobs/train_prior.py` of this project, from procedural scenes alone (`training/scenes.py`): no
photograph, and no data of anybody else, was used.

| | |
| --- | --- |
| command | `{command}` |
| steps done | {step} of {steps} |
| device | {device} |
| seconds | {seconds} |
| torch, numpy, OpenCV | {versions} |
| date | {date} |

Mean gain in PSNR over ten steps of back projection on {held_out} procedural scenes kept aside, some
with noise and JPEG:

| scale and kernel | dB |
| --- | ---: |
{gains}
"""


def card(training: Training, rows: list[Row], options: argparse.Namespace) -> str:
    """How the weights were made."""
    gains = rows[-1]["gain_db"] if rows else {}
    return CARD.format(
        parameters=f"{sum(weight.numel() for weight in training.mean.parameters()):,}",
        command=command_of("train_prior.py", options),
        step=training.step,
        steps=options.steps,
        device=_device_name(options),
        seconds=round(sum(row["seconds"] for row in rows)),
        versions=f"{torch.__version__}, {np.__version__}, {cv2.__version__}",
        date=datetime.now(UTC).date(),
        held_out=HELD_OUT,
        gains="\n".join(f"| {name} | {gain:+.2f} |" for name, gain in gains.items()),
    )


def _device_name(options: argparse.Namespace) -> str:
    if torch.device(options.device).type == "cuda":
        return torch.cuda.get_device_name(options.device)
    return f"{platform.machine()} CPU, {options.threads} thread(s)"


# The loop


def train(options: argparse.Namespace, say: Callable[[str], None]) -> None:
    """From the checkpoint, if there is one, to the last step."""
    device = torch.device(options.device)
    training = Training.start(options)
    rows = restored(training, options, options.device)
    pool, kept_aside = pool_of(options), validation(options, options.side)
    losses, started = torch.zeros(options.log, device=device), time.perf_counter()
    while training.step < min(options.steps, options.stop or options.steps):
        step = training.step
        # Its own generator for every step: nothing to restore after an interruption.
        random = np.random.default_rng((options.seed, step))
        batch = draw_batch(pool, options.batch, options.patch, random).to(device)
        losses[step % options.log] = training.advance(batch, schedule(step, options.steps))
        if training.step % options.log == 0 or training.step == options.steps:
            gains = gains_db(training.mean, kept_aside, device)
            seconds, started = time.perf_counter() - started, time.perf_counter()
            mean, worst = (round(float(loss), 6) for loss in (losses.mean(), losses.max()))
            row = {"step": training.step, "loss": mean, "worst_loss": worst, "gain_db": gains}
            rows.append({**row, "seconds": round(seconds, 1)})
            say(json.dumps(rows[-1]))
            keep(training, rows, options)
            keep_weights(training, rows, options)
