"""Dust and hot pixels: what stays at its place on the sensor while the scene moves over it.

Such a spot is sharp in every frame, so all of them would show it, each at another place of the
registered scene: a dotted trail. What gives it away is the same: detail of the scene moves, and is
blurred in most frames.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.alignment.drafts import drafts_of
from dfp_batch.alignment.geometry import Mask, Plane, Warp, inverse, transformed
from dfp_batch.alignment.registration import RegistrationResult
from dfp_batch.core.contracts import Images
from dfp_batch.core.image import Image

_FEWEST = 3  # frames: two alike may be chance
_WIDEST_PX = 11
_REACH_PX = 8  # around a spot, where there must be less to see than half of it
_QUIET = 0.95  # share of that
_LEAST = 5  # levels of 255 by which it differs from what is around it
_LOUDEST = 2  # times the faintest of all frames
_ALIKE = 0.9  # correlation of a frame with the mean of all
_APART_PX = 2  # between two places of it in the scene
_HALO_PX = 2  # of demosaicing and sharpening in the camera
_MOST_PER_PX = 1e-4  # more is a scene that stands still, or is registered wrongly
_SMOOTH_PX = 0.8
_FROM_PX = 3.0  # around a pixel that is filled in

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Spot:
    """One of them, and what is around it.

    Attributes:
        rows: Of the sensor.
        columns: Of the sensor.
        mask: The pixels of the spot and its halo among those.
    """

    rows: slice
    columns: slice
    mask: Mask

    @property
    def place(self) -> tuple[slice, slice]:
        """Index into an image (h, w, ...)."""
        return self.rows, self.columns


@dataclass(frozen=True, eq=False)
class Mended:
    """Images in which spots are filled in from what is around them.

    Attributes:
        images: As they are stored.
        spots: Where.
    """

    images: Images
    spots: Sequence[Spot]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> Image:
        """Image (h, w, C)."""
        mended = self.images[index].copy()
        for spot in self.spots:
            piece = mended[spot.place]
            mask = spot.mask.astype(np.uint8)
            for channel in range(piece.shape[2]):
                plane = np.ascontiguousarray(piece[..., channel])
                piece[..., channel] = cv2.inpaint(plane, mask, _FROM_PX, cv2.INPAINT_NS)
        return mended


def find_spots(
    images: Images, white: float, registered: RegistrationResult, size: tuple[int, int]
) -> tuple[Spot, ...]:
    """The small spots, darker or brighter than what is around them, that every frame shows.

    A spot counts if the scene moved by more than its size there, if it differs from its
    surroundings about as much in all frames, which are smoother than it is, and if it looks the
    same. Every frame is loaded once, and once more if there is something to compare.

    Args:
        images: The N frames (h, w, C).
        white: Value of white in them.
        registered: How they are registered; those that are not count neither.
        size: Height and width of a frame.
    """
    frames = [index for index, kept in enumerate(registered.kept) if kept]
    warps = [registered.warps[index] for index in frames]
    if len(frames) < _FEWEST or not _moved(warps, size):
        return ()
    planes = _Planes(images, white, frames)
    likely = list(_likely(planes, warps))
    found = _alike(planes, likely) if likely else []
    return tuple(found) if len(found) <= _MOST_PER_PX * size[0] * size[1] else ()


def _moved(warps: Sequence[Warp], size: tuple[int, int]) -> bool:
    """Whether any spot may have come apart."""
    corners = np.array([[x, y] for y in (0, size[0] - 1) for x in (0, size[1] - 1)], np.float64)
    return bool((_travel_px(warps, corners) > _APART_PX).any())


def _travel_px(warps: Sequence[Warp], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far what lies at places (n, 2) on the sensor comes apart in the scene, (n,)."""
    scene = np.stack([transformed(inverse(warp), places) for warp in warps])
    return np.asarray(np.hypot(*np.moveaxis(np.ptp(scene, axis=0), -1, 0)))


