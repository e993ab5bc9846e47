"""Make the weights of the blind estimate of the kernel, from procedural scenes alone.

Usage: python jobs/train_blur.py --out FOLDER [--scenes 1000] [--samples 40000] [--steps 4000]

FOLDER gets ``blur.safetensors`` and its card ``blur.md``: copy both to dfp_batch/networks/weights/.
Minutes on one core; the same seed gives the same weights.
"""

import argparse
from pathlib import Path

from dfp_batch.training.blur import BlurSettings, train
from dfp_batch.training.commands import launch


def options() -> argparse.ArgumentParser:
    """Of the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, required=True)
    for name in ("scenes", "side", "samples", "steps", "seed"):
        add(f"--{name}", type=int, default=getattr(BlurSettings, name))
    return parser


if __name__ == "__main__":
    launch(options(), BlurSettings, train)
