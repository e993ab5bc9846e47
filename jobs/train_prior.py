"""Make the weights of the learned prior, from procedural scenes alone.

Usage: python jobs/train_prior.py --out FOLDER [--steps 18000] [--device cpu] [--threads 1]

The large weights begin with the small ones: the card of each has its command.

FOLDER gets the scenes (made once), ``log.jsonl`` (step, loss, and the gain in dB over back
projection on scenes kept aside, per scale and kernel), ``checkpoint.pt``, and with every checkpoint
``prior.safetensors`` and its card ``prior.md``: copy these two to dfp_batch/method/weights/ as
prior-small or prior-large. The same command goes on after an interruption, to the same result;
another one needs another folder.
"""

import argparse
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from checkpoints import Row, command_of, keep, prepare, restored, schedule
from torch import Tensor, nn

from dfp_batch.core.degradation import Degradation, Kernel
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.networks.prior_network import ENLARGEMENTS, PriorNetwork, PriorSpec
from dfp_batch.networks.weights import grow, save_prior
from dfp_batch.reconstruction.learned_prior import initial_enlargement
from dfp_batch.synthetic.patches import (
    KERNELS_PER_BATCH,
    Batch,
    Pool,
    captured,
    draw_batch,
    scene_pool,
    smallest_scene_px,
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
`jobs/train_prior.py` of this project, from procedural scenes alone (`synthetic/training.py`): no
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


def train(options: argparse.Namespace) -> None:
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
            print(json.dumps(rows[-1]), flush=True)
            keep(training, rows, options)
            keep_weights(training, rows, options)


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--steps", type=int, default=18_000)
    parser.add_argument("--stop", type=int, help="leave after so many steps, to go on later")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=3000)
    parser.add_argument("--side", type=int, default=256, help="of the scenes, in px")
    parser.add_argument("--batch", type=int, default=16, help="pieces; a multiple of 4")
    parser.add_argument("--patch", type=int, default=24, help="side of a piece, in source px")
    parser.add_argument("--width", type=int, default=64, help="channels")
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--grow", type=Path, help="begin with these weights, of fewer blocks")
    parser.add_argument("--rate", type=float, default=1e-3, help="of Adam")
    parser.add_argument("--trunk-rate", type=float, default=0.01, help="of Muon")
    parser.add_argument("--log", type=int, default=500, help="steps between records")
    options = parser.parse_args()
    if options.batch % KERNELS_PER_BATCH:
        parser.error(f"--batch must be a multiple of {KERNELS_PER_BATCH}, got {options.batch}")
    if options.side < (least := smallest_scene_px(options.patch)):
        parser.error(
            f"--side must be at least {least} for --patch {options.patch}, got {options.side}"
        )
    return options


def main() -> None:
    """Entry point."""
    options = arguments()
    prepare(options)
    train(options)


if __name__ == "__main__":
    main()
