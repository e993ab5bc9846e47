"""Metrics of a fused image against its sources, where there is no all-in-focus reference.

- SCD: does what the fused image has beyond the other sources look like this source?
- VIFF: how much of the visual information of the sources can still be read from the fused image?
- Q_W: do structure and brightness agree with the source that has the most contrast there?
- Q^AB/F: are the edges of all sources there, as strong and in the same direction?

Over 710 real pairs and 25 fusers SCD, VIFF and Q_W follow the true PSNR best (Spearman .54, .49,
.32). Q^AB/F hardly does (.12): report it, do not rank by it.

All take luma of the 8-bit scale, [0, 255], higher is better, and the order of the sources is free.
The papers have two sources; each function says how it goes on to N.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.errors import ImageError

_FLAT_VARIANCE = 1e-10  # squared grey levels: what rounding leaves of a constant

_VIFF_WINDOWS_PX = (17, 9, 5, 3)  # from the finest level to the coarsest
_VIFF_WEIGHTS = (1.0, 0.0, 0.15, 1.0)
_VIFF_NOISE = 0.005 * 255**2  # squared grey levels
_VIFF_OFFSET = 1e-7
_VIFF_LEAST_PX = 41  # the least that leaves the coarsest level its 3 px

_Q_W_WINDOW_PX = 8

_STRENGTH = (0.9994, -15.0, 0.5)  # Gamma_g, kappa_g, sigma_g
_ORIENTATION = (0.9879, -22.0, 0.8)  # Gamma_a, kappa_a, sigma_a


def scd(fused: NDArray[np.floating], sources: NDArray[np.floating]) -> float:
    """Sum of the correlations of differences (Aslantas and Bendes, 2015).

    ``SCD = r(F - S_2, S_1) + r(F - S_1, S_2)`` with r Pearson's correlation over the image. With
    N sources it is ``2/N sum_k r(F - M_k, S_k)``, M_k the mean of the sources other than S_k.

    A constant has no correlation: such a term counts 0. So does all of SCD if F and the sources
    are the same image.

    Args:
        fused: (H, W), in [0, 255].
        sources: (N, H, W), in [0, 255], N >= 2.

    Returns:
        No unit, in [-2, 2].

    Raises:
        ImageError: The sizes differ, or there are fewer than two sources.
    """
    _check(fused, sources)
    total = np.sum(sources, axis=0, dtype=np.float64)
    others = len(sources) - 1
    terms = [_correlation(fused - (total - source) / others, source) for source in sources]
    return 2 * sum(terms) / len(terms)


def viff(fused: NDArray[np.floating], sources: NDArray[np.floating]) -> float:
    """Visual information fidelity for fusion (Han, Cai, Cao and Xu, 2013), as its authors code it.

    On four levels, each half as wide as the last, it is the information that F keeps (VID) over
    the information in the sources (VIND), both summed over the Gaussian windows. In every window
    one source counts: the one that F amplifies least, which as a rule is the sharpest. ``VIFF =
    sum_l p_l VID_l / VIND_l`` with p = (1, 0, 0.15, 1) / 2.15. N sources compete like two.

    A flat source is not amplified at all, and has no information: where one source is flat, VIFF
    as a rule does not ask for the others.

    Differs from the authors' code: if F amplifies two sources alike, then not the last counts, but
    the one with the larger variance.

    Args:
        fused: (H, W), in [0, 255]; H, W >= 41.
        sources: (N, H, W), in [0, 255], N >= 2.

    Returns:
        No unit, >= 0; 1 if F and the sources are the same image, more if F has more contrast.

    Raises:
        ImageError: The sizes differ, the image is smaller than 41x41 px, or there are fewer than
            two sources.
    """
    _check(fused, sources, least_px=_VIFF_LEAST_PX, name="VIFF")
    images = [image.astype(np.float64) for image in (fused, *sources)]
    fidelity = 0.0
    for level, (size, weight) in enumerate(zip(_VIFF_WINDOWS_PX, _VIFF_WEIGHTS, strict=True)):
        window = _gaussian(size)
        if level > 0:
            images = [_window_mean(image, window)[::2, ::2] for image in images]
        if weight > 0:
            fidelity += weight * _information_kept(images[0], images[1:], window)
    return fidelity / sum(_VIFF_WEIGHTS)


def q_w(fused: NDArray[np.floating], sources: NDArray[np.floating]) -> float:
    """Weighted fusion quality index Q_W (Piella and Heijmans, 2003).

    ``Q_W = sum_w c(w) sum_k lambda_k(w) Q_0(S_k, F | w)`` over all windows of 8x8 px, with Q_0 the
    universal image quality index and the window size of Wang and Bovik (2002). The saliency s_k
    is the variance of S_k in the window; ``lambda_k = s_k / sum_j s_j``, and c is ``max_k s_k``
    divided by its sum over the windows. Neither asks how many sources there are.

    If every window of every source is flat, all windows and sources weigh the same.

    Args:
        fused: (H, W), in [0, 255]; H, W >= 8.
        sources: (N, H, W), in [0, 255], N >= 2.

    Returns:
        No unit, in [-1, 1]; 1 if F and the sources are the same image.

    Raises:
        ImageError: The sizes differ, the image is smaller than 8x8 px, or there are fewer than
            two sources.
    """
    _check(fused, sources, least_px=_Q_W_WINDOW_PX, name="Q_W")
    window = np.full(_Q_W_WINDOW_PX, 1 / _Q_W_WINDOW_PX)
    target = _moments(fused.astype(np.float64), window)
    most, total, weighted = (np.zeros_like(target.mean) for _ in range(3))
    plain = 0.0
    for image in sources:
        source = _moments(image.astype(np.float64), window)
        quality = _universal_quality(source, target, window)
        most = np.maximum(most, source.variance)
        total += source.variance
        weighted += source.variance * quality
        plain += float(quality.mean()) / len(sources)
    if not most.any():
        return plain
    return float(np.sum(most * _ratio(weighted, total, empty=0)) / np.sum(most))


def q_abf(fused: NDArray[np.floating], sources: NDArray[np.floating]) -> float:
    """Edge preservation Q^AB/F (Xydeas and Petrovic, 2000), with the published constants.

    ``Q = sum_k sum_n Q^kF g_k / sum_k sum_n g_k`` with g_k the Sobel magnitude of S_k at pixel n
    (the weight exponent L is 1) and Q^kF how much of strength and orientation F preserves there.

    Orientations are those of undirected lines: an edge of the opposite sign counts as preserved.
    Across a mirrored border the slope is 0, so that the frame is no edge. If no source has any
    edge, none is lost, and the value is the largest one.

    Args:
        fused: (H, W), in [0, 255].
        sources: (N, H, W), in [0, 255], N >= 2.

    Returns:
        No unit, in [0, 0.9748]; the largest if F and the sources are the same image.

    Raises:
        ImageError: The sizes differ, or there are fewer than two sources.
    """
    _check(fused, sources)
    target = _gradient(fused)
    preserved = edges = 0.0
    for image in sources:
        gradient = _gradient(image)
        strength = np.abs(gradient)
        preserved += float(np.sum(_edge_preservation(gradient, target) * strength))
        edges += float(np.sum(strength))
    if edges == 0:
        return float(_sigmoid(np.ones(()), *_STRENGTH) * _sigmoid(np.ones(()), *_ORIENTATION))
    return preserved / edges


def fusion_metrics(fused: NDArray[np.floating], sources: NDArray[np.floating]) -> dict[str, float]:
    """The four metrics of one fused image.

    Args:
        fused: (H, W), in [0, 255]; H, W >= 41.
        sources: (N, H, W), in [0, 255], N >= 2.

    Returns:
        ``scd, viff, q_w, q_abf``, ranges as in the functions of these names.

    Raises:
        ImageError: The sizes differ, the image is smaller than 41x41 px, or there are fewer than
            two sources.
    """
    return {
        "scd": scd(fused, sources),
        "viff": viff(fused, sources),
        "q_w": q_w(fused, sources),
        "q_abf": q_abf(fused, sources),
    }


class _Moments(NamedTuple):
    """An image and its local mean and variance, which is exactly 0 where the image is flat."""

    image: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def _moments(image: NDArray[np.float64], window: NDArray[np.float64]) -> _Moments:
    mean = _window_mean(image, window)
    variance = _window_mean(image * image, window) - mean * mean
    variance[variance < _FLAT_VARIANCE] = 0
    return _Moments(image, mean, variance)


def _covariance(
    first: _Moments, second: _Moments, window: NDArray[np.float64]
) -> NDArray[np.float64]:
    return _window_mean(first.image * second.image, window) - first.mean * second.mean


def _window_mean(image: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean of every window inside the image: (H, W) to (H - n + 1, W - n + 1).

    ``window`` holds the n weights along each axis, sum 1.
    """
    height, width = image.shape
    size = len(window)
    before = size // 2  # OpenCV's anchor
    mean = cv2.sepFilter2D(image, cv2.CV_64F, window, window)
    inside = mean[before : before + height - size + 1, before : before + width - size + 1]
    return np.asarray(inside, np.float64)


