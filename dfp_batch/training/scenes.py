"""Grey scenes to learn from: procedural images with more of what photographs have.

On top of dead leaves: surfaces with textures of many kinds, repeated patterns up to the finest that
pixels hold, stones and other reliefs lit from the side, hair, lines, text, shadows, things that
bulge, blurred depths behind sharp ones; then a camera: the integration over a pixel, a soft or a
sharpened own look, tone and JPEG. Nothing is read from a file.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.synthetic.camera import defocused, levels, through_jpeg
from dfp_batch.synthetic.procedural import draw_stroke, draw_text, filled, outline, radii

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]
Random = np.random.Generator

_FIELDS = 4  # noise fields of a scene, each of its own kind
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
        fields: Noise, (S, S) each, mean 0 and standard deviation 1.
        contrast: Strength of the textures.
        roundness: Share of the leaves that bulge.
        random: Source of all randomness.
    """

    canvas: Plane
    fields: tuple[Plane, ...]
    contrast: float
    roundness: float
    random: Random

    @classmethod
    def empty(cls, canvas_px: int, random: Random) -> "_Scene":
        """Background only."""
        fields = tuple(_noise(canvas_px, random) for _ in range(_FIELDS))
        scene = cls(
            np.empty((canvas_px, canvas_px), np.float32),
            fields,
            float(random.uniform(0.03, 0.25)),
            float(random.uniform(0, 1)),
            random,
        )
        scene.canvas[:] = _surface(scene, canvas_px, canvas_px)
        return scene


# Surfaces


def _noise(side_px: int, random: Random) -> Plane:
    """Noise with a power-law spectrum, often with one direction stronger or a band of its own."""
    frequency_y, frequency_x = np.fft.fftfreq(side_px)[:, None], np.fft.rfftfreq(side_px)[None]
    angle, stretch = random.uniform(0, np.pi), 2 ** random.uniform(-3, 0)
    along = np.cos(angle) * frequency_x + np.sin(angle) * frequency_y
    across = np.cos(angle) * frequency_y - np.sin(angle) * frequency_x
    radius = np.hypot(along, across if random.random() < 0.5 else across * stretch)  # noqa: PLR2004
    amplitude = (radius + 1 / side_px) ** -random.uniform(0.4, 1.9)
    if random.random() < 0.3:  # noqa: PLR2004
        octaves = np.log2(np.maximum(radius, 1e-6)) + random.uniform(1.5, 5)
        amplitude *= np.exp(-((octaves / random.uniform(0.3, 1)) ** 2))
    phases = np.exp(2j * np.pi * random.random(amplitude.shape))
    spectrum = amplitude * phases
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (side_px, side_px))
    return np.asarray(field / (field.std() + 1e-12), np.float32)


def _surface(scene: _Scene, h: int, w: int) -> Plane:
    """Grey with a shade and perhaps a texture, (h, w)."""
    random = scene.random
    angle, change = random.uniform(0, 2 * np.pi), random.normal(0, 0.12)
    y, x = np.linspace(-1, 1, h)[:, None], np.linspace(-1, 1, w)
    along = np.cos(angle) * x + np.sin(angle) * y
    shade = random.uniform(0.05, 0.95) + change * (along + random.uniform(-1, 1) * along**2)
    if random.random() < 0.2:  # noqa: PLR2004
        return np.asarray(shade, np.float32)
    texture = _TEXTURES[int(random.choice(len(_TEXTURES), p=_SHARES))](scene, h, w)
    strength = scene.contrast * 2 ** random.uniform(-2.5, 1)
    return np.asarray(shade + strength * texture, np.float32)


def _rough(scene: _Scene, h: int, w: int) -> Plane:
    """A piece of a noise field."""
    field = scene.fields[int(scene.random.integers(len(scene.fields)))]
    top, left = (
        int(scene.random.integers(0, size - side + 1))
        for size, side in zip(field.shape, (h, w), strict=True)
    )
    piece = field[top : top + h, left : left + w]
    return piece[::-1] if scene.random.random() < 0.5 else piece  # noqa: PLR2004


def _bent(scene: _Scene, h: int, w: int) -> Plane:
    """Noise through a curve: patches with edges, or veins."""
    piece = _rough(scene, h, w)
    if scene.random.random() < 0.5:  # noqa: PLR2004
        edge = 2 ** scene.random.uniform(0, 4)
        return np.asarray(np.tanh(edge * (piece - scene.random.normal(0, 0.7))), np.float32)
    return np.asarray(1.5 - 2 * np.abs(piece), np.float32)


def _grating(scene: _Scene, h: int, w: int) -> Plane:
    """Waves or stripes, straight or a little bent, with periods from 2 px up."""
    random = scene.random
    angle, period_px = random.uniform(0, np.pi), 2 * 2 ** random.uniform(0, 4.5)
    y, x = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)
    turns = (np.cos(angle) * x + np.sin(angle) * y) / period_px + random.random()
    if random.random() < 0.5:  # noqa: PLR2004
        turns = turns + random.uniform(0, 0.3) * _smooth(_rough(scene, h, w))
    wave = np.sin(2 * np.pi * turns)
    if random.random() < 0.4:  # noqa: PLR2004
        wave = np.clip(wave * random.uniform(2, 8) + random.uniform(-2, 2), -1, 1)
    return np.asarray(wave, np.float32)


