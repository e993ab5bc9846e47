"""Laplacian pyramids (Burt and Adelson, 1983) and the strongest detail of several images."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dfp_batch.core.filters import box_blur, copy_where_, pyramid_down, pyramid_up, strength

_COARSEST_PX = 8
_BLOCK_ROWS = 256


class StrongestDetail:
    """The strongest detail, band by band, of the images that were added one after the other.

    All channels of a detail come from one image: else edges get coloured fringes.

    Args:
        window_px: Side of the window over which the strength of a detail is averaged, odd.
        levels: Bands of detail at most; None are all that there are.
    """

    def __init__(self, window_px: int, levels: int | None = None) -> None:
        self._window_px, self._levels = window_px, levels
        self._bands: list[Tensor] = []
        self._strengths: list[Tensor] = []

    def add(self, image: Tensor, weight: Tensor) -> None:
        """Take what is stronger in an image (C, h, w) than in those before.

        Args:
            image: float32; it is overwritten.
            weight: (1, h, w), its share of the coarsest band.
        """
        is_first = not self._bands
        for level, band in enumerate(pyramid_bands(image, self._levels)):
            if level == self._levels or min(band.shape[-2:]) < 2 * _COARSEST_PX:
                break
            mean = self._strength(band)
            weight = pyramid_down(weight)
            if is_first:
                self._bands.append(band)
                self._strengths.append(mean)
                continue
            most, kept = self._strengths[level], self._bands[level]
            copy_where_(kept, band, mean > most)
            torch.maximum(most, mean, out=most)
        band *= weight
        if is_first:
            self._bands.append(band)
        else:
            self._bands[-1] += band

    @property
    def bands(self) -> tuple[Tensor, ...]:
        """The strongest so far, from the finest to the coarsest, (C, h, w), (C, h / 2, w / 2)..."""
        return tuple(self._bands)

    def image(self) -> Tensor:
        """What all the strongest details make together, (C, h, w), in their memory."""
        self._strengths.clear()
        return collapse(self._bands)

    def _strength(self, band: Tensor) -> Tensor:
        total = strength(band)
        return total if self._window_px == 1 else box_blur(total, self._window_px, "replicate")


def laplacian_pyramid(image: Tensor) -> list[Tensor]:
    """Bands of (C, h, w), float32, from the finest to the coarsest, which is what remains.

    Every band is half the size of the one before, rounded up; ``collapse`` is the inverse.
    """
    return list(pyramid_bands(image.clone()))


def pyramid_bands(image: Tensor, levels: int | None = None) -> Iterator[Tensor]:
    """The bands of ``laplacian_pyramid``, one after the other; the image becomes the first.

    Args:
        image: (C, h, w); it is overwritten.
        levels: Bands at most, before what remains; None are all that there are.
    """
    level = 0
    while min(image.shape[-2:]) >= 2 * _COARSEST_PX and level != levels:
        smaller = pyramid_down(image)
        _add_larger(image, smaller, -1)
        yield image
        image = smaller
        level += 1
    yield image


def _add_larger(image: Tensor, smaller: Tensor, sign: int = 1) -> None:
    """``image += pyramid_up(smaller)``, row block by row block, since the larger one is large."""
    half, height, width = _BLOCK_ROWS // 2, smaller.shape[1], image.shape[2]
    for first in range(0, height, half):
        start, stop = max(0, first - 2), min(height, first + half + 2)  # it reaches one row
        below = min(2 * stop, image.shape[1])
        larger = pyramid_up(smaller[:, start:stop], (below - 2 * start, width))
        rows = image[:, 2 * first : 2 * (first + half)]
        rows.add_(larger[:, 2 * (first - start) :][:, : rows.shape[1]], alpha=sign)


def collapse(bands: list[Tensor]) -> Tensor:
    """The image whose ``laplacian_pyramid`` the bands are; it is made in their memory."""
    *finer, image = bands
    for band in reversed(finer):
        _add_larger(band, image)
        image = band
    return image
