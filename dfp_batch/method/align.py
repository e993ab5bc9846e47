"""Registration of a focus stack: where every frame saw what the reference frame saw.

A warp is a matrix (3, 3) that maps (x, y, 1) in the reference to (x, y, 1) in a frame; pixel
centres are integers (OpenCV's ``WARP_INVERSE_MAP``).

Every frame is registered to its neighbour in focus order, whose blur is most like its own, and at
the same time to the reference, so that errors do not add up. Frames are compared in bands of detail
at all scales at once. Within a small window one frame is the other times a gain, plus what differs:
noise, and another blur. The motion found is the one that explains most,

    argmin_W  sum over windows of  log(1 - r(W)^2),

r being the correlation of the band in a window. So each place counts at those scales at which it
can be seen in both frames, and neither exposure nor defocus matters. It is the criterion of ECC
(Evangelidis and Psarakis, 2008) window by window; Gauss-Newton, coarse to fine.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar, cast, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.errors import ConfigError

Plane = NDArray[np.float32]
Warp = NDArray[np.float64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Image = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
Model = Literal["none", "translation", "similarity", "affine", "homography"]
Flag = Literal["reference", "registered", "identity", "failed"]

MODELS: tuple[str, ...] = get_args(Model)

_Points = TypeVar("_Points", Plane, Floats)

# Samples.
_WORKING_PX = 1024  # longest side of the finest level
_COARSEST_PX = 12  # shortest side of the coarsest level, at least
_BAND_PX = (2.0, 4.0)  # standard deviations whose difference is the band, in pixels of the level
_CELL_PX = 4  # one sample in every cell
_TINY = np.float32(1e-20)
# Estimation.
_WINDOW = 7  # samples a side
_MISFIT = 0.01  # share of the power of a window that is never explained
_ITERATIONS = 12
_CONVERGED_PX = 0.005  # of a level
_RANK = 1e-6  # smallest eigenvalue that counts, of the largest
# Motion that cannot be measured, and motion that cannot be.
_STILL_PX = 0.1  # of the finest level: less motion is not worth a resampling
_SURE = 10.0  # standard errors that show that the camera moved
_LIKELY = 3.0  # standard errors that show it with a clear gain, or when it moved elsewhere
_CLEAR = 0.15  # of what the score lacks of 1: a gain that is clear
_TILES = 6  # a side; what one tile says of the motion is independent of what the others say
_FARTHEST = 0.25  # of a step from the identity: 14 degrees, or a quarter of the size
_FARTHEST_SHIFT = 0.35  # of half the diagonal
# Score.
_SCORED = 128  # samples, at least, of a level that counts
_COVERED = 0.5  # of the samples, at least, that both frames cover
# Other first guesses.
_TRUSTED = 0.6  # with a lesser score they are tried
_PHASE_PX = 256  # longest side of the level for phase correlation
_FEATURES_PX = 512  # longest side of the level for features
_FEATURES = 1000
_FEATURE_CONTRAST = 0.01
_VISIBLE = 40  # grey levels of a standard deviation
_DISTINCT = 0.8  # largest distance of a match, of that of the second best
_MATCHES = 8  # at least
_RANSAC_PX = 3.0
# Use of warps.
_TOLERANCE_PX = 1e-3
_FLAT = 1e-12  # a slope that moves nothing within any image
_BLOCKS = 256  # a side, that a mask is reduced to
_TILE_PX = 64  # a side


class Planes(Protocol):
    """Lumas (h, w) in [0, 1] of a stack, in focus order, of one size; they may be made lazily."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, index: int, /) -> Plane:
        """Luma (h, w) of one frame."""
        ...


