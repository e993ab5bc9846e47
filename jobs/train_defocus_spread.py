"""Make the weights that correct the defocus spread along seams, from procedural scenes alone.

Usage: python jobs/train_defocus_spread.py --out FOLDER [--scenes 2400] [--steps 20000]
           [--processes 1]

FOLDER gets the scenes (made once; processes make them and draw the batches), ``log.jsonl`` (step,
loss, gain in dB over the merge on scenes kept aside), ``checkpoint.pt``, and with every checkpoint
``defocus-spread.safetensors`` and its card ``defocus-spread.md``: copy these two to
dfp_batch/networks/weights/. The same command goes on after an interruption, to the same result;
another one needs another folder.
"""

import argparse
from pathlib import Path

from dfp_batch.training.commands import launch
from dfp_batch.training.defocus_spread import SpreadSettings, train


def options() -> argparse.ArgumentParser:
    """Of the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for everything")
    add("--steps", type=int, default=SpreadSettings.steps)
    add("--stop", type=int, help="leave after so many steps, to go on later")
    add("--threads", type=int, default=1)
    add("--processes", type=int, default=1, help="that make scenes and batches")
    add("--seed", type=int, default=SpreadSettings.seed)
    add("--scenes", type=int, default=SpreadSettings.scenes)
    add("--side", type=int, default=SpreadSettings.side, help="of the scenes, in px")
    add("--batch", type=int, default=SpreadSettings.batch, help="pieces")
    add("--patch", type=int, default=SpreadSettings.patch, help="side of a piece, even")
    add("--rate", type=float, default=SpreadSettings.rate)
    add("--begin", type=Path, help="weights to begin with")
    add("--log", type=int, default=SpreadSettings.log, help="steps between records")
    return parser


if __name__ == "__main__":
    launch(options(), SpreadSettings, train)
