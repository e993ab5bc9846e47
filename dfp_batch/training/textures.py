"""Textures of many kinds, for surfaces that photographs have and flat leaves have not.

Rough, bent and repeated ones up to the finest that pixels hold, stones and other reliefs lit from
the side, hair, speckles, any of them pulled about, and what ``structures`` draws.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from dfp_batch.training.structures import STRUCTURES, Plane, Random

_ROOM_PX, _STRUCTURED_SHARE = 24, 0.3
_FIELDS = 4  # noise fields of a palette, each of its own kind


@dataclass(frozen=True)
class Palette:
    """What the textures of one scene have in common.

    Attributes:
        fields: Noise, (S, S) each, mean 0 and standard deviation 1; no surface is larger.
        contrast: Strength of the textures.
        random: Source of all randomness.
    """

    fields: tuple[Plane, ...]
    contrast: float
    random: Random

    @classmethod
    def drawn(cls, side_px: int, random: Random) -> "Palette":
        """One for surfaces of up to (side_px, side_px)."""
        fields = tuple(_noise(side_px, random) for _ in range(_FIELDS))
        return cls(fields, float(random.uniform(0.03, 0.25)), random)


def _noise(side_px: int, random: Random) -> Plane:
    """Noise with a power-law spectrum, often with one direction stronger or a band of its own."""
    frequency_y = np.fft.fftfreq(side_px)[:, None].astype(np.float32)
    frequency_x = np.fft.rfftfreq(side_px)[None].astype(np.float32)
    angle, stretch = random.uniform(0, np.pi), 2 ** random.uniform(-3, 0)
    along = np.cos(angle) * frequency_x + np.sin(angle) * frequency_y
    across = np.cos(angle) * frequency_y - np.sin(angle) * frequency_x
    radius = np.hypot(along, across if random.random() < 0.5 else across * stretch)  # noqa: PLR2004
    amplitude = (radius + 1 / side_px) ** -random.uniform(0.4, 1.9)
    if random.random() < 0.3:  # noqa: PLR2004
        octaves = np.log2(np.maximum(radius, 1e-6)) + random.uniform(1.5, 5)
        amplitude *= np.exp(-((octaves / random.uniform(0.3, 1)) ** 2))
    phases = np.exp(np.complex64(2j * np.pi) * random.random(amplitude.shape, np.float32))
    spectrum = amplitude * phases
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (side_px, side_px))
    return np.asarray(field / (field.std() + 1e-12), np.float32)


def surface(palette: Palette, h: int, w: int) -> Plane:
    """Grey with a shade and perhaps a texture, (h, w)."""
    random = palette.random
    angle, change = random.uniform(0, 2 * np.pi), random.normal(0, 0.12)
    y, x = np.linspace(-1, 1, h)[:, None], np.linspace(-1, 1, w)
    along = np.cos(angle) * x + np.sin(angle) * y
    shade = random.uniform(0.05, 0.95) + change * (along + random.uniform(-1, 1) * along**2)
    if random.random() < 0.2:  # noqa: PLR2004
        return np.asarray(shade, np.float32)
    strength = palette.contrast * 2 ** random.uniform(-2.5, 1)
    return np.asarray(shade + strength * _texture(palette, h, w), np.float32)


def _texture(palette: Palette, h: int, w: int) -> Plane:
    """One of all kinds; what has a structure that takes room only where there is some."""
    random = palette.random
    if min(h, w) >= _ROOM_PX and random.random() < _STRUCTURED_SHARE:
        return np.float32(2) * STRUCTURES[int(random.integers(len(STRUCTURES)))](h, w, random)
    return TEXTURES[int(random.choice(len(TEXTURES), p=_SHARES))](palette, h, w)


def _rough(palette: Palette, h: int, w: int) -> Plane:
    """A piece of a noise field."""
    field = palette.fields[int(palette.random.integers(len(palette.fields)))]
    top, left = (
        int(palette.random.integers(0, size - side + 1))
        for size, side in zip(field.shape, (h, w), strict=True)
    )
    piece = field[top : top + h, left : left + w]
    return piece[::-1] if palette.random.random() < 0.5 else piece  # noqa: PLR2004


def _bent(palette: Palette, h: int, w: int) -> Plane:
    """Noise through a curve: patches with edges, or veins."""
    piece = _rough(palette, h, w)
    if palette.random.random() < 0.5:  # noqa: PLR2004
        edge = 2 ** palette.random.uniform(0, 4)
        return np.asarray(np.tanh(edge * (piece - palette.random.normal(0, 0.7))), np.float32)
    return np.asarray(1.5 - 2 * np.abs(piece), np.float32)


def _grating(palette: Palette, h: int, w: int) -> Plane:
    """Waves or stripes, straight or a little bent, with periods from 2 px up."""
    random = palette.random
    angle, period_px = random.uniform(0, np.pi), 2 * 2 ** random.uniform(0, 4.5)
    y, x = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)
    turns = (np.cos(angle) * x + np.sin(angle) * y) / period_px + random.random()
    if random.random() < 0.5:  # noqa: PLR2004
        turns = turns + random.uniform(0, 0.3) * _smooth(_rough(palette, h, w))
    wave = np.sin(2 * np.pi * turns)
    if random.random() < 0.4:  # noqa: PLR2004
        wave = np.clip(wave * random.uniform(2, 8) + random.uniform(-2, 2), -1, 1)
    return np.asarray(wave, np.float32)


def _lattice(palette: Palette, h: int, w: int) -> Plane:
    """Bricks, tiles or fabric: two gratings together."""
    first, second = _grating(palette, h, w), _grating(palette, h, w)
    return np.maximum(first, second) if palette.random.random() < 0.5 else first * second  # noqa: PLR2004


def _hair(palette: Palette, h: int, w: int) -> Plane:
    """Many lines side by side: hair, grass, fur."""
    random = palette.random
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


def _speckled(palette: Palette, h: int, w: int) -> Plane:
    """Dots and grains of one size."""
    random = palette.random
    plane = np.zeros((h, w), np.float32)
    count = min(900, int(h * w * random.uniform(0.004, 0.02)) + 2)
    largest_px = random.uniform(1, 5)
    places = np.rint(random.uniform(0, 16, (count, 2)) * (w, h)).astype(np.int32)
    sizes = np.rint(16 * random.uniform(0.4, 1, count) * largest_px).astype(np.int32)
    for place, size, tone in zip(places, sizes, random.normal(0, 1.2, count), strict=True):
        cv2.circle(plane, place, int(size), float(tone), -1, cv2.LINE_8, 4)
    return plane


def _cells(palette: Palette, h: int, w: int) -> Plane:
    """Stones, scales or grains side by side: every cell a tone, darker towards its border."""
    random = palette.random
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


def _relief(palette: Palette, h: int, w: int) -> Plane:
    """A rough surface lit from the side."""
    random = palette.random
    pick = random.random()
    height = (_cells if pick < 0.4 else _bent if pick < 0.6 else _rough)(palette, h, w)  # noqa: PLR2004
    if random.random() < 0.7:  # noqa: PLR2004
        height = np.asarray(cv2.GaussianBlur(height, (0, 0), 2 ** random.uniform(-1, 2)))
    angle = random.uniform(0, 2 * np.pi)
    slope = np.zeros((h, w), np.float32)
    slope[:, 1:] += np.cos(angle) * np.diff(height, axis=1)
    slope[1:] += np.sin(angle) * np.diff(height, axis=0)
    steep = slope / (slope.std() + 1e-6)
    return np.asarray(1.5 * np.tanh(random.uniform(0.3, 1.5) * steep), np.float32)


def _warped(palette: Palette, h: int, w: int) -> Plane:
    """A texture pulled about by noise: wood, marble, skin, petals."""
    random = palette.random
    pull_px = 2 ** random.uniform(1, 5)
    rows, columns = np.mgrid[:h, :w].astype(np.float32)
    for places in (rows, columns):
        np.add(places, np.float32(pull_px) * _smooth(_rough(palette, h, w)), out=places)
    pick = random.random()
    plain = (_rough if pick < 0.5 else _grating if pick < 0.7 else _hair)(palette, h, w)  # noqa: PLR2004
    return np.asarray(
        cv2.remap(plain, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    )


TEXTURES: tuple[Callable[[Palette, int, int], Plane], ...] = (
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
