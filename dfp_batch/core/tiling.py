"""Large images in tiles: a function that sees only its neighbourhood, within bounded memory."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.errors import ConfigError

_WORTH_HALVING = 3  # halos: in what is smaller there is little to be saved

Mask = NDArray[np.bool_]


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


Box = tuple[Span, Span]  # its rows and its columns


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
    return [_span(slice(*side), length_px, halo_px) for side in pairwise(edges)]


def boxes(wanted: Mask, most_px: int, halo_px: int) -> list[Box]:
    """Rectangles that hold all that is wanted: where it lies apart as many as take the least.

    Args:
        wanted: Which pixels, (h, w).
        most_px: Longest side.
        halo_px: Neighbourhood that a rectangle is read with, where the image has it.
    """

    def within(rows: slice, columns: slice) -> list[Box]:
        part = wanted[rows, columns]
        down, across = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
        if not len(down):
            return []
        rows, columns = _narrowed(rows, down), _narrowed(columns, across)
        whole = _span(rows, len(wanted), halo_px), _span(columns, wanted.shape[1], halo_px)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        longest = max(height, width)
        if longest <= max(1, min(most_px, _WORTH_HALVING * halo_px)):
            return [whole]
        if height >= width:
            parts = [box for half in _halves(rows) for box in within(half, columns)]
        else:
            parts = [box for half in _halves(columns) for box in within(rows, half)]
        pays = sum(map(_read_px, parts)) < _read_px(whole)
        return parts if longest > most_px or pays else [whole]

    return within(slice(0, wanted.shape[0]), slice(0, wanted.shape[1]))


def _narrowed(side: slice, wanted: NDArray[np.int64]) -> slice:
    return slice(side.start + int(wanted[0]), side.start + int(wanted[-1]) + 1)


def _halves(side: slice) -> tuple[slice, slice]:
    middle = (side.start + side.stop) // 2
    return slice(side.start, middle), slice(middle, side.stop)


def _span(side: slice, length_px: int, halo_px: int) -> Span:
    after_px = min(halo_px, length_px - side.stop)
    return Span(side.start, side.stop, min(halo_px, side.start), after_px)


def _read_px(box: Box) -> int:
    """Pixels that are read."""
    return math.prod(span.stop + span.after_px - span.start + span.before_px for span in box)


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
    factors = _factors(images)

    def band(rows: Span) -> tuple[Tensor, ...]:
        return tuple(image[..., rows.read(k), :] for image, k in zip(images, factors, strict=True))

    height = images[0].shape[-2]
    bands = (
        in_columns(function, band(rows), rows, side_px, halo_px)
        for rows in spans(height, side_px, halo_px)
    )
    return torch.cat(list(bands), -2)


def in_columns(
    function: Callable[..., Tensor],
    images: tuple[Tensor, ...],
    rows: Span,
    side_px: int,
    halo_px: int,
) -> Tensor:
    """As ``in_tiles``, of the rows of one span, from left to right.

    Args:
        function: As there.
        images: As there, but only what the span reads.
        rows: The span.
        side_px: Width of a tile.
        halo_px: Left and right of it.
    """
    factors = _factors(images)

    def tile(columns: Span) -> Tensor:
        cut = (image[..., columns.read(k)] for image, k in zip(images, factors, strict=True))
        halo = Halo(rows.before_px, rows.after_px, columns.before_px, columns.after_px)
        return function(*cut, halo)[..., rows.within(factors[-1]), columns.within(factors[-1])]

    width = images[0].shape[-1]
    return torch.cat([tile(columns) for columns in spans(width, side_px, halo_px)], -1)


def _factors(images: tuple[Tensor, ...]) -> list[int]:
    return [image.shape[-1] // images[0].shape[-1] for image in images]


class Slab(NamedTuple):
    """Rows of an image that follow each other.

    Attributes:
        image: (N, C, rows, w).
        first: Number of its first row.
        own: Of its rows those that are to be looked at: the others lie beside them.
    """

    image: Tensor
    first: int
    own: slice


def with_neighbours(parts: Iterable[Tensor], height: int, reach_px: int) -> Iterator[Slab]:
    """An image that comes in parts, from top to bottom, with the rows beside each part.

    Args:
        parts: (N, C, rows, w), of any number of rows.
        height: Of the image.
        reach_px: Rows that are wanted beside own ones, where the image has them.

    Yields:
        Slabs whose own rows follow each other; not a slab for every part.
    """
    held, first, done = None, 0, 0
    for part in parts:
        held = part if held is None else torch.cat((held, part), -2)
        end = first + held.shape[-2]
        ready = end if end == height else end - reach_px
        if ready > done:
            yield Slab(held, first, slice(done - first, ready - first))
            done, keep = ready, max(first, ready - reach_px)
            held, first = held[..., keep - first :, :].clone(), keep
