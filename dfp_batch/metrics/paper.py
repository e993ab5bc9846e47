"""The paper's no-reference metrics, Eq. (24a)-(28), and their relative forms.

All work on luma of the 8-bit scale, (H, W) in [0, 255], not on [0, 1]; any H, W >= 2 will do.
Neighbours beyond the border are mirrored about the border pixel (reflect-101: ``c b | a b c``).

The relative forms compare with two *partly blurred* photographs, so a perfect all-in-focus image
does not score 0: report them beside the paper's tables, never rank by them.
"""

import math
from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.core.tiling import spans

Luma = NDArray[np.float64]

_LEVELS = 256
_ROWS = 512  # that are measured at once
_RING_MEAN = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]) / 8
_HARMONIC_RADIUS_PX = 8
_HARMONIC_SIGMA_PX = 2.0
_RECO_CONSTANT = 1.0


def mean_gradient(luma: NDArray[np.floating]) -> float:
    """Mean gradient MG = mean(|dx I| + |dy I|), Eq. (24a).

    Forward differences, averaged over the (H - 1, W - 1) pixels that have both a right and a
    lower neighbour.

    Differs from the paper: it divides by H * W and leaves the last row and column open.

    Args:
        luma: (H, W), in [0, 255].

    Returns:
        Grey levels per pixel, in [0, 510]; 0 for a constant image.
    """
    height, width = luma.shape
    total = 0.0
    for rows in spans(height - 1, _ROWS, 0):
        image = luma[rows.start : rows.stop + 1].astype(np.float64)
        corner = image[:-1, :-1]
        total += np.sum(np.abs(image[:-1, 1:] - corner) + np.abs(image[1:, :-1] - corner))
    return float(total / ((height - 1) * (width - 1)))  # Eq. (24a)


def edge_intensity(luma: NDArray[np.floating]) -> float:
    """Edge intensity EI = mean sqrt((I * s_x)^2 + (I * s_y)^2), Eq. (25a).

    ``s_x, s_y`` are the 3x3 Sobel kernels with weights 1, 2, 1, not normalised: a slope of one
    grey level per pixel has the intensity 8. Across a mirrored border the slope is 0.

    Args:
        luma: (H, W), in [0, 255].

    Returns:
        Mean Sobel magnitude, in [0, 1020 * sqrt(2)]; 0 for a constant image.
    """
    total = 0.0
    for image, own in _bands(luma, 1):
        slope_x = cv2.Sobel(image, cv2.CV_64F, 1, 0, borderType=cv2.BORDER_REFLECT_101)
        slope_y = cv2.Sobel(image, cv2.CV_64F, 0, 1, borderType=cv2.BORDER_REFLECT_101)
        total += np.hypot(slope_x, slope_y)[own].sum()
    return float(total / luma.size)  # Eq. (25a)


def information_entropy(luma: NDArray[np.floating]) -> float:
    """Two-dimensional entropy IE = -sum p lg p with lg = log10, Eq. (26a).

    ``p = f(i, j) / (H * W)`` is how often grey level i occurs with j as the rounded mean of its
    eight neighbours. Halves round to the even level.

    Args:
        luma: (H, W), in [0, 255]; rounded to 8-bit levels, values outside are clipped.

    Returns:
        Decimal digits per pixel, in [0, lg 65536 = 4.816]; 0 for a constant image.
    """
    counts = np.zeros(_LEVELS**2, np.int64)
    for image, own in _bands(luma, 1):
        level = np.clip(np.rint(image), 0, _LEVELS - 1)
        mean = np.rint(_correlate(level, _RING_MEAN))
        pairs = (level * _LEVELS + mean)[own].astype(np.int64)
        counts += np.bincount(pairs.ravel(), minlength=len(counts))
    share = counts[counts > 0] / luma.size
    return float(np.sum(share * np.log10(1 / share)))  # Eq. (26a)


def mean_grey(luma: NDArray[np.floating]) -> float:
    """Mean grey value MGA = mean(I), Eq. (27a).

    Args:
        luma: (H, W), in [0, 255].

    Returns:
        Grey level, in [0, 255].
    """
    return float(luma.mean(dtype=np.float64))  # Eq. (27a)


