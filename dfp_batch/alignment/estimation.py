"""The motion between frames that explains most of their detail: Gauss-Newton, coarse to fine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from dfp_batch.alignment.geometry import (
    TINY,
    Floats,
    Mask,
    Model,
    Plane,
    Warp,
    generators_of,
    inverse,
    is_plausible,
    transformed,
    velocity,
)
from dfp_batch.alignment.sampling import Level, Pyramid, sampled

_WINDOW = 7  # samples a side
_MISFIT = 0.01  # share of the power of a window that is never explained
_ITERATIONS = 12
_CONVERGED_PX = 0.005  # of a level
_RANK = 1e-6  # smallest eigenvalue that counts, of the largest

_TILES = 6  # a side; what one tile says of the motion is independent of what the others say


@dataclass(frozen=True, eq=False)
class Estimate:
    """A motion (3, 3) from the reference to a frame, and the covariance (p, p) of its error."""

    motion: Warp
    covariance: Floats


class Anchor(Protocol):
    """A frame whose motion is known, to which another is registered."""

    @property
    def pyramid(self) -> Pyramid:
        """Of the frame."""
        ...

    @property
    def found(self) -> Estimate:
        """Its motion."""
        ...


@dataclass(frozen=True, eq=False)
class _Template:
    """Samples that a frame is registered to.

    Attributes:
        level: That they are from.
        points: q of the samples in the reference, (n, 2).
        flow: Velocity of the points under every generator, (p, 2, n).
    """

    level: Level
    points: Plane
    flow: Plane


@dataclass(frozen=True, eq=False)
class _Equations:
    """Normal equations of one level.

    Attributes:
        hessian: (p, p).
        pulls: What every sample adds to the right-hand side, (p, n).
        grid: Rows and columns of the samples.
    """

    hessian: Floats
    pulls: Plane
    grid: tuple[int, int]


_Pairs = list[tuple[_Template, Level]]


def estimate_motion(
    frame: Pyramid, anchors: Sequence[Anchor], motion: Warp, model: Model
) -> Estimate:
    """Registers a frame to several others at once, from a first guess; levels are added to."""
    generators = generators_of(model)
    templates = [
        [_template(level, anchor.found.motion, generators) for level in anchor.pyramid.levels]
        for anchor in anchors
    ]
    pairs: _Pairs = []
    for level, *row in zip(frame.levels, *templates, strict=True):
        pairs += [(template, level) for template in row]
        motion = _refined(pairs, motion, generators)
    return Estimate(
        motion, _covariance(pairs, [anchor.found.covariance for anchor in anchors], motion)
    )


def _template(level: Level, motion: Warp, generators: Floats) -> _Template:
    points = transformed(inverse(motion), level.points)
    return _Template(level, points, velocity(points, generators))


def _refined(pairs: _Pairs, motion: Warp, generators: Floats) -> Warp:
    """The motion after Gauss-Newton steps on all pairs."""
    unit_px = pairs[-1][1].pixel[0, 0]
    for _ in range(_ITERATIONS):
        equations = [_equations(template, frame, motion) for template, frame in pairs]
        hessian = np.sum([one.hessian for one in equations], 0)
        pull = np.sum([one.pulls.sum(1, dtype=np.float64) for one in equations], 0)
        change = np.linalg.pinv(hessian, _RANK, hermitian=True) @ pull
        step = np.eye(3) + np.tensordot(change, generators, 1)
        if not is_plausible(step):
            break
        motion = motion @ step
        motion = motion / motion[2, 2]
        if np.abs(change).max() * unit_px < _CONVERGED_PX:
            break
    return motion


def _equations(template: _Template, frame: Level, motion: Warp) -> _Equations:
    """Of the residual ``template - gain * frame``, linear in a small motion of the reference."""
    seen, covered = sampled(frame, motion, template.points)
    gain, weight = _match(template.level, seen[:, 0], covered)
    slopes = gain * (motion[:2, :2].T.astype(np.float32) @ seen[:, 1:].T)
    jacobian = template.flow[:, 0] * slopes[0] + template.flow[:, 1] * slopes[1]
    residual = template.level.values - gain * seen[:, 0]
    weighted = jacobian * weight
    hessian = (weighted @ jacobian.T).astype(np.float64)
    return _Equations(hessian, weighted * residual, template.level.grid)


def _match(template: Level, seen: Plane, covered: Mask) -> tuple[Plane, Plane]:
    """Gain of the frame in the window about every sample, and the weight of the residual.

    The gain is that of least squares, 0 where the frames do not correlate. It explains the share
    r^2 of the power; the weight is ``r^2 / ((1 - r^2) power)``, the inverse of the variance that is
    left, times once more r^2: windows that correlate little mislead.
    """
    there, here = template.values * covered, seen * covered
    power, seen_power, common = (
        _window_mean(product, template.grid) for product in (there**2, here**2, there * here)
    )
    gain = np.maximum(common, 0) / (seen_power + TINY)
    explained = gain * common / (power + TINY)
    weight = covered * explained / ((1 + _MISFIT - explained) * power + TINY)
    return gain, weight


def _window_mean(values: Plane, grid: tuple[int, int]) -> Plane:
    table, window = values.reshape(grid), (_WINDOW, _WINDOW)
    return np.asarray(cv2.boxFilter(table, -1, window, borderType=cv2.BORDER_CONSTANT).ravel())


def _covariance(pairs: _Pairs, inherited: list[Floats], motion: Warp) -> Floats:
    """Of the error of a motion, (p, p).

    Tiles of the image pull the motion this way and that; at the solution their pulls sum to 0, and
    their scatter tells how far they agree (the sandwich estimator, by clusters). The errors of the
    frames that this one was registered to are added with their shares.
    """
    equations = [_equations(template, frame, motion) for template, frame in pairs]
    hessians = np.stack([one.hessian for one in equations])
    pulls = np.sum([_tile_pulls(one) for one in equations], 0)
    scatter = pulls @ pulls.T
    for end, covariance in enumerate(inherited):
        share = hessians[end :: len(inherited)].sum(0)
        scatter = scatter + share @ covariance @ share
    inverse = np.linalg.pinv(hessians.sum(0), _RANK, hermitian=True)
    return np.asarray(inverse @ scatter @ inverse)


def _tile_pulls(equations: _Equations) -> Floats:
    """Sum of the pulls in every tile of the image, (p, tiles)."""
    rows, columns = (np.eye(_TILES)[np.arange(side) * _TILES // side] for side in equations.grid)
    pulls = equations.pulls.reshape(-1, *equations.grid)
    return np.asarray((rows.T @ pulls @ columns).reshape(len(pulls), -1))