class _Planes:
    """Luma of the frames, (h, w), in 255ths."""

    def __init__(self, images: Images, white: float, frames: Sequence[int]) -> None:
        self._drafts, self._white, self._frames = drafts_of(images), white, frames

    def __iter__(self) -> Iterator[Bytes]:
        for frame in self._frames:
            plane = cv2.convertScaleAbs(self._drafts.look(frame).grey, alpha=255 / self._white)
            yield np.asarray(cv2.GaussianBlur(plane, (0, 0), _SMOOTH_PX), np.uint8)


def _likely(planes: _Planes, warps: Sequence[Warp]) -> Iterator[Spot]:
    """What may be a spot by its size and its contrast in all frames."""
    each = map(_contrast, planes)
    least, most = (one.copy() for one in (next(each),) * 2)
    for found in each:
        np.minimum(least, found, out=least)
        np.maximum(most, found, out=most)
    around = most.max(0)
    for faintest, loudest in zip(least, most, strict=True):
        yield from _of_one_kind(faintest, loudest, around, warps)


def _contrast(plane: Bytes) -> Bytes:
    """How far small detail is darker, and brighter, than what is around it, (2, h, w)."""
    window = np.ones((_WIDEST_PX + 2,) * 2, np.uint8)
    kinds = (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT)
    return np.stack([np.asarray(cv2.morphologyEx(plane, kind, window)) for kind in kinds])


def _of_one_kind(least: Bytes, most: Bytes, around: Bytes, warps: Sequence[Warp]) -> Iterator[Spot]:
    """Among detail (h, w) of the faintest and the loudest frame, with that of both kinds."""
    seen = (least >= _LEAST / 2).astype(np.uint8)
    _, labels, boxes, centres = cv2.connectedComponentsWithStats(seen, connectivity=8)
    travel = _travel_px(warps, np.asarray(centres, np.float64))
    sides = boxes[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(1)
    where = np.flatnonzero(seen)
    owners = np.asarray(labels, np.int64).ravel()[where]
    faintest, loudest = (np.zeros(len(sides), np.int64) for _ in range(2))
    for found, kind in ((faintest, least), (loudest, most)):
        np.maximum.at(found, owners, kind.ravel()[where])
    is_likely = (faintest >= _LEAST) & (loudest <= _LOUDEST * faintest + _LOUDEST)
    for label in np.flatnonzero(is_likely & (sides <= _WIDEST_PX) & (travel >= sides + _APART_PX)):
        x, y, width, height = (int(edge) for edge in boxes[label, :4])
        rows = slice(max(0, y - _REACH_PX), y + height + _REACH_PX)
        columns = slice(max(0, x - _REACH_PX), x + width + _REACH_PX)
        inner = labels[rows, columns] == label
        grown = cv2.dilate(inner.astype(np.uint8), np.ones((2 * _HALO_PX + 1,) * 2, np.uint8))
        spot = Spot(rows, columns, np.asarray(grown) > 0)
        if np.quantile(around[spot.place][~spot.mask], _QUIET) <= faintest[label] / 2:
            yield spot


def _alike(planes: _Planes, likely: Sequence[Spot]) -> list[Spot]:
    """Those that look the same in all frames."""
    views: list[list[Plane]] = [[] for _ in likely]
    for plane in planes:
        for spot, seen in zip(likely, views, strict=True):
            seen.append(_departure(plane, spot))
    return [
        spot
        for spot, seen in zip(likely, views, strict=True)
        if min(_correlation(view, np.mean(seen, axis=0)) for view in seen) >= _ALIKE
    ]


def _departure(plane: Bytes, spot: Spot) -> Plane:
    """The pixels of a spot less the slope of what is around it."""
    values = plane[spot.place].astype(np.float64)
    down, across = np.indices(values.shape)
    slope = np.stack([np.ones_like(values), down, across], -1)
    around = ~spot.mask
    fitted, *_ = np.linalg.lstsq(slope[around], values[around], rcond=None)
    return np.asarray((values - slope @ fitted)[spot.mask], np.float32)


def _correlation(one: Plane, other: Plane) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9))
