"""Fuse two arrays, and look at what comes with the image.

Usage: python examples/fuse_two_arrays.py [near.png far.png] [--output fused.png]

Without files it takes a scene that it makes itself, sharp on the left and on the right.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from dfp_batch import FusionConfig, fuse


def main() -> None:
    """Read or make two images, fuse them, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("--output", type=Path, default=Path("fused.png"))
    options = parser.parse_args()
    sources = [read(path) for path in options.images] or scene()

    result = fuse(sources, FusionConfig.preset("fast", scale=2))

    image = result.to_array()  # (2 h, 2 w, 3), uint8
    cv2.imwrite(str(options.output), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    share = float(result.decision[0].mean())
    print(
        f"{options.output}: {image.shape[1]}x{image.shape[0]} px, {share:.0%} of the first source"
    )
    print(f"nothing is in focus in {float((result.confidence < 0.1).float().mean()):.0%} of it")


def read(path: Path) -> np.ndarray:
    """An image (h, w, 3), RGB."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"{path}: not an image that can be read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def scene() -> list[np.ndarray]:
    """Two images (96, 128, 3), each sharp in its own half."""
    noise = np.random.default_rng(0).normal(size=(96, 128, 3)).astype(np.float32)
    sharp = np.clip(128 + 140 * cv2.GaussianBlur(noise, (0, 0), 1.0), 0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2.5)
    is_left = (np.arange(128) < 64)[:, None]
    return [np.where(is_left, sharp, blurred), np.where(is_left, blurred, sharp)]


if __name__ == "__main__":
    main()
