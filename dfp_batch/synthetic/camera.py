"""What a camera does to a scene: defocus, motion, noise, the 256 levels of 8 bits, JPEG.

Nothing here is random: who makes a scene draws the motions and the grain.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Levels = NDArray[np.uint8]
Warp = NDArray[np.float64]
Psf = Literal["disc", "gaussian"]


def defocused(plane: Image, radius_px: float, psf: Psf) -> Image:
    """Blur a plane by a point spread function.

    Args:
        plane: (H, W) or (H, W, C).
        radius_px: Of the disc, or twice the standard deviation of the Gaussian; 0 changes nothing.
        psf: Which of the two.

    Returns:
        As ``plane``.
    """
    if radius_px == 0:
        return plane
    edge = cv2.BORDER_REFLECT_101
    if psf == "gaussian":
        blurred = cv2.GaussianBlur(plane, (0, 0), radius_px / 2, borderType=edge)
    else:
        blurred = cv2.filter2D(plane, -1, disc(radius_px), borderType=edge)
    return np.asarray(blurred, np.float32).reshape(plane.shape)


def disc(radius_px: float) -> Image:
    """Disc of a defocused point (k, k), k odd; the rim is one pixel soft; sums to 1."""
    reach = int(np.ceil(radius_px))
    axis = np.arange(-reach, reach + 1)
    weights = np.clip(radius_px + 0.5 - np.hypot(axis, axis[:, None]), 0, 1)
    return np.asarray(weights / weights.sum(), np.float32)


def magnified(size: tuple[int, ...], magnification: float, shift: NDArray[np.float64]) -> Warp:
    """Warp (3, 3) that magnifies an image (H, W) about its centre and shifts it by (x, y) px."""
    warp = np.eye(3)
    centre = (np.array(size[::-1]) - 1) / 2
    warp[:2, :2] *= magnification
    warp[:2, 2] = centre - magnification * centre + shift
    return warp


def moved(frame: Image, motion: Warp) -> Image:
    """A frame (H, W, C) after a motion (3, 3), in its pixels; the identity changes nothing."""
    if np.array_equal(motion, np.eye(3)):
        return frame
    h, w = frame.shape[:2]
    warped = cv2.warpAffine(
        frame, motion[:2], (w, h), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(warped, np.float32).reshape(frame.shape)


def at_source_size(motions: Warp, scale: int) -> Warp:
    """The same warps (N, 3, 3) in px of the sources: centres at ``(i + 0.5) * scale - 0.5``."""
    enlarge = np.diag([scale, scale, 1.0])
    enlarge[:2, 2] = (scale - 1) / 2
    return np.asarray(np.linalg.inv(enlarge) @ motions @ enlarge)


def noisy(light: Image, sigma: Image | np.float32, grain: Image) -> Image:
    """Light of any shape with noise of a standard deviation, everywhere or at every pixel.

    Args:
        light: In [0, 1].
        sigma: A number, or of a shape that goes with ``light``.
        grain: As ``light``, of mean 0 and standard deviation 1.
    """
    return np.asarray(light + sigma * grain, np.float32)


def levels(image: Image) -> Levels:
    """The nearest of the 256 levels of 8 bits, of an image of any shape in [0, 1]."""
    return np.asarray(np.rint(np.clip(image, 0, 1) * 255), np.uint8)


def unit(given: Levels) -> Image:
    """Levels of 8 bits in [0, 1]."""
    return np.asarray(given / np.float32(255), np.float32)


def through_jpeg(given: Levels, quality: int) -> Levels:
    """What JPEG leaves of an image (h, w), or (h, w, C) with C = 1 or 3."""
    data = cv2.imencode(".jpg", _swapped(given), (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    left = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)
    return _swapped(left.reshape(given.shape))


def _swapped(given: Levels) -> Levels:
    """Colours in OpenCV's order, or back: JPEG weighs them."""
    return np.ascontiguousarray(given[..., ::-1]) if given.ndim > 2 else given  # noqa: PLR2004
