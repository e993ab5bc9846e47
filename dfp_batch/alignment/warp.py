"""Resampling a frame as the reference would have seen it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

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

    def warp_row(top: int) -> None:
        rows = slice(top, min(top + _TILE_PX, h))
        lefts = range(0, w, _TILE_PX)
        shown, near = (np.logical_or.reduceat(one[rows].any(0), lefts) for one in (where, beside))
        if not (shown | near).all():
            place = warp @ _moved(0, top)
            warped[rows] = warp_image(image, place, (rows.stop - top, w), cv2.INTER_LINEAR)
        good = [left for left, is_shown in zip(lefts, shown, strict=True) if is_shown]
        tiles = tiles_of(warp, top, good, (rows.stop - top, _TILE_PX)) if good else None
        if tiles is not None:
            for left, pixels in zip(good, resampled(image, tiles), strict=True):
                _store(pixels, warped[rows, left : left + _TILE_PX])
        for left, is_shown, is_near in zip(lefts, shown, near, strict=True):
            if is_shown and tiles is None:
                kernel = cv2.INTER_LANCZOS4
            elif is_near and not is_shown:
                kernel = cv2.INTER_CUBIC
            else:
                continue
            tile = warped[rows, left : left + _TILE_PX]
            size = tile.shape[0], tile.shape[1]
            tile[:] = warp_image(image, warp @ _moved(left, top), size, kernel)

    # OpenCV itself does tiles of this size in one thread.
    with ThreadPoolExecutor(max(1, cv2.getNumThreads())) as threads:
        list(threads.map(warp_row, range(0, h, _TILE_PX)))
    return cast(Image, warped)


def _moved(left: int, top: int) -> Warp:
    """From the pixels of a part of an image to those of the whole."""
    place = np.eye(3)
    place[:2, 2] = left, top
    return place


def _store(tile: Tensor, place: NDArray[Any]) -> None:
    """Pixels (h, 64, C) in the type of the place (h, w, C), w <= 64."""
    if place.dtype.kind == "u":
        tile = tile.clamp(0, int(np.iinfo(place.dtype).max)).round_()
    place[:] = tile[:, : place.shape[1]].numpy()


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