@dataclass(frozen=True)
class Registration:
    """How a stack is registered.

    Attributes:
        model: Kind of warp; "none" takes every frame as registered.
        reference: Index of the frame that stays as it is; None is (N - 1) // 2.
        floor: Least score of a frame that counts as registered, in (0, 1). The score is the
            correlation of two frames in bands of detail, the mean over the scales of an image.
            Neighbours in a stack score 0.4 to 1 even where hardly anything is sharp in both; other
            photographs, blank frames and frames turned by 90 degrees at most 0.12.

    Raises:
        ConfigError: for a field out of its range.
    """

    model: Model = "similarity"
    reference: int | None = None
    floor: float = 0.2

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ConfigError(f"align.model must be one of {', '.join(MODELS)}, got {self.model!r}")
        if self.reference is not None and self.reference < 0:
            raise ConfigError(f"align.reference must be >= 0, got {self.reference}")
        if not 0 < self.floor < 1:
            raise ConfigError(f"align.floor must be between 0 and 1, got {self.floor}")

    def reference_of(self, count: int) -> int:
        """Index of the reference in a stack of ``count`` frames.

        Raises:
            ConfigError: if the stack has no such frame.
        """
        if self.reference is None:
            return (count - 1) // 2
        if self.reference >= count:
            raise ConfigError(
                f"align.reference must be 0 to {count - 1} in a stack of {count} frames, "
                f"got {self.reference}"
            )
        return self.reference


@dataclass(frozen=True, eq=False)
class Registered:
    """What came of the registration of N frames.

    Attributes:
        reference: Index of the reference.
        warps: (N, 3, 3), from the reference to every frame; exactly the identity for the
            reference and for frames that did not move or failed.
        before: Score of every frame as it came, against its neighbour, in [-1, 1].
        after: Score with the warp that is used.
        flags: Per frame "reference", "registered", "identity" (no motion that can be measured, or
            none that improves the score) or "failed" (no match with the rest of the stack).
    """

    reference: int
    warps: NDArray[np.float64]
    before: tuple[float, ...]
    after: tuple[float, ...]
    flags: tuple[Flag, ...]

    @property
    def kept(self) -> tuple[bool, ...]:
        """Whether every frame can be used."""
        return tuple(flag != "failed" for flag in self.flags)


def register(planes: Planes, registration: Registration) -> Registered:
    """Warps of a stack to its reference.

    Every plane is asked for once, from the reference to the last and then from the frame before the
    reference to the first. Three frames are held, reduced to 1024 px, whatever N is.

    Raises:
        ConfigError: if the stack has no such reference.
    """
    count = len(planes)
    reference = registration.reference_of(count)
    first = _first_link(_pyramid(planes[reference]), registration.model)
    links = {reference: first.light()}
    for side in (range(reference + 1, count), range(reference - 1, -1, -1)):
        last = first
        for index in side:
            link = _next_link(_pyramid(planes[index]), last, first, registration)
            links[index] = link.light()
            last = last if link.failed else link
    return _registered(reference, [links[index] for index in range(count)])


def _registered(reference: int, links: "list[_Link]") -> Registered:
    """One frame that surely moved makes it likely that others did."""
    moving = any(link.surely_moved for link in links)
    moved = [moving and link.moved(_LIKELY) for link in links]
    flags: list[Flag] = [
        "failed" if link.failed else "registered" if own else "identity"
        for link, own in zip(links, moved, strict=True)
    ]
    flags[reference] = "reference"
    return Registered(
        reference,
        np.stack([link.warp if own else np.eye(3) for link, own in zip(links, moved, strict=True)]),
        tuple(link.before for link in links),
        tuple(link.after if own else link.before for link, own in zip(links, moved, strict=True)),
        tuple(flags),
    )


# The chain. q is (x, y) from the centre of a plane in units of half its diagonal; a motion is a
# warp of q.


@dataclass(frozen=True, eq=False)
class _Estimate:
    """A motion (3, 3) from the reference to a frame, and the covariance (p, p) of its error."""

    motion: Warp
    covariance: Floats


