"""The blur kernel of an image, estimated from the image alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from dfp_batch.errors import ConfigError
from dfp_batch.method.degrade import Gaussian, Kernel, Lanczos2
from dfp_batch.method.image import luma
from dfp_batch.method.network import load_weights

Plane = NDArray[np.float32]
Features = NDArray[np.float32]

SHIPPED = Path(__file__).parent / "weights" / "blur.safetensors"
SHARP = 0.25  # sigma of a Gaussian, in pixels of the sources, that is as sharp as Lanczos2
_BLOCK_PX = 32
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
_FEATURES = 3 * (len(_EDGES) - 1) - 4 + 2 * len(_STEEP) + len(_STEEPNESS) + 4
_FARTHEST = 4.0  # a feature from the usual, in standard deviations
_MEMBERS, _SEEN = 16, 0.25  # networks; share of the features that each looks at
_HIDDEN = (48, 24)
_CAUTIOUS = 0.25  # share of the networks that take the kernel for sharper than the one used
_LEANING = 1.5  # expected errors by which the blur of an archive is taken for less
_SOFT = 0.35  # a Gaussian of less sigma is hardly better than Lanczos2


@dataclass(frozen=True)
class KernelEstimate:
    """What is known of the kernel of an image.

    Attributes:
        kernel: To be used.
        sigma_px: Of a Gaussian that blurs like it, in pixels of the result; nan if unknown.
        error_px: Expected error of that; inf if unknown.
    """

    kernel: Kernel
    sigma_px: float
    error_px: float


@dataclass(frozen=True)
class Auto(Kernel):
    """Stands for a kernel that is estimated for every item."""

    def taps(self, scale: int) -> Tensor:
        """There are none before it is estimated.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("kernel auto stands for one that is estimated from merged sources")

    def __str__(self) -> str:
        """The name of the command line."""
        return "auto"


def known_kernel(kernel: Kernel, low: Tensor, scale: int) -> KernelEstimate:
    """The kernel itself, or what ``Auto`` stands for with merged sources u (1, C, h, w)."""
    if not isinstance(kernel, Auto):
        return KernelEstimate(kernel, math.nan, math.nan)
    if scale == 1:
        return KernelEstimate(Lanczos2(), math.nan, math.inf)
    return estimate_kernel(low, scale)


def estimate_kernel(low: Tensor, scale: int) -> KernelEstimate:
    """Estimate the kernel of merged sources.

    Small networks, trained on procedural scenes alone, look at the spectrum of the sharpest blocks
    and at the steepest edges, each at other parts of these. An object that is soft itself looks
    like blur, too, and too strong a kernel costs more than too weak a one: so the kernel used is as
    sharp as a quarter of the networks takes it to be, and Lanczos2 where that is about as sharp.

    Args:
        low: u, (1, C, h, w), in [0, 1].
        scale: Of the enlargement.
    """
    plane = luma(low)[0, 0].cpu().numpy()
    if min(plane.shape) < _BLOCK_PX or plane.std() == 0:
        return KernelEstimate(Lanczos2(), math.nan, math.inf)
    sigma, error, cautious = _network().estimate(features(plane))
    return KernelEstimate(_at_least(cautious, scale), sigma * scale, error * scale)


def combine(estimates: Sequence[KernelEstimate], scale: int) -> KernelEstimate:
    """One kernel for an archive: the median of the estimates, the surer the heavier.

    It is taken to be sharper than that by 1.5 expected errors of the median.
    """
    known = [one for one in estimates if math.isfinite(one.error_px)]
    if not known:
        return KernelEstimate(Lanczos2(), math.nan, math.inf)
    known.sort(key=lambda one: one.sigma_px)
    weights = np.cumsum([1 / one.error_px for one in known])
    middle = known[int(np.searchsorted(weights, weights[-1] / 2))]
    error_px = float(np.median([one.error_px for one in known])) / math.sqrt(len(known))
    cautious = (middle.sigma_px - _LEANING * error_px) / scale
    return KernelEstimate(_at_least(cautious, scale), middle.sigma_px, error_px)


