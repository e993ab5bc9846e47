"""What tells blur in an image: the shape of its spectrum, and how steep its edges are."""

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Features = NDArray[np.float32]

BLOCK_PX = 32
_MOST_BLOCKS = 4096
_EDGES = (0.03, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)  # cycles per pixel
_LOW, _HIGH = slice(1, 4), slice(6, None)  # bands
_SHARPEST, _FLATTEST = 0.3, 0.1  # shares of the blocks
_QUIET = 1e-9  # power of rounding
_STEEP = (99, 99.9)  # percentiles
_EDGE_SHARE, _LEAST_EDGE = 0.03, 0.03  # of the differences over 3 px; in [0, 1]
_FEWEST_EDGES = 21
_LEAST_STEP, _LEAST_DETAIL = 1e-3, 1e-4  # in [0, 1]: rounding
_STEEPNESS = (50, 80, 95, 99)  # percentiles


def features(plane: Plane) -> Features:
    """What tells blur in a luma (h, w), each side at least 32 px: (41,), in nepers."""
    return np.concatenate([_spectrum(plane), _edges(plane)]).astype(np.float32)


def _spectrum(plane: Plane) -> NDArray[np.float64]:
    """Shape of the spectrum, (29,).

    Log power by frequency of the blocks with the most detail, of those with the finest detail for
    what they have, and of the flattest, which is noise.
    """
    bands = np.log(_band_powers(_blocks(plane)) + _QUIET)
    detail = bands[:, 5:].mean(1)
    order = np.argsort(detail)
    top = order[-max(1, int(len(order) * _SHARPEST)) :]
    flat = order[: max(1, int(len(order) * _FLATTEST))]
    fineness = bands[top][:, _HIGH].mean(1) - bands[top][:, _LOW].mean(1)
    finest = top[np.argsort(fineness)[-len(flat) :]]
    mean, fine, noise = (bands[chosen].mean(0) for chosen in (top, finest, flat))
    return np.concatenate([mean[2:] - mean[1], fine[2:] - fine[1], noise[1:] - mean[1], mean[1:2]])


def _edges(plane: Plane) -> NDArray[np.float64]:
    """How steep edges are and how sparse fine detail is, (12,).

    What differs over one pixel is compared with what differs over three and over five about the
    same place: large steps, and every step of the strongest edges.
    """
    near, middle, far = (_differences(plane, reach) for reach in range(3))
    steps = [np.percentile(each, _STEEP) + _LEAST_STEP for each in (near, middle, far)]
    large = float(np.percentile(middle, 100 * (1 - _EDGE_SHARE)))
    strong = middle > max(_LEAST_EDGE, large)
    steepness = np.zeros(1)
    if np.count_nonzero(strong) >= _FEWEST_EDGES:
        steepness = np.log((near[strong] + _LEAST_STEP) / (middle[strong] + _LEAST_STEP))
    half = cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    fine, coarse = (np.asarray(cv2.Laplacian(each, cv2.CV_32F)) for each in (plane, half))
    return np.concatenate(
        [
            np.log(steps[0] / steps[1]),
            np.log(steps[1] / steps[2]),
            np.percentile(steepness, _STEEPNESS),
            [_sparsity(fine), _sparsity(coarse), _log_ratio(fine.std(), coarse.std())],
            [math.log(large + _LEAST_STEP)],
        ]
    )


def _differences(plane: Plane, reach: int) -> Plane:
    """Of pixels 2 * reach + 1 apart, across and down, about the same places for reach 0 to 2."""
    found = []
    for lines in (plane, plane.T):
        last = lines.shape[1] - 2 + reach
        found.append(lines[:, 3 + reach : last] - lines[:, 2 - reach : last - 2 * reach - 1])
    return np.asarray(np.abs(np.concatenate([each.ravel() for each in found])))


def _sparsity(detail: NDArray[Any]) -> float:
    """Of values (h, w): 0 where all are alike, more where few are large."""
    return _log_ratio(math.sqrt(np.square(detail).mean()), np.abs(detail).mean())


def _log_ratio(above: float, below: float) -> float:
    return math.log((above + _LEAST_DETAIL) / (below + _LEAST_DETAIL))


def _blocks(plane: Plane) -> Plane:
    """Blocks (n, 32, 32) that overlap by half, evenly thinned out to a bounded number."""
    step = BLOCK_PX // 2
    windows = np.lib.stride_tricks.sliding_window_view(plane, (BLOCK_PX, BLOCK_PX))
    windows = windows[::step, ::step]
    thin = math.ceil(math.sqrt(windows.shape[0] * windows.shape[1] / _MOST_BLOCKS))
    return windows[::thin, ::thin].reshape(-1, BLOCK_PX, BLOCK_PX)


def _band_powers(blocks: Plane) -> NDArray[np.float64]:
    """Power (n, bands) of blocks (n, 32, 32) less their means, by frequency."""
    window, bands = _window_and_bands()
    level = blocks - blocks.mean((1, 2), keepdims=True)
    power = np.abs(np.fft.rfft2(level * window)) ** 2
    return np.asarray(power.reshape(len(blocks), -1) @ bands)


@lru_cache(maxsize=1)
def _window_and_bands() -> tuple[Plane, NDArray[np.float64]]:
    hann = np.hanning(BLOCK_PX + 2)[1:-1]
    window = hann[:, None] * hann
    radius = np.hypot(np.fft.fftfreq(BLOCK_PX)[:, None], np.fft.rfftfreq(BLOCK_PX))
    band = np.digitize(radius.ravel(), _EDGES) - 1
    members = (band[:, None] == np.arange(len(_EDGES) - 1)).astype(np.float64)
    return (window / np.sqrt((window**2).sum())).astype(np.float32), members / members.sum(0)
