"""Whether images show one scene: frames of a stack differ in sharpness, not in what they show."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.archive.stacks import Image
from dfp_batch.errors import ImageError, ObjectAccessError, ObjectMissingError
from dfp_batch.io import codec, storage
from dfp_batch.io.urls import join

ONE_SCENE = 0.65
"""Least likeness of images that may show one scene; real stacks have 0.87, photographs 0.42."""
MOST_BYTES = 10**9
_SIDE_PX = 24
_EVEN = 1e-3  # norm of an image that shows nothing
_MOST_PX = 100_000_000  # of an image that is decoded just to be compared
_SIZES = 1.1  # of frames of one scene, at most


class Likeness:
    """Compares images of a tree; each is read once.

    Args:
        root: URL of the tree.
        most_bytes: Of all files that are read; of others it is not known what they show.
    """

    def __init__(self, root: str, most_bytes: int = MOST_BYTES) -> None:
        self._root = root
        self._left_bytes = most_bytes
        self._small: dict[str, tuple[tuple[int, int], NDArray[np.float32]] | None] = {}

    def __call__(self, images: Sequence[Image]) -> float | None:
        """The least correlation of the first one with another, -1 to 1.

        None if one of them cannot be read, or shows nothing at all. Images of quite different sizes
        are not alike: 0 at most.

        Raises:
            StorageError: The store failed.
        """
        small = [self._look(image) for image in images]
        known = [one for one in small if one is not None]
        if len(known) < len(images):
            return None
        first = known[0]
        return min((_correlation(first, other) for other in known[1:]), default=1.0)

    def forget(self) -> None:
        """Let go of what was read."""
        self._small.clear()

    def _look(self, image: Image) -> tuple[tuple[int, int], NDArray[np.float32]] | None:
        if image.path not in self._small:
            self._left_bytes -= image.size_bytes
            if self._left_bytes < 0:
                return None
            self._small[image.path] = _small(join(self._root, image.path))
        return self._small[image.path]


def _small(url: str) -> tuple[tuple[int, int], NDArray[np.float32]] | None:
    """Size (h, w) of an image, and a small grey one with mean 0 and norm 1."""
    try:
        data = storage.read_bytes(url)
        header = codec.inspect(data, url)
        if header.width * header.height > _MOST_PX:
            return None
        pixels = codec.decode(data, url).pixels
    except (ImageError, ObjectMissingError, ObjectAccessError):
        return None
    height, width, _ = pixels.shape
    small = cv2.resize(pixels, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    grey = np.asarray(small.reshape(_SIDE_PX, _SIDE_PX, -1).mean(2), np.float32)
    grey -= grey.mean()
    norm = float(np.linalg.norm(grey) / max(float(np.abs(pixels).max()), _EVEN))
    if not norm > _EVEN:  # nor if it is no number
        return None
    return (height, width), grey / np.float32(np.linalg.norm(grey))


def _correlation(
    one: tuple[tuple[int, int], NDArray[np.float32]],
    other: tuple[tuple[int, int], NDArray[np.float32]],
) -> float:
    value = float((one[1] * other[1]).sum())
    sizes = zip(one[0], other[0], strict=True)
    is_like = all(max(pair) <= _SIZES * min(pair) for pair in sizes)
    return value if is_like else min(value, 0.0)


def spread(images: Iterable[Image]) -> list[Image]:
    """The first, the middle and the last of several images."""
    every = list(images)
    places = sorted({0, len(every) // 2, len(every) - 1})
    return [every[place] for place in places]
