"""Grey scenes to learn from: procedural images with more of what photographs have.

On top of dead leaves: surfaces with textures of many kinds, repeated patterns up to the finest that
pixels hold, stones and other reliefs lit from the side, cloth, circuits, veins, print, hair, lines,
text, shadows, things that bulge, blurred depths behind sharp ones; then a camera: the integration
over a pixel, a soft or a sharpened own look, tone and JPEG. Nothing is read from a file.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.synthetic.camera import defocused, levels, through_jpeg
from dfp_batch.synthetic.procedural import draw_stroke, draw_text, filled, outline, radii
from dfp_batch.training.structures import Plane, Random
from dfp_batch.training.textures import Palette, surface

Mask = NDArray[np.uint8]

_DEEPEST = 3  # depths of a scene at most


def training_scene(side_px: int, seed: int | tuple[int, ...]) -> Plane:
    """A grey scene (side_px, side_px) in [0, 1]; the same seed gives the same scene.

    It is made on a canvas 1.2 to 2.5 times as large and reduced, as a lens and a sensor do.

    Args:
        side_px: Height and width.
        seed: Of all randomness.
    """
    random = np.random.default_rng(seed)
    canvas_px = round(side_px * random.uniform(1.2, 2.5))
    scene = _Scene.empty(canvas_px, random)
    for depth in range(int(random.integers(1, _DEEPEST + 1))):
        if depth > 0 and random.random() < 0.6:  # noqa: PLR2004
            _defocus(scene.canvas, random)
        _fill_depth(scene)
    _cast_shadows(scene.canvas, random)
    return _photographed(scene.canvas, side_px, random)


@dataclass(frozen=True)
class _Scene:
    """A scene in the making.

    Attributes:
        canvas: (S, S), about [0, 1]; it is drawn upon.
        palette: Of its surfaces.
        roundness: Share of the leaves that bulge.
        random: Source of all randomness.
    """

    canvas: Plane
    palette: Palette
    roundness: float
    random: Random

    @classmethod
    def empty(cls, canvas_px: int, random: Random) -> "_Scene":
        """Background only."""
        palette = Palette.drawn(canvas_px, random)
        roundness = float(random.uniform(0, 1))
        scene = cls(np.empty((canvas_px, canvas_px), np.float32), palette, roundness, random)
        scene.canvas[:] = surface(palette, canvas_px, canvas_px)
        return scene


# Objects


def _fill_depth(scene: _Scene) -> None:
    """Objects of one depth: leaves of every size, lines, text."""
    random, side_px = scene.random, scene.canvas.shape[0]
    largest_px = side_px * random.uniform(0.1, 0.4)
    smallest_px = random.uniform(2, 6)
    count = int(side_px**2 * 0.0025 * 10 ** random.uniform(-1.5, 0) * (4 / smallest_px) ** 2)
    leaves_px = radii(count, (smallest_px, largest_px), random)
    boulders_px = random.uniform(largest_px / 4, largest_px, int(random.integers(4, 16)))
    for radius_px in (*boulders_px, *leaves_px):
        _add_leaf(scene, radius_px)
    for _ in range(_some(12, random)):
        mask = np.zeros(scene.canvas.shape, np.uint8)
        draw_stroke(mask, 2 ** random.uniform(0, 3), random)
        _lay(scene.canvas, np.float32(random.uniform(0, 1)), mask)
    for _ in range(_some(5, random)):
        mask = np.zeros(scene.canvas.shape, np.uint8)
        draw_text(mask, random)
        _lay(scene.canvas, np.float32(random.uniform(0, 1)), mask)


def _some(most: int, random: Random) -> int:
    """Fewer than so many in half of the cases, else none."""
    return int(random.integers(0, most)) if random.random() < 0.5 else 0  # noqa: PLR2004


def _add_leaf(scene: _Scene, radius_px: float) -> None:
    """Lay an ellipse, a polygon, a bar or a cloud over what is there."""
    random, side_px = scene.random, scene.canvas.shape[0]
    corners = _contour(radius_px, random) + random.uniform(0, side_px, 2)
    left, top = (int(v) for v in np.maximum(corners.min(0) - 2, 0))
    right, bottom = (int(v) for v in np.minimum(corners.max(0) + 3, side_px))
    if bottom - top < 2 or right - left < 2:  # noqa: PLR2004
        return
    mask = filled(bottom - top, right - left, corners - (left, top))
    leaf = surface(scene.palette, bottom - top, right - left)
    if random.random() < scene.roundness:
        leaf += _rounded(mask, radius_px, random)
    if random.random() < 0.25:  # noqa: PLR2004
        cv2.GaussianBlur(mask, (0, 0), 2 ** random.uniform(-1, 2), dst=mask)
    _lay(scene.canvas[top:bottom, left:right], leaf, mask)


def _rounded(mask: Mask, radius_px: float, random: Random) -> Plane:
    """Light and shade on something that bulges, and the dark at its border."""
    inside = np.float32(1 / 255) * mask
    bulge = cv2.GaussianBlur(inside, (0, 0), max(0.5, radius_px * random.uniform(0.1, 0.5)))
    angle = random.uniform(0, 2 * np.pi)
    shade = random.uniform(0, 0.5) * (bulge - 1)
    light = random.normal(0, 1) * radius_px
    shade[:, 1:] += light * np.cos(angle) * np.diff(bulge, axis=1)
    shade[1:] += light * np.sin(angle) * np.diff(bulge, axis=0)
    return np.asarray(0.5 * shade, np.float32)


def _contour(radius_px: float, random: Random) -> NDArray[np.float64]:
    """Corners (n, 2) about 0."""
    kind = random.random()
    if kind < 0.5:  # noqa: PLR2004
        return outline(radius_px, random)
    turn = random.uniform(0, 2 * np.pi)
    if kind < 0.75:  # noqa: PLR2004
        half = radius_px * np.array([1, random.uniform(0.05, 1)])
        points = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    else:
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        waves = np.arange(2, 7)
        swing = random.normal(0, 0.25, (5, 1)) / waves[:, None] ** 0.5
        distance = 1 + (
            swing * np.cos(waves[:, None] * angles + random.uniform(0, 6.3, (5, 1)))
        ).sum(0)
        points = radius_px * distance[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(points @ rotation)


def _lay(canvas: Plane, tone: Plane | np.float32, mask: Mask) -> None:
    canvas += mask * np.float32(1 / 255) * (tone - canvas)


def _defocus(canvas: Plane, random: Random) -> None:
    """Blur what is there: it lies behind what comes."""
    canvas[:] = defocused(canvas, 2 * 2 ** random.uniform(-0.5, 3), "gaussian")


def _cast_shadows(canvas: Plane, random: Random) -> None:
    """Darken regions with soft and hard borders."""
    side_px = canvas.shape[0]
    for _ in range(int(random.integers(0, 4))):
        corners = _contour(side_px * random.uniform(0.1, 0.5), random)
        mask = filled(side_px, side_px, corners + random.uniform(0, side_px, 2))
        cv2.GaussianBlur(mask, (0, 0), 2 ** random.uniform(0, 5), dst=mask)
        canvas *= 1 - mask * np.float32(random.uniform(0.2, 0.7) / 255)


# The camera


def _photographed(canvas: Plane, side_px: int, random: Random) -> Plane:
    """Reduce the canvas, with the look of one of many cameras, (side_px, side_px) in [0, 1]."""
    if random.random() < 0.6:  # noqa: PLR2004
        ratio = canvas.shape[0] / side_px
        cv2.GaussianBlur(canvas, (0, 0), ratio * random.uniform(0.2, 0.9) + 1e-3, dst=canvas)
    size = (side_px, side_px)
    plane = np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.float32)
    if random.random() < 0.35:  # noqa: PLR2004
        smooth = np.asarray(cv2.GaussianBlur(plane, (0, 0), random.uniform(0.6, 1.5)))
        plane += np.float32(random.uniform(0.2, 1)) * (plane - smooth)
    if random.random() < 0.3:  # noqa: PLR2004
        plane += _grain(side_px, random)
    low, high = np.percentile(plane, (1, 99))
    black, white = random.uniform(-0.05, 0.3), random.uniform(0.6, 1.1)
    toned = black + (white - black) * (plane - low) / max(high - low, 0.2)
    plane = np.asarray(toned.clip(0, 1) ** 2 ** random.uniform(-0.7, 0.7), np.float32)
    if random.random() < 0.2:  # noqa: PLR2004
        plane = np.float32(1 / 255) * through_jpeg(levels(plane), int(random.integers(85, 99)))
    return plane


def _grain(side_px: int, random: Random) -> Plane:
    """What even sharp photographs have all over, (side_px, side_px): it belongs to the scene."""
    grain = random.standard_normal((side_px, side_px), np.float32)
    cv2.GaussianBlur(grain, (0, 0), random.uniform(0.2, 0.8), dst=grain)
    return np.asarray(np.float32(random.uniform(0, 0.015)) * grain / grain.std())