def _at_least(sigma: float, scale: int) -> Kernel:
    """The kernel of a sigma in pixels of the sources."""
    return Lanczos2() if sigma < _SOFT else Gaussian(round(sigma * scale, 2))


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
    step = _BLOCK_PX // 2
    windows = np.lib.stride_tricks.sliding_window_view(plane, (_BLOCK_PX, _BLOCK_PX))
    windows = windows[::step, ::step]
    thin = math.ceil(math.sqrt(windows.shape[0] * windows.shape[1] / _MOST_BLOCKS))
    return windows[::thin, ::thin].reshape(-1, _BLOCK_PX, _BLOCK_PX)


def _band_powers(blocks: Plane) -> NDArray[np.float64]:
    """Power (n, bands) of blocks (n, 32, 32) less their means, by frequency."""
    window, bands = _window_and_bands()
    level = blocks - blocks.mean((1, 2), keepdims=True)
    power = np.abs(np.fft.rfft2(level * window)) ** 2
    return np.asarray(power.reshape(len(blocks), -1) @ bands)


@lru_cache(maxsize=1)
def _window_and_bands() -> tuple[Plane, NDArray[np.float64]]:
    hann = np.hanning(_BLOCK_PX + 2)[1:-1]
    window = hann[:, None] * hann
    radius = np.hypot(np.fft.fftfreq(_BLOCK_PX)[:, None], np.fft.rfftfreq(_BLOCK_PX))
    band = np.digitize(radius.ravel(), _EDGES) - 1
    members = (band[:, None] == np.arange(len(_EDGES) - 1)).astype(np.float64)
    return (window / np.sqrt((window**2).sum())).astype(np.float32), members / members.sum(0)


class BlurNetwork(nn.Module):
    """Many small networks, from features (n, 41) to sigma and the log of its expected error.

    Each sees a few of the features, so that what misleads one of them misleads few of the networks
    (random subspaces; Ho, 1998). Sigma is of a Gaussian, in pixels of the sources; Lanczos2 and
    bicubic count as ``SHARP``.
    """

    mean: Tensor
    deviation: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(_FEATURES))
        self.register_buffer("deviation", torch.ones(_FEATURES))
        self.register_buffer("seen", (torch.rand(_MEMBERS, 1, _FEATURES) < _SEEN).float())
        sides = (_FEATURES, *_HIDDEN, 2)
        self.weights = nn.ParameterList(
            (2 * torch.rand(_MEMBERS, inputs, outputs) - 1) / math.sqrt(inputs)
            for inputs, outputs in pairwise(sides)
        )
        self.biases = nn.ParameterList(torch.zeros(_MEMBERS, 1, side) for side in sides[1:])

    def forward(self, given: Tensor) -> Tensor:
        """Sigma and log error, (members, n, 2), of features (n, 41) or (members, n, 41)."""
        usual = ((given - self.mean) / self.deviation).clamp(-_FARTHEST, _FARTHEST)
        values = usual * self.seen
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.baddbmm(bias, functional.silu(values) if layer else values, weight)
        return values

    @torch.no_grad()
    def estimate(self, given: Features) -> tuple[float, float, float]:
        """Sigma, its expected error and the cautious sigma, in pixels of the sources."""
        sigmas, log_errors = self(torch.from_numpy(given)[None])[:, 0].T
        error = log_errors.exp().mean()
        return float(sigmas.median()), float(error), float(sigmas.quantile(_CAUTIOUS))


def save_blur(path: Path, network: BlurNetwork) -> None:
    """Write its weights."""
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)


@lru_cache(maxsize=1)
def _network(path: Path = SHIPPED) -> BlurNetwork:
    network = BlurNetwork()
    load_weights(network, path, "train_blur.py")
    return network.eval()
