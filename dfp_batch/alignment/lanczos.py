"""Lanczos4 resampling of tiles, as two products of matrices.

In a small tile a warp that hardly turns takes columns to columns and rows to rows. So the tile is
``V S H`` of the pixels S around it, where every row of V, and every column of H, holds the eight
weights of one place. These are mostly zeros, and yet that is three times faster than OpenCV's
Lanczos4, which looks at 8 x 8 pixels one by one.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.alignment.geometry import Floats, Image, Plane, Warp, transformed

_TAPS = 8
_BEFORE = _TAPS // 2 - 1  # of the eight, to the left of a place or above it
_OFF_PX = 1 / 32  # a place in a tile may be taken for another: twice what OpenCV rounds them by
PLACES = 1024  # from one pixel to the next, to which a place is rounded

Indices = NDArray[np.int64]


class Tiles(NamedTuple):
    """Where the pixels of n tiles beside each other come from.

    Attributes:
        columns: x of the columns of each, (n, w), rising.
        rows: y of the rows of each, (n, h), rising.
    """

    columns: Floats
    rows: Floats


def tiles_of(warp: Warp, lefts: Sequence[int] | Indices, size: tuple[int, int]) -> Tiles | None:
    """Tiles at the top of a warped frame; None if the warp turns or bends one of them.

    Args:
        warp: (3, 3), from the reference to the frame.
        lefts: First column of each.
        size: (h, w) of each.
    """
    h, w = size
    left, top = np.asarray(lefts, float)[:, None], np.zeros((1, 1))
    columns, _ = _through(warp, left + np.arange(w), top + (h - 1) / 2)
    _, rows = _through(warp, left + (w - 1) / 2, top + np.arange(h))
    off_px = 0.0
    for i in (0, w - 1):
        for j in (0, h - 1):
            x, y = _through(warp, left + i, top + j)
            off_px = max(off_px, abs(columns[:, [i]] - x).max(), abs(rows[:, [j]] - y).max())
    rises = (np.diff(columns) > 0).all() and (np.diff(rows) > 0).all()
    return Tiles(columns, rows) if rises and off_px <= _OFF_PX else None


def _through(warp: Warp, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Where the warp takes x and y, which broadcast to each other: x and y (n, m)."""
    points: Floats = np.stack(np.broadcast_arrays(x, y), -1)
    mapped = transformed(warp, points.reshape(-1, 2)).reshape(points.shape)
    return mapped[..., 0], mapped[..., 1]


def resampled(image: Image, tiles: Tiles) -> Iterator[Tensor]:
    """Pixels (h, w, C) of one tile after the other, float32; beside the image that is reflected.

    Args:
        image: (h, w, C).
        tiles: Where they are in it.
    """
    (top, down), (left, across) = _weights(tiles.rows), _weights(tiles.columns)
    rows, columns = (
        slice(int(first.min()), int(first.max()) + weights.shape[2])
        for first, weights in ((top, down), (left, across))
    )
    seen = image[_reflected(rows, image.shape[0])][:, _reflected(columns, image.shape[1])]
    lines = torch.empty(seen.shape[0], seen.shape[2], seen.shape[1])
    np.copyto(lines.numpy(), seen.transpose(0, 2, 1))
    high, wide = down.shape[2], across.shape[2]
    for y, x, vertical, horizontal in zip(
        top - rows.start, left - columns.start, down, across.mT, strict=True
    ):
        around = lines[y : y + high, :, x : x + wide].flatten(0, 1)
        narrow = (around @ horizontal).view(high, -1)
        yield (vertical @ narrow).view(len(vertical), seen.shape[2], -1).movedim(1, -1)


def _weights(places: Floats) -> tuple[Indices, Tensor]:
    """First pixel (n,) that places (n, m) are seen from, and what each weighs, (n, m, p)."""
    first = np.floor(places).astype(np.int64) - _BEFORE
    between = np.rint((places - first - _BEFORE) * PLACES).astype(np.int64)
    start = first[:, :1]
    weights = np.zeros((*places.shape, int((first - start).max()) + _TAPS), np.float32)
    np.put_along_axis(weights, (first - start)[..., None] + np.arange(_TAPS), _taps()[between], -1)
    return start[:, 0], torch.from_numpy(weights)


@functools.cache
def _taps() -> Plane:
    """What the eight pixels weigh at every place from one pixel to the next, (places + 1, 8)."""
    away = np.arange(PLACES + 1)[:, None] / PLACES + _BEFORE - np.arange(_TAPS)
    taps = np.sinc(away) * np.sinc(2 * away / _TAPS)
    return np.asarray(taps / taps.sum(1, keepdims=True), np.float32)


def _reflected(places: slice, size: int) -> Indices | slice:
    """Those within an image of so many pixels that stand for them; its border is not repeated."""
    if places.start >= 0 and places.stop <= size:
        return places
    period = max(1, 2 * size - 2)
    folded: Indices = np.arange(places.start, places.stop) % period
    return np.asarray(np.minimum(folded, period - folded))
