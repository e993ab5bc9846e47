"""Make a small archive of focus pairs from photographs bundled with scikit-image.

Usage: python jobs/make_samples.py FOLDER

Every photograph becomes a scene of two depths: an elliptic foreground before a background. Source
A is sharp in the foreground, source B in the background, each at half the size of the photograph,
which itself is the reference. Writes the images and FOLDER/manifest.parquet.
"""

import argparse
from typing import Any

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from dfp_batch import codec, storage
from dfp_batch.codec import Frame
from dfp_batch.manifest import Pair, write_manifest

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "camera", "rocket", "coins")
LONGEST_PX = 448
DEFOCUS_SIGMA_PX = 3.0

Image = NDArray[np.float32]


def photograph(name: str) -> Image:
    """A bundled photograph (H, W, C) in [0, 1], even sides, at most ``LONGEST_PX`` long."""
    pixels: NDArray[Any] = getattr(skimage.data, name)()
    ratio = min(1.0, LONGEST_PX / max(pixels.shape[:2]))
    h, w = (2 * int(side * ratio / 2) for side in pixels.shape[:2])
    resized = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_AREA)
    return np.asarray(resized.reshape(h, w, -1) / 255, np.float32)


def foreground(height: int, width: int) -> Image:
    """Mask (H, W, 1) in [0, 1] of an ellipse around the centre, one pixel soft."""
    mask = np.zeros((height, width), np.uint8)
    centre, axes = (width // 2, height // 2), (width // 4, height // 3)
    cv2.ellipse(mask, centre, axes, 20, 0, 360, 255, -1, cv2.LINE_AA)
    return np.asarray(mask[..., None] / 255, np.float32)


def defocus(image: Image) -> Image:
    """The image as if out of focus."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), DEFOCUS_SIGMA_PX), np.float32).reshape(
        image.shape
    )


def focus_pair(sharp: Image) -> tuple[Image, Image]:
    """Sources A (foreground sharp) and B (background sharp) at half the size."""
    mask = foreground(*sharp.shape[:2])
    blurred, soft = defocus(sharp), defocus(mask)
    near = mask * sharp + (1 - mask) * blurred
    far = (1 - soft) * sharp + soft * blurred
    return halve(near), halve(far)


def halve(image: Image) -> Image:
    """Mean of every 2x2 block."""
    h, w, channels = image.shape
    return np.asarray(image.reshape(h // 2, 2, w // 2, 2, channels).mean((1, 3)))


def write(folder: str, name: str, image: Image) -> str:
    """Write an 8-bit PNG and return its URL."""
    url = storage.join(folder, f"{name}.png")
    frame = codec.from_unit(np.moveaxis(image, -1, 0), np.uint8)
    storage.write_bytes(url, codec.encode(Frame(frame.pixels), "png"))
    return url


def make_pair(folder: str, name: str) -> Pair:
    """Write the two sources and the reference of one photograph."""
    sharp = photograph(name)
    near, far = focus_pair(sharp)
    sources = (write(folder, f"{name}_A", near), write(folder, f"{name}_B", far))
    return Pair(name, sources, reference=write(f"{folder}/reference", name, sharp))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder")
    folder = storage.absolute_url(parser.parse_args().folder)
    pairs = [make_pair(folder, name) for name in PHOTOGRAPHS]
    write_manifest(storage.join(folder, "manifest.parquet"), pairs)
    print(f"{len(pairs)} pairs in {folder}")


if __name__ == "__main__":
    main()
