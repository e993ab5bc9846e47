"""Training of what corrects the defocus spread along seams, from procedural scenes alone."""

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dfp_batch.merging.defocus_spread import detail
from dfp_batch.networks.defocus_spread_network import PLANES, DefocusSpreadNetwork
from dfp_batch.networks.weights import save_defocus_spread
from dfp_batch.training.checkpoints import Row, command_of, keep, restored, schedule
from dfp_batch.training.seams import Planes, seam_example

KEPT_ASIDE = 0.05
LEAST_BAND = 0.3  # mean of the band over a piece
SLOPES = 2.0  # weight of the error's slopes against the error: detail counts
SOFTEST = 1e-6
GRADIENT_LIMIT = 0.5
AVERAGED_STEPS = 500  # of the running mean of the weights, at most
Random = np.random.Generator


def make_pool(options: argparse.Namespace) -> Planes:
    """All scenes, (count, 6, side, side), made once."""
    path = options.out / f"seams-{options.scenes}-{options.side}-{options.seed}.npy"
    if not path.exists():
        seeds = [(options.seed, index) for index in range(options.scenes)]
        make = partial(one_threaded_example, options.side)
        with ProcessPoolExecutor(options.processes, get_context("spawn")) as executor:
            pool = np.stack(list(executor.map(make, seeds, chunksize=8)))
        unfinished = path.with_suffix(".part.npy")
        np.save(unfinished, pool)
        unfinished.replace(path)
    loaded: Planes = np.load(path, mmap_mode="r")
    return loaded


def one_threaded_example(side_px: int, seed: tuple[int, ...]) -> Planes:
    """``seam_example`` on one core."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return seam_example(side_px, seed)


def draw_batch(pool: Planes, options: argparse.Namespace, random: Random) -> Tensor:
    """Pieces near seams, (batch, 6, patch, patch)."""
    pieces: list[NDArray[np.float32]] = []
    while len(pieces) < options.batch:
        top, left = random.integers(0, options.side - options.patch + 1, 2)
        rows, columns = slice(top, top + options.patch), slice(left, left + options.patch)
        piece = pool[random.integers(len(pool))][:, rows, columns].astype(np.float32)
        if piece[PLANES - 1].mean() > LEAST_BAND:
            pieces.append(turned(piece, random))
    return torch.from_numpy(np.stack(pieces))


def turned(piece: NDArray[np.float32], random: Random) -> NDArray[np.float32]:
    """Another example of the same kind: turned, mirrored, sources exchanged, light and dark."""
    piece = np.rot90(piece, int(random.integers(4)), (1, 2)).copy()
    mirror, exchange, invert = random.random(3) < 0.5  # noqa: PLR2004
    if mirror:
        piece = piece[..., ::-1].copy()
    if exchange:
        piece = piece[[0, 2, 1, 3, 4, 5]]
        piece[3] = 1 - piece[3]
    if invert:
        piece[[0, 1, 2, 5]] = 1 - piece[[0, 1, 2, 5]]
    return piece


def loss_of(network: DefocusSpreadNetwork, batch: Tensor) -> Tensor:
    """Smoothed mean of the error and of its slopes, within the band."""
    merged, band, truth = batch[:, :1], batch[:, PLANES - 1 : PLANES], batch[:, PLANES:]
    details = torch.stack([detail(pair) for pair in batch[:, 1:3]])
    with torch.autocast("cpu", torch.bfloat16):
        added = network(batch[:, :PLANES], details)
    error = band * (merged + band * added - truth)
    down, across = error.diff(dim=2), error.diff(dim=3)
    return smooth_mean(error) + SLOPES * (smooth_mean(down) + smooth_mean(across))


def smooth_mean(error: Tensor) -> Tensor:
    """Mean of nearly the absolute values."""
    return (error.square() + SOFTEST).sqrt().mean()


@torch.no_grad()
def gains_db(network: DefocusSpreadNetwork, scenes: Planes) -> Row:
    """Mean and least gain in PSNR over the merge, of whole scenes."""
    gains = []
    for planes in scenes:
        batch = torch.from_numpy(planes[None].astype(np.float32))
        merged, band, truth = batch[:, :1], batch[:, PLANES - 1 : PLANES], batch[:, PLANES:]
        after = merged + band * network(batch[:, :PLANES], detail(batch[0, 1:3])[None])
        ratio = (merged - truth).square().mean() / (after - truth).square().mean()
        gains.append(10 * float(ratio.log10()))
    return {"mean": round(float(np.mean(gains)), 4), "least": round(float(np.min(gains)), 4)}


class Training:
    """All that changes from step to step: weights, their running mean, the optimiser."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self.network, self.mean = DefocusSpreadNetwork(), DefocusSpreadNetwork()
        self.mean.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), options.rate, betas=(0.9, 0.99)
        )
        self.rate = options.rate
        self.step = 0

    def advance(self, batch: Tensor, share: float) -> float:
        """One step at this share of the full learning rate; its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = share * self.rate
        loss = loss_of(self.network, batch)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_LIMIT)
        self.optimiser.step()
        self.step += 1
        kept = min(1 - 1 / AVERAGED_STEPS, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.mean.parameters(), self.network.parameters(), strict=True)
            for mean, weight in pairs:
                mean.lerp_(weight, 1 - kept)
        return float(loss.detach())

    def state(self) -> Row:
        """Everything, for a checkpoint."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: Row) -> None:
        """Go back to a checkpoint."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        self.optimiser.load_state_dict(state["optimiser"])


def card(training: Training, rows: list[Row], options: argparse.Namespace) -> str:
    """How the weights were made."""
    gain = rows[-1]["gain_db"]
    return f"""# Weights that correct the defocus spread along seams

