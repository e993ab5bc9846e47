"""Laplacian pyramids (Burt and Adelson, 1983) and the strongest detail of several images."""

from collections.abc import Iterator

import cv2
import numpy as np

from dfp_batch.core.image import Image, Plane

_COARSEST_PX = 8
BLOCK_ROWS = 256


class StrongestDetail:
    """The strongest detail of the images that were added, one after the other.

    Args:
        window_px: As in ``LaplacianPyramid``.
    """

    def __init__(self, window_px: int) -> None:
        self._window = (window_px, window_px)
        self._bands: list[Image] = []
        self._strengths: list[Plane] = []

    def add(self, image: Image, weight: Plane) -> None:
        """Take what is stronger in an image (h, w, C) than in those before.

        Args:
            image: float32; it is overwritten.
            weight: (h, w), its share of the coarsest band.
        """
        is_first = not self._bands
        for level, band in enumerate(pyramid_bands(image)):
            if min(band.shape[:2]) < 2 * _COARSEST_PX:
                break
            strength = self._strength(band)
            weight = np.asarray(cv2.pyrDown(weight), np.float32)
            if is_first:
                self._bands.append(band)
                self._strengths.append(strength)
                continue
            most = self._strengths[level]
            cv2.copyTo(band, (strength > most).view(np.uint8), self._bands[level])
            np.maximum(most, strength, out=most)
        band *= weight[..., None]
        if is_first:
            self._bands.append(band)
        else:
            self._bands[-1] += band

    def image(self) -> Image:
        """What all the strongest details make together, (h, w, C)."""
        return collapse(self._bands)

    def _strength(self, band: Image) -> Plane:
        """Sum over the channels, so that all of them come from one source, without fringes."""
        total = np.empty(band.shape[:2], np.float32)
        for top in range(0, len(band), BLOCK_ROWS):
            rows = slice(top, top + BLOCK_ROWS)
            cv2.transform(np.abs(band[rows]), np.ones((1, band.shape[2])), total[rows])
        if self._window == (1, 1):
            return total
        return np.asarray(cv2.blur(total, self._window, total, borderType=cv2.BORDER_REPLICATE))


def laplacian_pyramid(image: Image) -> list[Image]:
    """Bands of (h, w, C), float32, from the finest to the coarsest, which is what remains.

    Every band is half the size of the one before, rounded up; ``collapse`` is the inverse.
    """
    return list(pyramid_bands(image.copy()))


def pyramid_bands(image: Image) -> Iterator[Image]:
    """The bands of ``laplacian_pyramid``, one after the other; the image becomes the first."""
    while min(image.shape[:2]) >= 2 * _COARSEST_PX:
        smaller = with_channels(cv2.pyrDown(image))
        _subtract_expanded(image, smaller)
        yield image
        image = smaller
    yield image


def _subtract_expanded(image: Image, smaller: Image) -> None:
    """``image -= _expand(smaller, image)``, row block by row block: the expanded one is large."""
    half = BLOCK_ROWS // 2
    for first in range(0, len(smaller), half):
        start, stop = max(0, first - 2), min(len(smaller), first + half + 2)  # pyrUp reaches 1 row
        larger = _expand(smaller[start:stop], image[2 * start : 2 * stop])
        rows = image[2 * first : 2 * (first + half)]
        rows -= larger[2 * (first - start) :][: len(rows)]


def collapse(bands: list[Image]) -> Image:
    """The image whose ``laplacian_pyramid`` the bands are."""
    *finer, image = bands
    for band in reversed(finer):
        image = band + _expand(image, band)
    return image


def _expand(image: Image, larger: Image) -> Image:
    size = (larger.shape[1], larger.shape[0])
    return with_channels(cv2.pyrUp(image, dstsize=size))


def with_channels(image: Image) -> Image:
    """OpenCV drops the channel axis of a grey image."""
    return image if image.ndim == 3 else image[..., None]  # noqa: PLR2004
