"""Procedural images: flat leaves that hide one another, with strokes and marks that look like text.

Dead leaves have the statistics of photographs that matter for focus: edges that occlude, objects of
every size (power law), smooth shades beside fine texture. Nothing is read from a file.
"""

from string import ascii_letters, digits

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Mask = NDArray[np.uint8]

_BOULDERS = 30  # large leaves beneath the others
_LEAVES_PER_PX = 0.003
_SMALLEST_PX = 3.0  # radius of a leaf
_LARGEST_SHARE = 0.3  # of the side
_STROKES = 6
_LINES_OF_TEXT = 4
_WAVY_SHARE = 0.2  # of the textures
_SOFT_SHARE = 0.25  # of the leaves that are a little soft themselves
_ANTIALIASING_PX = 0.45
_FRACTION_BITS = 4
_CHARACTERS = ascii_letters + digits + "&%?!=+:;"


def procedural_image(side_px: int, seed: int | tuple[int, ...]) -> Image:
    """A dead-leaves scene (3, side_px, side_px) in [0, 1]; the same seed gives the same image."""
    random = np.random.default_rng(seed)
    noise = _octaves(2 * side_px, random)
    canvas = np.empty((side_px, side_px, 3), np.float32)
    canvas[:] = _shaded(side_px, side_px, noise, random)
    largest_px = side_px * _LARGEST_SHARE
    boulders_px = random.uniform(largest_px / 3, largest_px, _BOULDERS)
    leaves_px = radii(int(side_px**2 * _LEAVES_PER_PX), (_SMALLEST_PX, largest_px), random)
    for radius_px in (*boulders_px, *leaves_px):
        _add_leaf(canvas, radius_px, noise, random)
    for _ in range(_STROKES):
        _add_stroke(canvas, random)
    for _ in range(_LINES_OF_TEXT):
        _add_text(canvas, random)
    smooth = cv2.GaussianBlur(canvas, (0, 0), _ANTIALIASING_PX)
    return np.ascontiguousarray(np.moveaxis(smooth.clip(0, 1), -1, 0))


def radii(
    count: int, range_px: tuple[float, float], random: np.random.Generator
) -> NDArray[np.float64]:
    """Radii with density proportional to the third power of 1 / radius, (count,)."""
    smallest_px, largest_px = range_px[0], max(range_px)
    low, high = largest_px**-2, smallest_px**-2
    return np.asarray(random.uniform(low, high, count) ** -0.5)


