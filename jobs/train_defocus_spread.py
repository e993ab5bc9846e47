"""Make the weights that correct the defocus spread along seams, from procedural scenes alone.

Usage: python jobs/train_defocus_spread.py --out FOLDER [--scenes 2400] [--steps 20000]
           [--processes 1]

FOLDER gets the scenes (made once, by so many processes), ``log.jsonl`` (step, loss, gain in dB over
the merge on scenes kept aside), ``checkpoint.pt``, and with every checkpoint
``defocus-spread.safetensors`` and its card ``defocus-spread.md``: copy these two to
dfp_batch/networks/weights/. The same command goes on
after an interruption, to the same result; another one needs another folder.
"""

import argparse
import json
import math
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from checkpoints import Row, command_of, keep, prepare, restored, schedule
from numpy.typing import NDArray
from torch import Tensor, nn

from dfp_batch.merging.defocus_spread import detail
from dfp_batch.networks.defocus_spread_network import PLANES, DefocusSpreadNetwork
from dfp_batch.networks.weights import save_defocus_spread
from dfp_batch.synthetic.seams import Planes, seam_example

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
scenes alone (`synthetic/seams.py`): no photograph, and no data of anybody else, was used.

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


def train(options: argparse.Namespace) -> None:
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
            print(json.dumps(rows[-1]), flush=True)
            keep(training, rows, options)
            save_defocus_spread(
                options.out / "defocus-spread.safetensors", training.mean.state_dict()
            )
            (options.out / "defocus-spread.md").write_text(card(training, rows, options))


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--stop", type=int, help="leave after so many steps, to go on later")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="that make the scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=2400)
    parser.add_argument("--side", type=int, default=192, help="of the scenes, in px")
    parser.add_argument("--batch", type=int, default=16, help="pieces")
    parser.add_argument("--patch", type=int, default=64, help="side of a piece, even")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--log", type=int, default=500, help="steps between records")
    options = parser.parse_args()
    if options.patch % 2 or options.side % 2 or options.side < options.patch:
        parser.error(
            "--side and --patch must be even and --patch at most --side, "
            f"got {options.side} and {options.patch}"
        )
    return options


def main() -> None:
    """Entry point."""
    options = arguments()
    prepare(options)
    train(options)


if __name__ == "__main__":
    main()
