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

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from dfp_batch.alignment.estimation import Estimate, estimate_motion
from dfp_batch.alignment.first_guess import first_guesses
from dfp_batch.alignment.geometry import (
    Model,
    Plane,
    Warp,
    generators_of,
    inverse,
    is_plausible,
    transformed,
    velocity,
)
from dfp_batch.alignment.sampling import Pyramid, match_score, pyramid_of
from dfp_batch.core.part import CountOrNone, Part
from dfp_batch.errors import ConfigError

Flag = Literal["reference", "registered", "identity", "failed"]

# Which motion counts.
_STILL_PX = 0.1  # of the finest level: less motion is not worth a resampling
_SURE = 10.0  # standard errors that show that the camera moved
_LIKELY = 3.0  # standard errors that show it with a clear gain, or when it moved elsewhere
_CLEAR = 0.15  # of what the score lacks of 1: a gain that is clear

# Other first guesses.
_TRUSTED = 0.6  # with a lesser score they are tried


class Planes(Protocol):
    """Lumas (h, w) in [0, 1] of a stack, in focus order, of one size; they may be made lazily."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, index: int, /) -> Plane:
        """Luma (h, w) of one frame."""
        ...


@dataclass(frozen=True)
class Registration(Part):
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

    seam: ClassVar[str] = "align"

    model: Model = "similarity"
    reference: CountOrNone | None = None
    floor: Annotated[float, Gt(0), Lt(1)] = 0.2

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
class RegistrationResult:
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


def register(planes: Planes, registration: Registration) -> RegistrationResult:
    """Warps of a stack to its reference.

    Every plane is asked for once, from the reference to the last and then from the frame before the
    reference to the first. Three frames are held, reduced to 1024 px, whatever N is.

    Raises:
        ConfigError: if the stack has no such reference.
    """
    count = len(planes)
    reference = registration.reference_of(count)
    first = _first_link(pyramid_of(planes[reference]), registration.model)
    links = {reference: first.light()}
    for side in (range(reference + 1, count), range(reference - 1, -1, -1)):
        last = first
        for index in side:
            link = _next_link(pyramid_of(planes[index]), last, first, registration)
            links[index] = link.light()
            last = last if link.failed else link
    return _registered(reference, [links[index] for index in range(count)])


def _registered(reference: int, links: "list[_Link]") -> RegistrationResult:
    """One frame that surely moved makes it likely that others did."""
    moving = any(link.surely_moved for link in links)
    moved = [moving and link.moved(_LIKELY) for link in links]
    flags: list[Flag] = [
        "failed" if link.failed else "registered" if own else "identity"
        for link, own in zip(links, moved, strict=True)
    ]
    flags[reference] = "reference"
    return RegistrationResult(
        reference,
        np.stack([link.warp if own else np.eye(3) for link, own in zip(links, moved, strict=True)]),
        tuple(link.before for link in links),
        tuple(link.after if own else link.before for link, own in zip(links, moved, strict=True)),
        tuple(flags),
    )


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

    pyramid: "Pyramid"
    found: Estimate
    motion_px: float
    error_px: float
    before: float
    after: float
    failed: bool = False

    @property
    def warp(self) -> Warp:
        """What was found, in pixels."""
        normal = self.pyramid.normal
        return np.asarray(inverse(normal) @ self.found.motion @ normal)

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


def _first_link(pyramid: "Pyramid", model: Model) -> _Link:
    size = len(generators_of(model))
    return _Link(pyramid, Estimate(np.eye(3), np.zeros((size, size))), 0.0, 0.0, 1.0, 1.0)


def _next_link(pyramid: "Pyramid", last: _Link, first: _Link, registration: Registration) -> _Link:
    """The next frame, registered to its neighbour ``last`` and to the reference ``first``."""
    before = match_score(last.pyramid, pyramid, np.eye(3))
    if registration.model == "none":
        return replace(last, pyramid=pyramid, before=before, after=before)
    after, found = _best_estimate(pyramid, last, first, registration.model)
    if after <= before:
        after, found = before, last.found
    moved_px, error_px = _corner_motion_px(found, pyramid, registration.model)
    failed = after < registration.floor
    return _Link(pyramid, found, moved_px, error_px, before, after, failed)


def _best_estimate(
    pyramid: "Pyramid", last: _Link, first: _Link, model: Model
) -> tuple[float, Estimate]:
    """Score and estimate from the motion of the neighbour or, if that is poor, other guesses."""
    ends = [last] if last is first else [last, first]
    best_score, best = -1.0, last.found
    for guess in first_guesses(last.pyramid, pyramid, model):
        found = estimate_motion(pyramid, ends, guess @ last.found.motion, model)
        step = found.motion @ inverse(last.found.motion)
        score = match_score(last.pyramid, pyramid, step) if is_plausible(step) else -1.0
        if score > best_score:
            best_score, best = score, found
        if best_score >= _TRUSTED:
            break
    return best_score, best


def _corner_motion_px(found: Estimate, pyramid: "Pyramid", model: Model) -> tuple[float, float]:
    """Largest motion of a corner and its standard error, in pixels of the finest level."""
    level = pyramid.levels[-1]
    h, w = level.image.shape[:2]
    corners = np.array([(x, y) for x in (-0.5, w - 0.5) for y in (-0.5, h - 0.5)])
    points = transformed(inverse(level.pixel), corners)
    moves = transformed(found.motion, points) - points
    flow = velocity(points, generators_of(model))
    variances = np.einsum("pxn,pr,rxn->n", flow, found.covariance, flow)
    lengths = np.array([np.hypot(*moves.T).max(), np.sqrt(variances.max())]) * level.pixel[0, 0]
    return float(lengths[0]), float(lengths[1])
