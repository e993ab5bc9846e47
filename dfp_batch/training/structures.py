"""What people and plants make: cloth, circuits, veins, print. Planes (h, w) of about [-2, 2].

They have what noise has not: long thin lines, corners, and order that goes on for a long way.
"""

from collections.abc import Callable
from string import ascii_letters, digits

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Make = Callable[[int, int, np.random.Generator], Plane]
Points = NDArray[np.float64]
Random = np.random.Generator

_BITS = 4  # of a pixel, in which lines are drawn
_CHARACTERS = list(ascii_letters + digits + "    .,")
_MOST_LINES = 40  # of a kind, on one surface


def woven(h: int, w: int, random: Random) -> Plane:
    """Threads over and under each other, in linen or in twill, each with a tone of its own."""
    period_px, angle = 3 * 2 ** random.uniform(0, 2.5), random.uniform(0, np.pi)
    y, x = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)
    along = (np.cos(angle) * x + np.sin(angle) * y) / np.float32(period_px) + h + w
    across = (np.cos(angle) * y - np.sin(angle) * x) / np.float32(period_px) + h + w
    column, row = along.astype(np.int32), across.astype(np.int32)
    repeat = int(random.integers(2, 5))
    is_over = (column + int(random.integers(1, 3)) * row) % repeat == 0
    tones = random.normal(0, random.uniform(0, 1), 64).astype(np.float32)
    tone = np.where(is_over, tones[column % 64], tones[row % 64] - random.uniform(0, 1.5))
    place = np.where(is_over, along - column, across - row) - np.float32(0.5)
    roundness = random.uniform(2, 10)
    return np.asarray(tone + 0.8 - roundness * place**2, np.float32)


def circuit(h: int, w: int, random: Random) -> Plane:
    """Tracks on a grid that run side by side and turn, with pads and vias."""
    plane = np.zeros((h, w), np.float32)
    pitch_px = 3 * 2 ** random.uniform(0, 2.5)
    thickness = max(1, round(pitch_px * random.uniform(0.2, 0.6)))
    tone = random.choice((-1, 1)) * random.uniform(0.8, 1.6)
    count = int(min(_MOST_LINES, 2 + h * w / pitch_px**2 / 12))
    for _ in range(count):
        track = pitch_px * _track(np.array((w, h)) / pitch_px, random)
        for lane in range(int(random.integers(1, 5))):
            _draw(plane, track + lane * pitch_px, tone, thickness)
        _pad(plane, track[-1], pitch_px, tone, random)
    return plane


def _track(size: Points, random: Random) -> Points:
    """Corners (5, 2), in steps of the grid: across, aslant, across."""
    start = np.floor(random.uniform(-0.1, 1.1, 2) * size)
    axes = np.array([(1, 0), (1, 1), (0, 1), (1, -1)])
    first = int(random.integers(0, 4))
    turns = (first + np.array([0, 1, 0, -1])) % 4
    lengths = random.integers(1, max(3, int(size.max() / 3)), 4) * random.choice((-1, 1))
    return np.asarray(
        start + np.concatenate([np.zeros((1, 2)), axes[turns] * lengths[:, None]]).cumsum(0)
    )


def _pad(plane: Plane, place: Points, pitch_px: float, tone: float, random: Random) -> None:
    """A via, a ring, or a row of pads, at the end of a track."""
    x, y = (int(v) for v in place)
    if random.random() < 0.5:  # noqa: PLR2004
        cv2.circle(plane, (x, y), max(1, round(0.8 * pitch_px)), 1.2 * tone, -1)
        cv2.circle(plane, (x, y), max(0, round(0.3 * pitch_px)), -0.5 * tone, -1)
        return
    long, short = round(pitch_px * random.uniform(0.5, 2)), max(1, round(0.35 * pitch_px))
    for number in range(int(random.integers(1, 9))):
        top = y + round(number * pitch_px)
        cv2.rectangle(plane, (x - long, top - short), (x + long, top + short), 1.3 * tone, -1)


def veined(h: int, w: int, random: Random) -> Plane:
    """Lines that wander and branch: veins, roots, cracks, tangled threads."""
    plane = np.zeros((h, w), np.float32)
    step_px, wander = 2 ** random.uniform(1, 4), random.uniform(0.02, 0.5)
    tone, thickest = random.normal(0, 1), 2 ** random.uniform(0, 2.5)
    lines: list[Points] = []
    for number in range(int(min(_MOST_LINES, 3 + (h + w) / 12))):
        start = random.uniform(0, 1, 2) * (w, h)
        if lines and random.random() < 0.8:  # noqa: PLR2004
            parent = lines[int(random.integers(len(lines)))]
            start = parent[int(random.integers(len(parent)))]
        angles = random.uniform(0, 2 * np.pi) + (wander * random.standard_normal(24)).cumsum()
        steps = step_px * np.stack([np.cos(angles), np.sin(angles)], 1)
        lines.append(start + steps.cumsum(0))
        thickness = max(1, round(thickest / (1 + 0.3 * number)))
        _draw(plane, lines[-1], tone + 0.3 * random.standard_normal(), thickness)
    return plane


def printed(h: int, w: int, random: Random) -> Plane:
    """Lines of text, upright or not, in one of OpenCV's fonts: a page, a label."""
    side_px = max(h, w)
    mask = np.zeros((side_px, side_px), np.uint8)
    size, font = random.uniform(0.25, 0.9), int(random.integers(0, 8))
    leading_px, top_px = max(4, round(size * random.uniform(26, 40))), int(random.integers(0, 20))
    for line in range(min(_MOST_LINES, side_px // leading_px + 1)):
        length = int(random.integers(4, 8 + int(side_px / (14 * size))))
        text = "".join(random.choice(_CHARACTERS, min(length, 90)))
        cv2.putText(mask, text, (0, top_px + line * leading_px), font, size, 255, 1, cv2.LINE_AA)
    turned = np.rot90(mask, int(random.integers(4)))[:h, :w]
    return np.asarray(random.choice((-1, 1)) * np.float32(2 / 255) * turned, np.float32)


STRUCTURES: tuple[Make, ...] = (woven, circuit, veined, printed)


def _draw(plane: Plane, points: Points, tone: float, thickness: int) -> None:
    """An open line through points (n, 2)."""
    line = np.rint(points * 2**_BITS).astype(np.int32)
    cv2.polylines(plane, [line], False, float(tone), thickness, cv2.LINE_8, _BITS)
