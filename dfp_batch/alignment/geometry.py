"""Warps of points: matrices, and the motions that a model allows.

A warp is a matrix (3, 3) that maps (x, y, 1). ``q`` is (x, y) from the centre of a plane in units
of half its diagonal; a motion is a warp of ``q``.
"""

from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Warp = NDArray[np.float64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Image = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
Model = Literal["none", "translation", "similarity", "affine", "homography"]

MODELS: tuple[str, ...] = get_args(Model)

Points = TypeVar("Points", Plane, Floats)

TINY = np.float32(1e-20)

_FARTHEST = 0.25  # of a step from the identity: 14 degrees, or a quarter of the size
_FARTHEST_SHIFT = 0.35  # of half the diagonal


def is_plausible(step: Warp) -> bool:
    """Whether a camera may have moved like this from one frame to the next."""
    most = np.full((3, 3), _FARTHEST)
    most[:2, 2] = _FARTHEST_SHIFT
    return bool((np.abs(step / step[2, 2] - np.eye(3)) <= most).all())


def normalisation(h: int, w: int) -> Warp:
    """Matrix (3, 3) from pixels to q."""
    radius_px = np.hypot(h, w) / 2
    shifted = np.array([[1, 0, -(w - 1) / 2], [0, 1, -(h - 1) / 2], [0, 0, radius_px]])
    return np.asarray(shifted / radius_px)


def transformed(warp: Warp, points: Points) -> Points:
    """Points (n, 2) through a warp."""
    matrix = warp.astype(points.dtype)
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped[:, :2] / mapped[:, 2:]


def inverse(warp: Warp) -> Warp:
    """The warp that undoes a warp."""
    return np.asarray(np.linalg.inv(warp), np.float64)


def reduced_motion(warp: Warp, size: tuple[int, int], smaller: tuple[int, int]) -> Warp:
    """The same motion of images of ``size`` (h, w) that are made smaller."""
    down, across = (one / other for one, other in zip(size, smaller, strict=True))
    enlarge = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    reduced: Warp = inverse(enlarge) @ warp @ enlarge
    return reduced


def generators_of(model: Model) -> Floats:
    """Velocities (p, 3, 3) of the motions of a model."""
    unit = np.eye(9).reshape(3, 3, 3, 3)
    motions = [unit[0, 2], unit[1, 2]]
    if model == "similarity":
        motions += [unit[0, 0] + unit[1, 1], unit[1, 0] - unit[0, 1]]
    if model in ("affine", "homography"):
        motions += [unit[0, 0], unit[0, 1], unit[1, 0], unit[1, 1]]
    if model == "homography":
        motions += [unit[2, 0], unit[2, 1]]
    return np.stack(motions)


def velocity(points: Points, generators: Floats) -> Points:
    """Velocity (p, 2, n) of points (n, 2) under every generator."""
    homogeneous = np.column_stack([points, np.ones_like(points[:, :1])])
    velocity = generators.astype(points.dtype) @ homogeneous.T
    return velocity[:, :2] - velocity[:, 2:] * points.T
