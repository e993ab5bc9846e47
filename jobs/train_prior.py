"""Make the weights of the learned prior, from procedural scenes alone.

Usage: python jobs/train_prior.py --out FOLDER [--steps 18000] [--device cpu] [--threads 1]

The large weights begin with the small ones: the card of each has its command.

FOLDER gets the scenes (made once), ``log.jsonl`` (step, loss, and the gain in dB over back
projection on scenes kept aside, per scale and kernel), ``checkpoint.pt``, and with every checkpoint
``prior.safetensors`` and its card ``prior.md``: copy these two to dfp_batch/networks/weights/ as
prior-small or prior-large. The same command goes on after an interruption, to the same result;
another one needs another folder.
"""

import argparse
from functools import partial
from pathlib import Path

from dfp_batch.training.checkpoints import prepare
from dfp_batch.training.patches import KERNELS_PER_BATCH, smallest_scene_px
from dfp_batch.training.prior import train


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
    train(options, partial(print, flush=True))


if __name__ == "__main__":
    main()