def edge_coherence(luma: NDArray[np.floating]) -> float:
    """Polar edge coherence ECO, the term that Eq. (28) compares (Baroncini et al., 2009).

    ``ECO = -sum |y_3| |y_1| cos(arg y_3 - 3 arg y_1)`` with ``y_n = I * l_n``, the responses to
    circular harmonic kernels of order 1 (edges) and 3 (forks). It is high where edges are straight
    and crisp. Being a sum it grows with the area: compare images of one size.

    Args:
        luma: (H, W), in [0, 255].

    Returns:
        Squared grey levels summed over the pixels, any sign; 0 for a constant image.
    """
    total = 0.0
    for image, own in _bands(luma, _HARMONIC_RADIUS_PX):
        edge, fork = (_harmonic_response(image, order)[own] for order in (1, 3))
        phase = np.angle(fork) - 3 * np.angle(edge)
        total -= np.sum(np.abs(fork) * np.abs(edge) * np.cos(phase))
    return float(total)


def paper_metrics(luma: NDArray[np.floating]) -> dict[str, float]:
    """The paper's five metrics of one image, Eq. (24a)-(28).

    Args:
        luma: (H, W), in [0, 255].

    Returns:
        ``mg, ei, ie, mga, eco``, units and ranges as in the functions of these names.
    """
    return {
        "mg": mean_gradient(luma),
        "ei": edge_intensity(luma),
        "ie": information_entropy(luma),
        "mga": mean_grey(luma),
        "eco": edge_coherence(luma),
    }


def relative_metrics(
    fused: Mapping[str, float], truths: tuple[Mapping[str, float], Mapping[str, float]]
) -> dict[str, float]:
    """How far the fused image's metrics lie from those of the two sources, Eq. (24b)-(28).

    Args:
        fused: ``paper_metrics`` of the fused image, (H, W).
        truths: ``paper_metrics`` of the two full-resolution, partly blurred sources, (H, W) each.

    Returns:
        ``rmg, rei, rie, rmga`` in the units of the metrics, ``reco`` without a unit; all >= 0,
        and 0 if all three images are the same.
    """
    first, second = truths
    relative = {
        f"r{name}": abs((first[name] + second[name]) / 2 - fused[name])  # Eq. (24b)-(27b)
        for name in ("mg", "ei", "ie", "mga")
    }
    return relative | {"reco": _relative_edge_coherence(fused["eco"], first["eco"], second["eco"])}


def _relative_edge_coherence(fused: float, first: float, second: float) -> float:
    """|2 - (ECO_X + C)/(ECO_1 + C) - (ECO_X + C)/(ECO_2 + C)| with C = 1, Eq. (28)."""
    fused, first, second = (eco + _RECO_CONSTANT for eco in (fused, first, second))
    return abs(2 - fused / first - fused / second)  # Eq. (28)


def _bands(luma: NDArray[np.floating], reach_px: int) -> Iterator[tuple[Luma, slice]]:
    """Rows (r, W) that follow each other, with those beside them, and which of them are their own.

    So that a large image takes no more memory than a small one.
    """
    for rows in spans(len(luma), _ROWS, reach_px):
        yield luma[rows.read()].astype(np.float64), rows.within()


def _harmonic_response(image: Luma, order: int) -> NDArray[np.complex128]:
    """``y_n = I * l_n``, complex (H, W), up to a sign.

    OpenCV correlates instead of convolving. The mirrored kernel changes the sign of y_1 and y_3
    together, and so leaves ``cos(arg y_3 - 3 arg y_1)`` as it is.
    """
    kernel = _circular_harmonic(order)
    response = np.empty(image.shape, np.complex128)
    response.real = _correlate(image, kernel.real)
    response.imag = _correlate(image, kernel.imag)
    return response


def _correlate(image: Luma, kernel: NDArray[np.float64]) -> Luma:
    weights = np.ascontiguousarray(kernel)
    filtered = cv2.filter2D(image, cv2.CV_64F, weights, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(filtered, np.float64)


def _circular_harmonic(order: int) -> NDArray[np.complex128]:
    """Kernel l_n(r, g), (17, 17), sigma = 2 px; ``r^n exp(-i n g)`` is ``(x - i y)^n``.

    ``l_n = -(1 / (n! sigma sqrt(pi))) (r / sigma)^n exp(-r^2 / (2 sigma^2)) exp(-i n g)``
    """
    axis = np.arange(-_HARMONIC_RADIUS_PX, _HARMONIC_RADIUS_PX + 1) / _HARMONIC_SIGMA_PX
    x, y = np.meshgrid(axis, axis)
    z = np.asarray(x - 1j * y, np.complex128)
    gain = -1 / (math.factorial(order) * _HARMONIC_SIGMA_PX * math.sqrt(math.pi))
    return gain * z**order * np.exp(-(np.abs(z) ** 2) / 2)