def _gaussian(size: int) -> NDArray[np.float64]:
    """The ``size`` weights of a Gaussian with sigma = size / 5 px, sum 1."""
    distance = (np.arange(size) - size // 2) / (size / 5)
    bell = np.exp(-(distance**2) / 2)
    return np.asarray(bell / bell.sum(), np.float64)


def _ratio(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], empty: float
) -> NDArray[np.float64]:
    """Quotient, ``empty`` where the denominator is 0."""
    quotient = np.full_like(numerator, empty)
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)


def _correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Pearson's r, in [-1, 1]; 0 if one of the images is constant."""
    first = first - first.mean(dtype=np.float64)
    second = second - second.mean(dtype=np.float64)
    variances = np.mean(first * first), np.mean(second * second)
    if min(variances) < _FLAT_VARIANCE:
        return 0.0
    return float(np.mean(first * second) / math.sqrt(variances[0] * variances[1]))


def _information_kept(
    fused: NDArray[np.float64],
    sources: Sequence[NDArray[np.float64]],
    window: NDArray[np.float64],
) -> float:
    """VID / VIND of one level.

    In a window F is ``g S + V``, V the part without relation to S. It keeps ``lg(1 + g^2 var S /
    (var V + noise))`` of the ``lg(1 + var S / noise)`` that S has to give.
    """
    target = _moments(fused, window)
    gain, variance = _least_amplified(target, sources, window)
    related = gain**2 * variance
    kept = np.log10(1 + related / (target.variance - related + _VIFF_NOISE))
    given = np.log10(1 + variance / _VIFF_NOISE)
    return float(np.sum(kept + _VIFF_OFFSET) / np.sum(given + _VIFF_OFFSET))


