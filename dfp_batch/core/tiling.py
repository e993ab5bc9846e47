"""Large images in tiles: a function that sees only its neighbourhood, within bounded memory."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from dfp_batch.errors import ConfigError


@dataclass(frozen=True)
class Span:
    """Rows, or columns, of one tile.

    Attributes:
        start: First pixel of the tile itself.
        stop: Pixel after the last one of the tile itself.
        before_px: Pixels of halo before ``start``; fewer than asked for at the border of the image.
        after_px: Pixels of halo from ``stop`` on; likewise.
    """

    start: int
    stop: int
    before_px: int
    after_px: int

    def own(self, scale: int = 1) -> slice:
        """The tile itself in an image ``scale`` times as large."""
        return slice(scale * self.start, scale * self.stop)

    def read(self, scale: int = 1) -> slice:
        """The tile with its halo in an image ``scale`` times as large."""
        return slice(scale * (self.start - self.before_px), scale * (self.stop + self.after_px))

    def within(self, scale: int = 1) -> slice:
        """The tile itself within what ``read`` gives."""
        first = scale * self.before_px
        return slice(first, first + scale * (self.stop - self.start))


class Halo(NamedTuple):
    """What a tile is read with, in px on every side: of the result it is cut off."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def window(self, height: int, width: int, most_px: int) -> tuple[slice, slice]:
        """Rows and columns of a tile of that size without what is farther off than ``most_px``."""
        top, bottom, left, right = (max(0, px - most_px) for px in self)
        return slice(top, height - bottom), slice(left, width - right)


def spans(length_px: int, side_px: int, halo_px: int) -> list[Span]:
    """Cut a side into spans of nearly the same length that cover every pixel once.

    Args:
        length_px: Height or width of the image.
        side_px: Longest span.
        halo_px: Neighbourhood that a span is read with, where the image has it.

    Raises:
        ConfigError: if side_px is not positive or halo_px is negative.
    """
    if side_px < 1 or halo_px < 0:
        raise ConfigError(
            f"tiles must have a side >= 1 px and a halo >= 0 px, got {side_px} and {halo_px}"
        )
    count = -(-length_px // side_px)
    edges = [length_px * k // count for k in range(count + 1)]
    return [
        Span(start, stop, min(halo_px, start), min(halo_px, length_px - stop))
        for start, stop in pairwise(edges)
    ]


def in_tiles(
    function: Callable[..., Tensor], images: tuple[Tensor, ...], side_px: int, halo_px: int
) -> Tensor:
    """``function(*images, Halo())``, tile by tile.

    Equal to one call where a pixel of the result depends on pixels at most ``halo_px`` away, and on
    what lies beyond the border of the image only by the border of what the function gets.

    Args:
        function: Of all the images, cut alike, and of their halo in pixels of the first image; its
            result is as large as the last of them.
        images: (N, C, k * h, k * w), each with its own C and its own whole k; 1 for the first.
        side_px: Of a tile, in pixels of the first image.
        halo_px: In pixels of the first image.

    Returns:
        (N, C', k * h, k * w) with the k of the last image.

    Raises:
        ConfigError: if side_px is not positive or halo_px is negative.
    """
    h, w = images[0].shape[-2:]
    factors = [image.shape[-2] // h for image in images]

    def tile(rows: Span, columns: Span) -> Tensor:
        cut = (
            image[..., rows.read(k), columns.read(k)]
            for image, k in zip(images, factors, strict=True)
        )
        halo = Halo(rows.before_px, rows.after_px, columns.before_px, columns.after_px)
        return function(*cut, halo)[..., rows.within(factors[-1]), columns.within(factors[-1])]

    across = spans(w, side_px, halo_px)
    bands = (
        torch.cat([tile(rows, columns) for columns in across], -1)
        for rows in spans(h, side_px, halo_px)
    )
    return torch.cat(list(bands), -2)
