"""Make the weights of the blind estimate of the kernel, from procedural scenes alone.

Usage: python jobs/train_blur.py --out FOLDER [--scenes 1000] [--samples 40000] [--steps 4000]

FOLDER gets ``blur.safetensors`` and its card ``blur.md``: copy both to dfp_batch/networks/weights/.
Minutes on one core; the same seed gives the same weights.
"""

import argparse
from pathlib import Path

from dfp_batch.training.blur import train


def arguments() -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--samples", type=int, default=40000)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Entry point."""
    train(arguments())


if __name__ == "__main__":
    main()
