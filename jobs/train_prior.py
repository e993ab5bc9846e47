"""Make the weights of the learned prior, from procedural scenes alone.

Usage: python jobs/train_prior.py --out FOLDER [--steps 18000] [--device cpu] [--processes 1]

The large weights begin with the small ones: the card of each has its command.

FOLDER gets the scenes (made once; ``--stop 0`` makes nothing else), ``log.jsonl`` (step, loss, and
the gain in dB over back projection on scenes kept aside, per scale and kernel), ``checkpoint.pt``,
and with every checkpoint ``prior.safetensors`` and its card ``prior.md``: copy these two to
dfp_batch/networks/weights/ as prior-small or prior-large. The same command goes on after an
interruption, to the same result; another one needs another folder.
"""

import argparse
from pathlib import Path

from dfp_batch.training.commands import launch
from dfp_batch.training.prior import PriorSettings, train


def options() -> argparse.ArgumentParser:
    """Of the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for everything")
    add("--steps", type=int, default=PriorSettings.steps)
    add("--stop", type=int, help="leave after so many steps, to go on later")
    add("--device", default="cpu")
    add("--threads", type=int, default=1, help="of the CPU")
    add("--processes", type=int, default=1, help="that make scenes and batches")
    add("--seed", type=int, default=PriorSettings.seed)
    add("--scenes", type=int, default=PriorSettings.scenes)
    add("--side", type=int, default=PriorSettings.side, help="of the scenes, in px")
    add("--batch", type=int, default=PriorSettings.batch, help="pieces; a multiple of 4")
    add("--patch", type=int, default=PriorSettings.patch, help="side of a piece, in source px")
    add("--width", type=int, default=PriorSettings.width, help="channels")
    add("--blocks", type=int, default=PriorSettings.blocks)
    add("--grow", type=Path, help="begin with these weights, of no more blocks")
    add("--teacher", type=Path, help="learn half from what these weights make")
    add("--rate", type=float, default=PriorSettings.rate, help="of Adam")
    add("--trunk-rate", type=float, default=PriorSettings.trunk_rate, help="of Muon")
    add("--log", type=int, default=PriorSettings.log, help="steps between records")
    return parser


if __name__ == "__main__":
    launch(options(), PriorSettings, train)