def _octaves(side_px: int, random: np.random.Generator) -> Image:
    """Noise (side_px, side_px) of every scale from 2 px up, standard deviation 1."""
    total = np.zeros((side_px, side_px), np.float32)
    cell_px = 2
    while cell_px < side_px:
        cells = max(2, side_px // cell_px)
        octave = random.standard_normal((cells, cells)).astype(np.float32)
        total += cell_px**0.3 * cv2.resize(octave, (side_px, side_px))
        cell_px *= 2
    return np.asarray(total / total.std(), np.float32)


def _shaded(h: int, w: int, noise: Image, random: np.random.Generator) -> Image:
    """A colour with a gradient and a texture, (h, w, 3): noise of every scale, or a sinusoid."""
    colour, change = _colour(random), random.uniform(-0.15, 0.15) + random.uniform(-0.05, 0.05, 3)
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.linspace(-1, 1, h)[:, None], np.linspace(-1, 1, w)
    along = (np.cos(angle) * x + np.sin(angle) * y).astype(np.float32)
    wavy = random.random() < _WAVY_SHARE
    texture = _sinusoid(h, w, random) if wavy else _crop(noise, h, w, random)
    strength = 0.2 * random.random() ** 1.5
    return np.asarray(
        colour + change * along[..., None] + strength * texture[..., None], np.float32
    )


def _colour(random: np.random.Generator) -> NDArray[np.float64]:
    """Grey with a little colour, as most things are."""
    grey, chroma = random.uniform(0.15, 0.85), random.normal(0, 0.1, 3)
    return np.asarray((grey + chroma).clip(0, 1))


def _crop(noise: Image, h: int, w: int, random: np.random.Generator) -> Image:
    top, left = (int(random.integers(0, noise.shape[0] - side + 1)) for side in (h, w))
    return noise[top : top + h, left : left + w]


def _sinusoid(h: int, w: int, random: np.random.Generator) -> Image:
    angle, period_px = random.uniform(0, np.pi), 2.5 * 2 ** random.uniform(0, 3.5)
    y, x = np.arange(h)[:, None], np.arange(w)
    phase = 2 * np.pi * ((np.cos(angle) * x + np.sin(angle) * y) / period_px + random.random())
    return np.asarray(np.sin(phase), np.float32)


def _add_leaf(canvas: Image, radius_px: float, noise: Image, random: np.random.Generator) -> None:
    """Lay an ellipse or a polygon over what is there."""
    side_px = canvas.shape[0]
    reach = int(np.ceil(radius_px)) + 2
    centre = random.uniform(0, side_px, 2)
    top, left = (max(0, int(c) - reach) for c in centre)
    bottom, right = (min(side_px, int(c) + reach) for c in centre)
    corners = outline(radius_px, random) + centre[::-1] - (left, top)
    mask = filled(bottom - top, right - left, corners)
    leaf = _shaded(bottom - top, right - left, noise, random)
    if random.random() < _SOFT_SHARE:
        softness_px = random.uniform(0.4, 1.2)
        cv2.GaussianBlur(mask, (0, 0), softness_px, dst=mask)
        cv2.GaussianBlur(leaf, (0, 0), softness_px, dst=leaf)
    _lay(canvas[top:bottom, left:right], leaf, mask)


def outline(radius_px: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Corners (n, 2) about 0: an ellipse of 32 corners or a star-shaped polygon of 3 to 8."""
    turn = random.uniform(0, 2 * np.pi)
    if random.random() < 0.5:  # noqa: PLR2004
        angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        points = np.stack([np.cos(angles), random.uniform(0.3, 1) * np.sin(angles)], 1)
    else:
        corners = int(random.integers(3, 9))
        angles = (np.arange(corners) + random.uniform(-0.4, 0.4, corners)) * 2 * np.pi / corners
        points = np.stack([np.cos(angles), np.sin(angles)], 1)
        points *= random.uniform(0.5, 1, corners)[:, None]
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(radius_px * points @ rotation)


def filled(h: int, w: int, corners: NDArray[np.float64]) -> Mask:
    """Mask (h, w) of 0 to 255, white within the outline through the corners (n, 2)."""
    mask = np.zeros((h, w), np.uint8)
    points = np.rint(corners * 2**_FRACTION_BITS).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, _FRACTION_BITS)
    return mask


def _lay(canvas: Image, colour: Image | NDArray[np.float64], mask: Mask) -> None:
    weight = mask[..., None] / np.float32(255)
    canvas += weight * (np.asarray(colour, np.float32) - canvas)


def _add_stroke(canvas: Image, random: np.random.Generator) -> None:
    mask = np.zeros(canvas.shape[:2], np.uint8)
    draw_stroke(mask, random.uniform(1, 4), random)
    _lay(canvas, _colour(random), mask)


def draw_stroke(mask: Mask, width_px: float, random: np.random.Generator) -> None:
    """Draw a curved line across a mask (H, W): a quadratic Bezier curve."""
    h, w = mask.shape
    controls = random.uniform(0, 1, (3, 2)) * (w, h)
    t = np.linspace(0, 1, 64)[:, None]
    curve = (1 - t) ** 2 * controls[0] + 2 * t * (1 - t) * controls[1] + t**2 * controls[2]
    points = np.rint(curve * 2**_FRACTION_BITS).astype(np.int32)
    thickness = max(1, round(width_px))
    cv2.polylines(mask, [points], False, 255, thickness, cv2.LINE_AA, _FRACTION_BITS)


def _add_text(canvas: Image, random: np.random.Generator) -> None:
    mask = np.zeros(canvas.shape[:2], np.uint8)
    draw_text(mask, random)
    _lay(canvas, _colour(random), mask)


def draw_text(mask: Mask, random: np.random.Generator) -> None:
    """Write a word or a line across a mask (H, H), in one of OpenCV's stroke fonts."""
    side_px = mask.shape[0]
    text = "".join(random.choice(list(_CHARACTERS), int(random.integers(4, 20))))
    height = random.uniform(0.3, 1.2)  # 1 is a capital letter of about 21 px
    place = (int(random.uniform(-0.1, 0.7) * side_px), int(random.uniform(0.05, 1) * side_px))
    font, thickness = int(random.integers(0, 8)), int(random.integers(1, 3))
    cv2.putText(mask, text, place, font, height, 255, thickness, cv2.LINE_AA)
