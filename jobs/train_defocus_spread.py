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
from functools import partial
from pathlib import Path

from dfp_batch.training.checkpoints import prepare
from dfp_batch.training.defocus_spread import train


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
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
    train(options, partial(print, flush=True))


if __name__ == "__main__":
    main()