@dataclass(frozen=True, eq=False)
class _Link:
    """A frame of the chain.

    Attributes:
        pyramid: Of the frame.
        found: What was measured, also where it is too small to be used.
        motion_px: Largest motion of a corner, in pixels of the finest level.
        error_px: Standard error of that.
        before: Score against the neighbour as the frame came.
        after: Score against the neighbour with what was found.
        failed: Whether the frame does not belong to the stack.
    """

    pyramid: "_Pyramid"
    found: _Estimate
    motion_px: float
    error_px: float
    before: float
    after: float
    failed: bool = False

    @property
    def warp(self) -> Warp:
        """What was found, in pixels."""
        normal = self.pyramid.normal
        return np.asarray(_inverse(normal) @ self.found.motion @ normal)

    @property
    def surely_moved(self) -> bool:
        """Whether the motion is beyond doubt."""
        clear = self.after - self.before > _CLEAR * (1 - self.before)
        return self.moved(_LIKELY if clear else _SURE)

    def moved(self, errors: float) -> bool:
        """Whether the frame moved by more than so many standard errors."""
        return not self.failed and self.motion_px > max(_STILL_PX, errors * self.error_px)

    def light(self) -> "_Link":
        """Without the levels."""
        return replace(self, pyramid=replace(self.pyramid, levels=[]))


def _first_link(pyramid: "_Pyramid", model: Model) -> _Link:
    size = len(_generators(model))
    return _Link(pyramid, _Estimate(np.eye(3), np.zeros((size, size))), 0.0, 0.0, 1.0, 1.0)


def _next_link(pyramid: "_Pyramid", last: _Link, first: _Link, registration: Registration) -> _Link:
    """The next frame, registered to its neighbour ``last`` and to the reference ``first``."""
    before = _score(last.pyramid, pyramid, np.eye(3))
    if registration.model == "none":
        return replace(last, pyramid=pyramid, before=before, after=before)
    after, found = _best_estimate(pyramid, last, first, registration.model)
    if after <= before:
        after, found = before, last.found
    moved_px, error_px = _corner_motion_px(found, pyramid, registration.model)
    failed = after < registration.floor
    return _Link(pyramid, found, moved_px, error_px, before, after, failed)


def _best_estimate(
    pyramid: "_Pyramid", last: _Link, first: _Link, model: Model
) -> tuple[float, _Estimate]:
    """Score and estimate from the motion of the neighbour or, if that is poor, other guesses."""
    ends = [last] if last is first else [last, first]
    best_score, best = -1.0, last.found
    for guess in _guesses(last.pyramid, pyramid, model):
        found = _estimate(pyramid, ends, guess @ last.found.motion, model)
        step = found.motion @ _inverse(last.found.motion)
        score = _score(last.pyramid, pyramid, step) if _is_plausible(step) else -1.0
        if score > best_score:
            best_score, best = score, found
        if best_score >= _TRUSTED:
            break
    return best_score, best


def _is_plausible(step: Warp) -> bool:
    most = np.full((3, 3), _FARTHEST)
    most[:2, 2] = _FARTHEST_SHIFT
    return bool((np.abs(step / step[2, 2] - np.eye(3)) <= most).all())


def _corner_motion_px(found: _Estimate, pyramid: "_Pyramid", model: Model) -> tuple[float, float]:
    """Largest motion of a corner and its standard error, in pixels of the finest level."""
    level = pyramid.levels[-1]
    h, w = level.image.shape[:2]
    corners = np.array([(x, y) for x in (-0.5, w - 0.5) for y in (-0.5, h - 0.5)])
    points = _apply(_inverse(level.pixel), corners)
    moves = _apply(found.motion, points) - points
    flow = _flow(points, _generators(model))
    variances = np.einsum("pxn,pr,rxn->n", flow, found.covariance, flow)
    lengths = np.array([np.hypot(*moves.T).max(), np.sqrt(variances.max())]) * level.pixel[0, 0]
    return float(lengths[0]), float(lengths[1])


# Pyramids of samples.


@dataclass(frozen=True, eq=False)
class _Level:
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
class _Pyramid:
    """Levels of a plane, the coarsest first, each half as large as the next.

    Attributes:
        levels: All of them.
        normal: (3, 3), q of pixels of the plane.
    """

    levels: list[_Level]
    normal: Warp

    def level(self, most_px: int) -> _Level:
        """The finest level that is no larger than that."""
        small = [level for level in self.levels if max(level.image.shape[:2]) <= most_px]
        return small[-1] if small else self.levels[0]


