"""The largest rectangle that every frame covers."""

from collections.abc import Iterator

import numpy as np

from dfp_batch.alignment.geometry import Mask

_BLOCKS = 256  # a side, that a mask is reduced to


def valid_rectangle(mask: Mask) -> tuple[int, int, int, int]:
    """Largest upright rectangle of valid pixels.

    Exact up to 256 px a side. A larger mask is searched in blocks of pixels, and what is found is
    grown pixel by pixel: every side is then within a block of the best.

    Args:
        mask: (h, w), True where valid.

    Returns:
        (top, left, height, width) in px; all 0 if no pixel is valid.
    """
    side = -(-max(mask.shape) // _BLOCKS)
    if side == 1:
        return _largest_rectangle(mask)
    top, left, height, width = _largest_rectangle(_all_valid(mask, side))
    if height:
        return _grown(mask, (top * side, left * side, height * side, width * side))
    if not mask.any():
        return 0, 0, 0, 0
    row, column = divmod(int(mask.argmax()), mask.shape[1])
    return _grown(mask, (row, column, 1, 1))


def _all_valid(mask: Mask, side: int) -> Mask:
    """Whether all pixels of every whole block are valid."""
    h, w = (length // side for length in mask.shape)
    blocks = mask[: h * side, : w * side].reshape(h, side, w, side)
    return np.asarray(blocks.all((1, 3)))


def _largest_rectangle(mask: Mask) -> tuple[int, int, int, int]:
    """By the largest rectangle under the histogram of valid pixels above every row."""
    best = (0, 0, 0, 0)
    heights = np.zeros(mask.shape[1] + 1, np.int64)  # the last one ends every rectangle
    for row, valid in enumerate(mask):
        heights[:-1] = np.where(valid, heights[:-1] + 1, 0)
        for left, width, height in _rectangles_under(heights.tolist()):
            if width * height > best[2] * best[3]:
                best = (row - height + 1, left, height, width)
    return best


def _rectangles_under(heights: list[int]) -> Iterator[tuple[int, int, int]]:
    """(left, width, height) of every rectangle that can neither be widened nor heightened."""
    rising: list[tuple[int, int]] = []  # left and height
    for column, height in enumerate(heights):
        left = column
        while rising and rising[-1][1] >= height:
            left, tall = rising.pop()
            yield left, column - left, tall
        rising.append((left, height))


def _grown(mask: Mask, rectangle: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """A valid rectangle, moved outwards on all sides, in turn, as long as it stays valid."""
    top, left, height, width = rectangle
    bottom, right = top + height, left + width
    size = None
    while size != (size := (top, left, bottom, right)):
        top -= top > 0 and bool(mask[top - 1, left:right].all())
        bottom += bottom < mask.shape[0] and bool(mask[bottom, left:right].all())
        left -= left > 0 and bool(mask[top:bottom, left - 1].all())
        right += right < mask.shape[1] and bool(mask[top:bottom, right].all())
    return top, left, bottom - top, right - left
