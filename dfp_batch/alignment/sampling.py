"""What frames are compared by: bands of detail at all scales, one sample in every cell."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.alignment.geometry import Mask, Plane, Warp, inverse, normalisation, transformed

# Samples.
_WORKING_PX = 1024  # longest side of the finest level
_COARSEST_PX = 12  # shortest side of the coarsest level, at least
_BAND_PX = (2.0, 4.0)  # standard deviations whose difference is the band, in pixels of the level
_CELL_PX = 4  # one sample in every cell

# Score.
_SCORED = 128  # samples, at least, of a level that counts
_COVERED = 0.5  # of the samples, at least, that both frames cover


@dataclass(frozen=True, eq=False)
class Level:
    """A plane, reduced and band-passed, and one sample in every cell of it.

    Attributes:
        image: (h, w, 3), float32: the band and its slopes along x and y, per unit of q.
        pixel: (3, 3), pixels of this level of q.
        grid: Rows and columns of the samples.
        points: q of the samples, (n, 2), float32, row by row.
        values: The band at the samples, (n,), float32.
    """

    image: Plane
    pixel: Warp
    grid: tuple[int, int]
    points: Plane
    values: Plane


@dataclass(frozen=True, eq=False)
class Pyramid:
    """Levels of a plane, the coarsest first, each half as large as the next.

    Attributes:
        levels: All of them.
        normal: (3, 3), q of pixels of the plane.
    """

    levels: list[Level]
    normal: Warp

    def level(self, most_px: int) -> Level:
        """The finest level that is no larger than that."""
        small = [level for level in self.levels if max(level.image.shape[:2]) <= most_px]
        return small[-1] if small else self.levels[0]


def pyramid_of(plane: Plane) -> Pyramid:
    """All levels of a plane (h, w), of which the finest has at most 1024 px a side."""
    h, w = plane.shape
    levels: list[Level] = []
    share = min(1.0, _WORKING_PX / max(h, w))
    while not levels or share * min(h, w) >= _COARSEST_PX:
        size = (max(1, round(w * share)), max(1, round(h * share)))
        if size != plane.shape[::-1]:
            plane = np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))
        levels.append(_level(plane, (h, w)))
        share /= 2
    return Pyramid(levels[::-1], normalisation(h, w))


def _level(plane: Plane, full: tuple[int, int]) -> Level:
    """Level of a reduced plane (h, w), which was (H, W) at first."""
    h, w = plane.shape
    share = np.array([w / full[1], h / full[0]])
    reduction = np.diag([*share, 1.0])
    reduction[:2, 2] = (share - 1) / 2  # a pixel's place is (i + 0.5) * share - 0.5
    pixel = reduction @ inverse(normalisation(*full))
    band = _band(plane)
    slopes = _slopes(band, pixel[0, 0], pixel[1, 1])
    rows, columns = _strongest(slopes[0] ** 2 + slopes[1] ** 2)
    points = transformed(inverse(pixel), np.stack([columns, rows], 1).astype(np.float32))
    grid = (h // _CELL_PX, w // _CELL_PX)
    return Level(np.dstack([band, *slopes]), pixel, grid, points, band[rows, columns])


def _band(plane: Plane) -> Plane:
    fine, coarse = (
        cv2.GaussianBlur(plane, (0, 0), px, borderType=cv2.BORDER_REFLECT_101) for px in _BAND_PX
    )
    return np.asarray(fine - coarse)


def _slopes(band: Plane, x_unit_px: float, y_unit_px: float) -> tuple[Plane, Plane]:
    """Central differences along x and y, per so many pixels."""
    across = np.array([[-0.5, 0, 0.5]], np.float32)
    kernels = (across * np.float32(x_unit_px), across.T * np.float32(y_unit_px))
    along_x, along_y = (
        np.asarray(cv2.filter2D(band, -1, kernel, borderType=cv2.BORDER_REFLECT_101), np.float32)
        for kernel in kernels
    )
    return along_x, along_y


def _strongest(strength: Plane) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the largest value in every whole cell."""
    h, w = (side // _CELL_PX for side in strength.shape)
    cells = strength[: h * _CELL_PX, : w * _CELL_PX].reshape(h, _CELL_PX, w, _CELL_PX)
    place = cells.transpose(0, 2, 1, 3).reshape(h * w, -1).argmax(1)
    row, column = np.divmod(np.arange(h * w), w)
    return row * _CELL_PX + place // _CELL_PX, column * _CELL_PX + place % _CELL_PX


def sampled(level: Level, motion: Warp, points: Plane) -> tuple[Plane, Mask]:
    """``image`` (n, 3) where a motion takes points (n, 2); and which of them it takes inside."""
    h, w = level.image.shape[:2]
    places = transformed(level.pixel @ motion, points)
    x, y = places.T
    covered = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    # A table of many rows and columns, because remap has a limit on either.
    table = np.resize(places, (-(-len(places) // 256), 256, 2))
    x_table, y_table = np.ascontiguousarray(table[..., 0]), np.ascontiguousarray(table[..., 1])
    seen = cv2.remap(
        level.image, x_table, y_table, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(seen, np.float32).reshape(-1, 3)[: len(places)], covered


def match_score(template: Pyramid, frame: Pyramid, step: Warp) -> float:
    """Mean over the scales of the correlation of the bands where both frames are."""
    pairs = list(zip(template.levels, frame.levels, strict=True))
    scored = [pair for pair in pairs if len(pair[0].points) >= _SCORED] or pairs[-1:]
    return float(np.mean([_correlation(*pair, step) for pair in scored]))


def _correlation(template: Level, frame: Level, step: Warp) -> float:
    seen, covered = sampled(frame, step, template.points)
    if not covered.size or covered.mean() < _COVERED:
        return 0.0
    one, other = template.values[covered], seen[covered, 0]
    power = (one @ one) * (other @ other)
    return float(one @ other / np.sqrt(power)) if power > 0 else 0.0