def _least_amplified(
    target: _Moments, sources: Sequence[NDArray[np.float64]], window: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gain g and variance of the source that counts in each window.

    The gain is that of the regression of F on S, and 0 if S or F is flat or F inverts S.
    """
    gain = np.full_like(target.mean, np.inf)
    variance = np.zeros_like(target.mean)
    for image in sources:
        source = _moments(image, window)
        covariance = np.maximum(_covariance(source, target, window), 0)
        covariance[target.variance == 0] = 0
        amplified = _ratio(covariance, source.variance, empty=0)
        alike = (amplified == gain) & (source.variance > variance)
        counts = (amplified < gain) | alike
        np.copyto(gain, amplified, where=counts)
        np.copyto(variance, source.variance, where=counts)
    return gain, variance


def _universal_quality(
    source: _Moments, target: _Moments, window: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Universal image quality index Q_0 per window, in [-1, 1] (Wang and Bovik, 2002).

    ``Q_0 = 2 m_S m_F / (m_S^2 + m_F^2) * 2 cov / (var S + var F)``, as in their code with 1 for a
    fraction 0/0: two flat windows are compared by their means, and two black ones are alike.
    """
    means = _ratio(2 * source.mean * target.mean, source.mean**2 + target.mean**2, empty=1)
    covariance = _covariance(source, target, window)
    return means * _ratio(2 * covariance, source.variance + target.variance, empty=1)


def _gradient(luma: NDArray[np.floating]) -> NDArray[np.complex128]:
    """Sobel slopes s_x + i s_y, complex (H, W)."""
    image = luma.astype(np.float64)
    slope = np.empty(image.shape, np.complex128)
    slope.real = cv2.Sobel(image, cv2.CV_64F, 1, 0, borderType=cv2.BORDER_REFLECT_101)
    slope.imag = cv2.Sobel(image, cv2.CV_64F, 0, 1, borderType=cv2.BORDER_REFLECT_101)
    return slope


def _edge_preservation(
    source: NDArray[np.complex128], target: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Q^AF per pixel, from the relative strength G and the relative orientation A, in [0, 1].

    A falls from 1 where both edges are parallel to 0 where they are perpendicular.
    """
    strengths = np.abs(source), np.abs(target)
    relative_strength = _ratio(np.minimum(*strengths), np.maximum(*strengths), empty=0)
    turn = np.conj(source) * target
    angle = np.arctan2(np.abs(turn.imag), np.abs(turn.real))
    relative_orientation = 1 - angle / (math.pi / 2)
    return _sigmoid(relative_strength, *_STRENGTH) * _sigmoid(relative_orientation, *_ORIENTATION)


def _sigmoid(
    value: NDArray[np.float64], gamma: float, kappa: float, sigma: float
) -> NDArray[np.float64]:
    """``Gamma / (1 + exp(kappa (value - sigma)))``."""
    return np.asarray(gamma / (1 + np.exp(kappa * (value - sigma))), np.float64)


def _check(
    fused: NDArray[np.floating],
    sources: NDArray[np.floating],
    least_px: int = 1,
    name: str = "fusion metrics",
) -> None:
    height, width = fused.shape
    count, expected_height, expected_width = sources.shape
    if (height, width) != (expected_height, expected_width):
        raise ImageError(
            f"fused image must be as large as the sources, expected {expected_width}x"
            f"{expected_height} px, found {width}x{height} px; enlarge or crop one to the size of "
            "the other"
        )
    if count < 2:  # noqa: PLR2004
        raise ImageError(f"fusion metrics need at least 2 sources, got {count}")
    if min(height, width) < least_px:
        least = f"{least_px}x{least_px} px"
        raise ImageError(f"image must be at least {least} for {name}, got {width}x{height} px")
