"""Resampling a frame as the reference would have seen it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.alignment.geometry import Image, Mask, Warp
from dfp_batch.alignment.lanczos import resampled, tiles_of

# Use of warps.
_TOLERANCE_PX = 1e-3
_FLAT = 1e-12  # a slope that moves nothing within any image

_TILE_PX = 64  # a side


def is_identity(warp: Warp) -> bool:
    """Whether a warp (3, 3) leaves everything exactly where it is."""
    return np.array_equal(warp, np.eye(3))


def warp_image(
    image: Image, warp: Warp, size: tuple[int, int], kernel: int = cv2.INTER_LANCZOS4
) -> Image:
    """A frame as the reference would have seen it, resampled once.

    Places are rounded to 1/32 px, by OpenCV.

    Args:
        image: (h, w) or (h, w, C) with C <= 4, uint8, uint16 or float32.
        warp: (3, 3), from the reference to the frame.
        size: (h, w) of the reference.
        kernel: OpenCV's, of the interpolation. Cubic is six times faster and blurs: a texture that
            is moved there and back has 46.6 dB, with Lanczos4 50.6 dB.

    Returns:
        (h, w) or (h, w, C) of the reference and the type of ``image``; floats may overshoot its
        range. Outside the frame it is reflected. An exact copy for the identity.
    """
    if is_identity(warp) and image.shape[:2] == size:
        return image.copy()
    warped = cv2.warpPerspective(
        image,
        warp,
        size[::-1],
        flags=kernel | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return cast(Image, warped.reshape(*size, *image.shape[2:]))


def warp_tiles(image: Image, warp: Warp, where: Mask, beside: Mask) -> Image:
    """A frame as the reference would have seen it, the better the more it is shown.

    By Lanczos4 in those tiles that hold a pixel of ``where``, to a few hundredths of a pixel;
    cubically in the others that hold one beside it, else linearly.

    Args:
        image: (H, W, C), as in ``warp_image``.
        warp: As there.
        where: (h, w) of the reference.
        beside: (h, w).

    Returns:
        (h, w, C), of the type of the image.
    """
    h, w = where.shape
    warped = np.empty((h, w, image.shape[2]), image.dtype)
    lefts = np.arange(0, w, _TILE_PX)

    def warp_row(top: int) -> None:
        rows, place = slice(top, top + _TILE_PX), warp @ _moved(0, top)
        shown, near = (np.logical_or.reduceat(one[rows].any(0), lefts) for one in (where, beside))
        row = warped[rows]
        if not (shown | near).all():
            row[:] = warp_image(image, place, (len(row), w), cv2.INTER_LINEAR)
        _warp_each(image, place, row, lefts[near & ~shown], cv2.INTER_CUBIC)
        _warp_well(image, place, row, lefts[shown])

    # OpenCV itself does tiles of this size in one thread.
    with ThreadPoolExecutor(max(1, cv2.getNumThreads())) as threads:
        list(threads.map(warp_row, range(0, h, _TILE_PX)))
    return cast(Image, warped)


def _moved(left: int, top: int) -> Warp:
    """From the pixels of a part of an image to those of the whole."""
    place = np.eye(3)
    place[:2, 2] = left, top
    return place


def _warp_well(image: Image, warp: Warp, row: NDArray[Any], lefts: NDArray[np.int64]) -> None:
    """By Lanczos4 the tiles of a row (h, w, C) that begin at these columns, in place."""
    tiles = tiles_of(warp, lefts, (len(row), _TILE_PX)) if len(lefts) else None
    if tiles is None:
        _warp_each(image, warp, row, lefts, cv2.INTER_LANCZOS4)
        return
    for left, pixels in zip(lefts, resampled(image, tiles), strict=True):
        tile = row[:, left : left + _TILE_PX]
        if tile.dtype.kind == "u":
            pixels.clamp_(0, int(np.iinfo(tile.dtype).max)).round_()
        tile[:] = pixels[:, : tile.shape[1]].numpy()


def _warp_each(
    image: Image, warp: Warp, row: NDArray[Any], lefts: NDArray[np.int64], kernel: int
) -> None:
    """The same by a kernel of OpenCV."""
    for left in lefts:
        tile = row[:, left : left + _TILE_PX]
        size = tile.shape[0], tile.shape[1]
        tile[:] = warp_image(image, warp @ _moved(left, 0), size, kernel)


def inside(warp: Warp, size: tuple[int, int]) -> Mask:
    """Pixels (h, w) of the reference that the frame covers.

    Args:
        warp: (3, 3), from the reference to the frame.
        size: (h, w) of both.
    """
    low, high = covered_columns(warp, size)
    columns = np.arange(size[1])
    return (columns >= low[:, None]) & (columns <= high[:, None])


def covered_columns(
    warp: Warp, size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From which to which column, (h,) each, a frame covers the rows of the reference.

    Covered is what the warp takes between the centres of the frame's outermost pixels, to a
    thousandth of a pixel. The set is convex.

    Args:
        warp: (3, 3), from the reference to the frame.
        size: (h, w) of both.
    """
    h, w = size
    x_row, y_row, depth_row = warp
    edges = (x_row, (w - 1) * depth_row - x_row, y_row, (h - 1) * depth_row - y_row)
    rows = np.arange(h)
    low, high = np.zeros(h), np.full(h, w - 1.0)
    for slope, down, level in edges:  # the half-plane slope * x + down * y + level >= 0
        rest = down * rows + level + _TOLERANCE_PX
        if slope > _FLAT:
            low = np.maximum(low, -rest / slope)
        elif slope < -_FLAT:
            high = np.minimum(high, -rest / slope)
        else:
            high = np.where(rest >= 0, high, -1)
    return low, high