`defocus-spread.safetensors`: {sum(weight.numel() for weight in training.mean.parameters()):,}
parameters in float16, made by `jobs/train_defocus_spread.py` of this project, from procedural
scenes alone (`training/seams.py`): no photograph, and no data of anybody else, was used.

| | |
| --- | --- |
| command | `{command_of("train_defocus_spread.py", options)}` |
| steps done | {training.step} of {options.steps} |
| device | {platform.machine()} CPU, {options.threads} thread(s) |
| seconds | {round(sum(row["seconds"] for row in rows))}, without the scenes |
| torch, numpy, OpenCV | {torch.__version__}, {np.__version__}, {cv2.__version__} |
| date | {datetime.now(UTC).date()} |

PSNR over the merge at source size, on {kept_aside(options)} procedural scenes kept aside, with
noise and JPEG: mean {gain["mean"]:+.2f} dB, least {gain["least"]:+.2f} dB.
"""


def kept_aside(options: argparse.Namespace) -> int:
    """Number of scenes that are never learnt from."""
    count: int = options.scenes
    return math.ceil(KEPT_ASIDE * count)


def train(options: argparse.Namespace, say: Callable[[str], None]) -> None:
    """From the checkpoint, if there is one, to the last step."""
    training = Training(options)
    rows = restored(training, options)
    pool, aside = make_pool(options), kept_aside(options)
    losses, started = np.zeros(options.log), time.perf_counter()
    while training.step < min(options.steps, options.stop or options.steps):
        step = training.step
        # Its own generator for every step: nothing to restore after an interruption.
        random = np.random.default_rng((options.seed, step))
        batch = draw_batch(pool[aside:], options, random)
        losses[step % options.log] = training.advance(batch, schedule(step, options.steps))
        if training.step % options.log == 0 or training.step == options.steps:
            seconds, started = time.perf_counter() - started, time.perf_counter()
            gain = gains_db(training.mean, pool[:aside])
            row = {"step": training.step, "loss": round(float(losses.mean()), 6), "gain_db": gain}
            rows.append({**row, "seconds": round(seconds, 1)})
            say(json.dumps(rows[-1]))
            keep(training, rows, options)
            save_defocus_spread(
                options.out / "defocus-spread.safetensors", training.mean.state_dict()
            )
            (options.out / "defocus-spread.md").write_text(card(training, rows, options))