def _pyramid(plane: Plane) -> _Pyramid:
    h, w = plane.shape
    levels: list[_Level] = []
    share = min(1.0, _WORKING_PX / max(h, w))
    while not levels or share * min(h, w) >= _COARSEST_PX:
        size = (max(1, round(w * share)), max(1, round(h * share)))
        if size != plane.shape[::-1]:
            plane = np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))
        levels.append(_level(plane, (h, w)))
        share /= 2
    return _Pyramid(levels[::-1], _normal(h, w))


def _normal(h: int, w: int) -> Warp:
    """Matrix (3, 3) from pixels to q."""
    radius_px = np.hypot(h, w) / 2
    shifted = np.array([[1, 0, -(w - 1) / 2], [0, 1, -(h - 1) / 2], [0, 0, radius_px]])
    return np.asarray(shifted / radius_px)


def _level(plane: Plane, full: tuple[int, int]) -> _Level:
    """Level of a reduced plane (h, w), which was (H, W) at first."""
    h, w = plane.shape
    share = np.array([w / full[1], h / full[0]])
    reduction = np.diag([*share, 1.0])
    reduction[:2, 2] = (share - 1) / 2  # a pixel's place is (i + 0.5) * share - 0.5
    pixel = reduction @ _inverse(_normal(*full))
    band = _band(plane)
    slopes = _slopes(band, pixel[0, 0], pixel[1, 1])
    rows, columns = _strongest(slopes[0] ** 2 + slopes[1] ** 2)
    points = _apply(_inverse(pixel), np.stack([columns, rows], 1).astype(np.float32))
    grid = (h // _CELL_PX, w // _CELL_PX)
    return _Level(np.dstack([band, *slopes]), pixel, grid, points, band[rows, columns])


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


def _apply(warp: Warp, points: _Points) -> _Points:
    """Points (n, 2) through a warp."""
    matrix = warp.astype(points.dtype)
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped[:, :2] / mapped[:, 2:]


def _inverse(warp: Warp) -> Warp:
    return np.asarray(np.linalg.inv(warp), np.float64)


def _sample(level: _Level, motion: Warp, points: Plane) -> tuple[Plane, Mask]:
    """``image`` (n, 3) where a motion takes points (n, 2); and which of them it takes inside."""
    h, w = level.image.shape[:2]
    places = _apply(level.pixel @ motion, points)
    x, y = places.T
    covered = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    # A table of many rows and columns, because remap has a limit on either.
    table = np.resize(places, (-(-len(places) // 256), 256, 2))
    x_table, y_table = np.ascontiguousarray(table[..., 0]), np.ascontiguousarray(table[..., 1])
    seen = cv2.remap(
        level.image, x_table, y_table, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(seen, np.float32).reshape(-1, 3)[: len(places)], covered


# Score.


def _score(template: _Pyramid, frame: _Pyramid, step: Warp) -> float:
    """Mean over the scales of the correlation of the bands where both frames are."""
    pairs = list(zip(template.levels, frame.levels, strict=True))
    scored = [pair for pair in pairs if len(pair[0].points) >= _SCORED] or pairs[-1:]
    return float(np.mean([_correlation(*pair, step) for pair in scored]))


def _correlation(template: _Level, frame: _Level, step: Warp) -> float:
    seen, covered = _sample(frame, step, template.points)
    if not covered.size or covered.mean() < _COVERED:
        return 0.0
    one, other = template.values[covered], seen[covered, 0]
    power = (one @ one) * (other @ other)
    return float(one @ other / np.sqrt(power)) if power > 0 else 0.0


# Estimation.


@dataclass(frozen=True, eq=False)
class _Template:
    """Samples that a frame is registered to.

    Attributes:
        level: That they are from.
        points: q of the samples in the reference, (n, 2).
        flow: Velocity of the points under every generator, (p, 2, n).
    """

    level: _Level
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


_Pairs = list[tuple[_Template, _Level]]


def _generators(model: Model) -> Floats:
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


def _estimate(frame: _Pyramid, ends: list[_Link], motion: Warp, model: Model) -> _Estimate:
    """Registers a frame to several others at once, from a first guess; levels are added to."""
    generators = _generators(model)
    templates = [
        [_template(level, end.found.motion, generators) for level in end.pyramid.levels]
        for end in ends
    ]
    pairs: _Pairs = []
    for level, *row in zip(frame.levels, *templates, strict=True):
        pairs += [(template, level) for template in row]
        motion = _refined(pairs, motion, generators)
    return _Estimate(motion, _covariance(pairs, [end.found.covariance for end in ends], motion))


def _template(level: _Level, motion: Warp, generators: Floats) -> _Template:
    points = _apply(_inverse(motion), level.points)
    return _Template(level, points, _flow(points, generators))


def _flow(points: _Points, generators: Floats) -> _Points:
    """Velocity (p, 2, n) of points (n, 2) under every generator."""
    homogeneous = np.column_stack([points, np.ones_like(points[:, :1])])
    velocity = generators.astype(points.dtype) @ homogeneous.T
    return velocity[:, :2] - velocity[:, 2:] * points.T


def _refined(pairs: _Pairs, motion: Warp, generators: Floats) -> Warp:
    """The motion after Gauss-Newton steps on all pairs."""
    unit_px = pairs[-1][1].pixel[0, 0]
    for _ in range(_ITERATIONS):
        equations = [_equations(template, frame, motion) for template, frame in pairs]
        hessian = np.sum([one.hessian for one in equations], 0)
        pull = np.sum([one.pulls.sum(1, dtype=np.float64) for one in equations], 0)
        change = np.linalg.pinv(hessian, _RANK, hermitian=True) @ pull
        step = np.eye(3) + np.tensordot(change, generators, 1)
        if not _is_plausible(step):
            break
        motion = motion @ step
        motion = motion / motion[2, 2]
        if np.abs(change).max() * unit_px < _CONVERGED_PX:
            break
    return motion


def _equations(template: _Template, frame: _Level, motion: Warp) -> _Equations:
    """Of the residual ``template - gain * frame``, linear in a small motion of the reference."""
    seen, covered = _sample(frame, motion, template.points)
    gain, weight = _match(template.level, seen[:, 0], covered)
    slopes = gain * (motion[:2, :2].T.astype(np.float32) @ seen[:, 1:].T)
    jacobian = template.flow[:, 0] * slopes[0] + template.flow[:, 1] * slopes[1]
    residual = template.level.values - gain * seen[:, 0]
    weighted = jacobian * weight
    hessian = (weighted @ jacobian.T).astype(np.float64)
    return _Equations(hessian, weighted * residual, template.level.grid)


def _match(template: _Level, seen: Plane, covered: Mask) -> tuple[Plane, Plane]:
    """Gain of the frame in the window about every sample, and the weight of the residual.

    The gain is that of least squares, 0 where the frames do not correlate. It explains the share
    r^2 of the power; the weight is ``r^2 / ((1 - r^2) power)``, the inverse of the variance that is
    left, times once more r^2: windows that correlate little mislead.
    """
    there, here = template.values * covered, seen * covered
    power, seen_power, common = (
        _window_mean(product, template.grid) for product in (there**2, here**2, there * here)
    )
    gain = np.maximum(common, 0) / (seen_power + _TINY)
    explained = gain * common / (power + _TINY)
    weight = covered * explained / ((1 + _MISFIT - explained) * power + _TINY)
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


# First guesses of the step from a frame to the next.


def _guesses(template: _Pyramid, frame: _Pyramid, model: Model) -> Iterator[Warp]:
    yield np.eye(3)
    for find in (_shift, _similarity):
        guess = find(template, frame)
        if guess is not None and _is_plausible(guess):
            yield _without_linear_part(guess) if model == "translation" else guess


def _without_linear_part(motion: Warp) -> Warp:
    """The same motion of the centre."""
    shift = np.eye(3)
    shift[:2, 2] = motion[:2, 2]
    return shift


def _shift(template: _Pyramid, frame: _Pyramid) -> Warp | None:
    """By phase correlation: for textures, which have no coarse detail to start from."""
    one, other = template.level(_PHASE_PX), frame.level(_PHASE_PX)
    h, w = one.image.shape[:2]
    there, here = (np.ascontiguousarray(level.image[..., 0]) for level in (one, other))
    window = np.asarray(cv2.createHanningWindow((w, h), cv2.CV_32F))
    (x_px, y_px), _ = cv2.phaseCorrelate(there, here, window)
    shift = np.eye(3)
    shift[:2, 2] = x_px / one.pixel[0, 0], y_px / one.pixel[1, 1]
    return shift if np.isfinite(shift).all() else None


def _similarity(template: _Pyramid, frame: _Pyramid) -> Warp | None:
    """By SIFT features and RANSAC: for large motion of any kind."""
    one, other = template.level(_FEATURES_PX), frame.level(_FEATURES_PX)
    sift = cv2.SIFT.create(nfeatures=_FEATURES, contrastThreshold=_FEATURE_CONTRAST)
    there, here = (sift.detectAndCompute(_visible(level), None) for level in (one, other))
    if min(len(there[0]), len(here[0])) < _MATCHES:
        return None
    pairs = cv2.BFMatcher().knnMatch(there[1], here[1], 2)
    matches = [best for best, second in pairs if best.distance < _DISTINCT * second.distance]
    if len(matches) < _MATCHES:
        return None
    source = np.array([there[0][match.queryIdx].pt for match in matches])
    target = np.array([here[0][match.trainIdx].pt for match in matches])
    affine, _ = cv2.estimateAffinePartial2D(source, target, ransacReprojThreshold=_RANSAC_PX)
    if affine is None:
        return None
    return np.asarray(_inverse(other.pixel) @ np.vstack([affine, [0, 0, 1]]) @ one.pixel)


def _visible(level: _Level) -> NDArray[np.uint8]:
    """The band in grey levels, (h, w)."""
    band = level.image[..., 0]
    grey = 128 + _VISIBLE * band / (band.std() + _TINY)
    return np.asarray(np.clip(grey, 0, 255), np.uint8)


# Use of warps.


def is_identity(warp: Warp) -> bool:
    """Whether a warp (3, 3) leaves everything exactly where it is."""
    return np.array_equal(warp, np.eye(3))


def warp_image(
    image: Image, warp: Warp, size: tuple[int, int], kernel: int = cv2.INTER_LANCZOS4
) -> Image:
    """A frame as the reference would have seen it, resampled once.

    Places are rounded to 1/32 px, by OpenCV.

    Args:
        image: (h, w) or (h, w, C) with C <= 4, uint8, uint16 or float32.
        warp: (3, 3), from the reference to the frame.
        size: (h, w) of the reference.
        kernel: OpenCV's, of the interpolation. Cubic is six times faster and blurs: a texture that
            is moved there and back has 46.6 dB, with Lanczos4 50.6 dB.

    Returns:
        (h, w) or (h, w, C) of the reference and the type of ``image``; floats may overshoot its
        range. Outside the frame it is reflected. An exact copy for the identity.
    """
    if is_identity(warp) and image.shape[:2] == size:
        return image.copy()
    warped = cv2.warpPerspective(
        image,
        warp,
        size[::-1],
        flags=kernel | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return cast(Image, warped.reshape(*size, *image.shape[2:]))


def warp_tiles(image: Image, warp: Warp, draft: Image, where: Mask) -> None:
    """``warp_image`` in those tiles of a draft that hold a pixel of ``where``.

    Args:
        image: As in ``warp_image``.
        warp: As there.
        draft: (h, w, C) of the reference, another resampling of the image; its tiles are replaced.
        where: (h, w).
    """

    def warp_row(top: int) -> None:
        for left in range(0, where.shape[1], _TILE_PX):
            tile = slice(top, top + _TILE_PX), slice(left, left + _TILE_PX)
            if where[tile].any():
                there = np.eye(3)
                there[:2, 2] = left, top
                h, w = where[tile].shape
                draft[tile] = warp_image(image, warp @ there, (h, w))

    # OpenCV itself does tiles of this size in one thread.
    with ThreadPoolExecutor(max(1, cv2.getNumThreads())) as threads:
        list(threads.map(warp_row, range(0, where.shape[0], _TILE_PX)))


def inside(warp: Warp, size: tuple[int, int]) -> Mask:
    """Pixels (h, w) of the reference that the frame covers.

    Covered is what the warp takes between the centres of the frame's outermost pixels, to a
    thousandth of a pixel. The set is convex.

    Args:
        warp: (3, 3), from the reference to the frame.
        size: (h, w) of both.
    """
    h, w = size
    x_row, y_row, depth_row = warp
    edges = (x_row, (w - 1) * depth_row - x_row, y_row, (h - 1) * depth_row - y_row)
    rows = np.arange(h)
    low, high = np.zeros(h), np.full(h, w - 1.0)
    for slope, down, level in edges:  # the half-plane slope * x + down * y + level >= 0
        rest = down * rows + level + _TOLERANCE_PX
        if slope > _FLAT:
            low = np.maximum(low, -rest / slope)
        elif slope < -_FLAT:
            high = np.minimum(high, -rest / slope)
        else:
            high = np.where(rest >= 0, high, -1)
    columns = np.arange(w)
    return (columns >= low[:, None]) & (columns <= high[:, None])


def valid_rectangle(mask: Mask) -> tuple[int, int, int, int]:
    """Largest upright rectangle of valid pixels.

    Exact up to 256 px a side. A larger mask is searched in blocks of pixels, and what is found is
    grown pixel by pixel: every side is then within a block of the best.

    Args:
        mask: (h, w), True where valid.

    Returns:
        (top, left, height, width) in px; all 0 if no pixel is valid.
    """
    side = -(-max(mask.shape) // _BLOCKS)
    if side == 1:
        return _largest_rectangle(mask)
    top, left, height, width = _largest_rectangle(_all_valid(mask, side))
    if height:
        return _grown(mask, (top * side, left * side, height * side, width * side))
    if not mask.any():
        return 0, 0, 0, 0
    row, column = divmod(int(mask.argmax()), mask.shape[1])
    return _grown(mask, (row, column, 1, 1))


def _all_valid(mask: Mask, side: int) -> Mask:
    """Whether all pixels of every whole block are valid."""
    h, w = (length // side for length in mask.shape)
    blocks = mask[: h * side, : w * side].reshape(h, side, w, side)
    return np.asarray(blocks.all((1, 3)))


def _largest_rectangle(mask: Mask) -> tuple[int, int, int, int]:
    """By the largest rectangle under the histogram of valid pixels above every row."""
    best = (0, 0, 0, 0)
    heights = np.zeros(mask.shape[1] + 1, np.int64)  # the last one ends every rectangle
    for row, valid in enumerate(mask):
        heights[:-1] = np.where(valid, heights[:-1] + 1, 0)
        for left, width, height in _rectangles_under(heights.tolist()):
            if width * height > best[2] * best[3]:
                best = (row - height + 1, left, height, width)
    return best


def _rectangles_under(heights: list[int]) -> Iterator[tuple[int, int, int]]:
    """(left, width, height) of every rectangle that can neither be widened nor heightened."""
    rising: list[tuple[int, int]] = []  # left and height
    for column, height in enumerate(heights):
        left = column
        while rising and rising[-1][1] >= height:
            left, tall = rising.pop()
            yield left, column - left, tall
        rising.append((left, height))


def _grown(mask: Mask, rectangle: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """A valid rectangle, moved outwards on all sides, in turn, as long as it stays valid."""
    top, left, height, width = rectangle
    bottom, right = top + height, left + width
    size = None
    while size != (size := (top, left, bottom, right)):
        top -= top > 0 and bool(mask[top - 1, left:right].all())
        bottom += bottom < mask.shape[0] and bool(mask[bottom, left:right].all())
        left -= left > 0 and bool(mask[top:bottom, left - 1].all())
        right += right < mask.shape[1] and bool(mask[top:bottom, right].all())
    return top, left, bottom - top, right - left
