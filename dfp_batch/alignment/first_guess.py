"""First guesses of the motion from a frame to the next, where no motion is a poor one."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.alignment.geometry import TINY, Model, Warp, inverse, is_plausible
from dfp_batch.alignment.sampling import Level, Pyramid

_PHASE_PX = 256  # longest side of the level for phase correlation
_FEATURES_PX = 512  # longest side of the level for features
_FEATURES = 1000
_FEATURE_CONTRAST = 0.01
_VISIBLE = 40  # grey levels of a standard deviation
_DISTINCT = 0.8  # largest distance of a match, of that of the second best
_MATCHES = 8  # at least
_RANSAC_PX = 3.0


def first_guesses(template: Pyramid, frame: Pyramid, model: Model) -> Iterator[Warp]:
    """Motions from a template to a frame, the likelier and cheaper first: none at all."""
    yield np.eye(3)
    for find in (_shift, _similarity):
        guess = find(template, frame)
        if guess is not None and is_plausible(guess):
            yield _without_linear_part(guess) if model == "translation" else guess


def _without_linear_part(motion: Warp) -> Warp:
    """The same motion of the centre."""
    shift = np.eye(3)
    shift[:2, 2] = motion[:2, 2]
    return shift


def _shift(template: Pyramid, frame: Pyramid) -> Warp | None:
    """By phase correlation: for textures, which have no coarse detail to start from."""
    one, other = template.level(_PHASE_PX), frame.level(_PHASE_PX)
    h, w = one.image.shape[:2]
    there, here = (np.ascontiguousarray(level.image[..., 0]) for level in (one, other))
    window = np.asarray(cv2.createHanningWindow((w, h), cv2.CV_32F))
    (x_px, y_px), _ = cv2.phaseCorrelate(there, here, window)
    shift = np.eye(3)
    shift[:2, 2] = x_px / one.pixel[0, 0], y_px / one.pixel[1, 1]
    return shift if np.isfinite(shift).all() else None


def _similarity(template: Pyramid, frame: Pyramid) -> Warp | None:
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
    return np.asarray(inverse(other.pixel) @ np.vstack([affine, [0, 0, 1]]) @ one.pixel)


def _visible(level: Level) -> NDArray[np.uint8]:
    """The band in grey levels, (h, w)."""
    band = level.image[..., 0]
    grey = 128 + _VISIBLE * band / (band.std() + TINY)
    return np.asarray(np.clip(grey, 0, 255), np.uint8)