def _lattice(scene: _Scene, h: int, w: int) -> Plane:
    """Bricks, tiles or fabric: two gratings together."""
    first, second = _grating(scene, h, w), _grating(scene, h, w)
    return np.maximum(first, second) if scene.random.random() < 0.5 else first * second  # noqa: PLR2004


def _hair(scene: _Scene, h: int, w: int) -> Plane:
    """Many lines side by side: hair, grass, fur."""
    random = scene.random
    plane = np.zeros((h, w), np.float32)
    angle, length_px = random.uniform(0, 2 * np.pi), random.uniform(10, 50)
    spread, thickness = random.uniform(0.05, 0.5), int(random.integers(1, 3))
    count = min(700, int(h * w * random.uniform(0.005, 0.02)) + 4)
    starts = random.uniform(-0.1, 1.1, (count, 2)) * (w, h)
    angles = angle + spread * random.standard_normal(count)
    bends = angles + spread * random.standard_normal(count)
    half = length_px / 2
    middles = starts + half * np.stack([np.cos(angles), np.sin(angles)], 1)
    ends = middles + half * np.stack([np.cos(bends), np.sin(bends)], 1)
    lines = np.rint(np.stack([starts, middles, ends], 1) * 16).astype(np.int32)
    for line, tone in zip(lines, random.normal(0, 1.2, count), strict=True):
        cv2.polylines(plane, [line], False, float(tone), thickness, cv2.LINE_8, 4)
    return plane


def _speckled(scene: _Scene, h: int, w: int) -> Plane:
    """Dots and grains of one size."""
    random = scene.random
    plane = np.zeros((h, w), np.float32)
    count = min(900, int(h * w * random.uniform(0.004, 0.02)) + 2)
    largest_px = random.uniform(1, 5)
    places = np.rint(random.uniform(0, 16, (count, 2)) * (w, h)).astype(np.int32)
    sizes = np.rint(16 * random.uniform(0.4, 1, count) * largest_px).astype(np.int32)
    for place, size, tone in zip(places, sizes, random.normal(0, 1.2, count), strict=True):
        cv2.circle(plane, place, int(size), float(tone), -1, cv2.LINE_8, 4)
    return plane


def _cells(scene: _Scene, h: int, w: int) -> Plane:
    """Stones, scales or grains side by side: every cell a tone, darker towards its border."""
    random = scene.random
    spacing_px = 2 ** random.uniform(2, 5.5)
    count = max(2, round(h * w / spacing_px**2))
    seeds = np.ones((h, w), np.uint8)
    rows, columns = random.integers(0, h, count), random.integers(0, w, count)
    seeds[rows, columns] = 0
    distance_px, label = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    tones = random.normal(0, 1, count + 1).astype(np.float32)
    inside = 1 - 1.5 * distance_px / spacing_px
    depth = random.uniform(-0.5, 1.5)
    return np.asarray(random.uniform(0, 1) * tones[label] + depth * inside, np.float32)


def _relief(scene: _Scene, h: int, w: int) -> Plane:
    """A rough surface lit from the side."""
    random = scene.random
    pick = random.random()
    height = (_cells if pick < 0.4 else _bent if pick < 0.6 else _rough)(scene, h, w)  # noqa: PLR2004
    if random.random() < 0.7:  # noqa: PLR2004
        height = np.asarray(cv2.GaussianBlur(height, (0, 0), 2 ** random.uniform(-1, 2)))
    angle = random.uniform(0, 2 * np.pi)
    slope = np.zeros((h, w), np.float32)
    slope[:, 1:] += np.cos(angle) * np.diff(height, axis=1)
    slope[1:] += np.sin(angle) * np.diff(height, axis=0)
    steep = slope / (slope.std() + 1e-6)
    return np.asarray(1.5 * np.tanh(random.uniform(0.3, 1.5) * steep), np.float32)


def _warped(scene: _Scene, h: int, w: int) -> Plane:
    """A texture pulled about by noise: wood, marble, skin, petals."""
    random = scene.random
    pull_px = 2 ** random.uniform(1, 5)
    rows, columns = np.mgrid[:h, :w].astype(np.float32)
    for places in (rows, columns):
        np.add(places, np.float32(pull_px) * _smooth(_rough(scene, h, w)), out=places)
    pick = random.random()
    plain = (_rough if pick < 0.5 else _grating if pick < 0.7 else _hair)(scene, h, w)  # noqa: PLR2004
    return np.asarray(
        cv2.remap(plain, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    )


_TEXTURES: tuple[Callable[[_Scene, int, int], Plane], ...] = (
    _rough,
    _bent,
    _grating,
    _lattice,
    _hair,
    _speckled,
    _cells,
    _relief,
    _warped,
)
_SHARES = (0.3, 0.1, 0.06, 0.03, 0.08, 0.06, 0.09, 0.15, 0.13)


def _smooth(plane: Plane) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), 8), np.float32)


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
    leaf = _surface(scene, bottom - top, right - left)
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
