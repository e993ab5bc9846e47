"""The blur kernel of an image, estimated from the image alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dfp_batch.errors import ConfigError
from dfp_batch.method.degrade import Gaussian, Kernel, Lanczos2
from dfp_batch.method.image import luma

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
_FEATURES = 3 * (len(_EDGES) - 1) - 4
_HIDDEN = (64, 32)
_LEANING = 1.5  # expected errors by which the blur is taken for less
_SOFT = 0.42  # a Gaussian of less sigma is hardly better than Lanczos2


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

    A small network, trained on procedural scenes alone, looks at the spectrum of the sharpest
    blocks of the image. An object that is soft itself looks like blur, too: so a kernel is taken to
    be sharper than it seems, by 1.5 expected errors, and Lanczos2 where it may be as sharp as that.

    Args:
        low: u, (1, C, h, w), in [0, 1].
        scale: Of the enlargement.
    """
    plane = luma(low)[0, 0].cpu().numpy()
    if min(plane.shape) < _BLOCK_PX or plane.std() == 0:
        return KernelEstimate(Lanczos2(), math.nan, math.inf)
    sigma, error = _network().estimate(features(plane))
    return _chosen(sigma, error, scale)


def combine(estimates: Sequence[KernelEstimate], scale: int) -> KernelEstimate:
    """One kernel for an archive: the median of the estimates, the surer the heavier."""
    known = [one for one in estimates if math.isfinite(one.error_px)]
    if not known:
        return KernelEstimate(Lanczos2(), math.nan, math.inf)
    known.sort(key=lambda one: one.sigma_px)
    weights = np.cumsum([1 / one.error_px for one in known])
    middle = known[int(np.searchsorted(weights, weights[-1] / 2))]
    error_px = float(np.median([one.error_px for one in known])) / math.sqrt(len(known))
    return _chosen(middle.sigma_px / scale, error_px / scale, scale)


def _chosen(sigma: float, error: float, scale: int) -> KernelEstimate:
    """From sigma and its error in pixels of the sources."""
    leaning = sigma - _LEANING * error
    kernel = Lanczos2() if leaning < _SOFT else Gaussian(round(leaning * scale, 2))
    return KernelEstimate(kernel, sigma * scale, error * scale)


def features(plane: Plane) -> Features:
    """Shape of the spectrum of a luma (h, w), each side at least 32 px: (29,), in nepers.

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
    return np.concatenate(
        [mean[2:] - mean[1], fine[2:] - fine[1], noise[1:] - mean[1], mean[1:2]]
    ).astype(np.float32)


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
    """From features (n, 29) to sigma and the log of its expected error, (n, 2).

    Sigma is of a Gaussian, in pixels of the sources; Lanczos2 and bicubic count as ``SHARP``.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(_FEATURES))
        self.register_buffer("deviation", torch.ones(_FEATURES))
        first, second = _HIDDEN
        self.layers = nn.Sequential(
            nn.Linear(_FEATURES, first),
            nn.SiLU(),
            nn.Linear(first, second),
            nn.SiLU(),
            nn.Linear(second, 2),
        )

    def forward(self, given: Tensor) -> Tensor:
        """Value and log error."""
        result: Tensor = self.layers((given - self.mean) / self.deviation)
        return result

    @torch.no_grad()
    def estimate(self, given: Features) -> tuple[float, float]:
        """Sigma and its expected error, in pixels of the sources."""
        sigma, log_error = self(torch.from_numpy(given)[None])[0].tolist()
        return sigma, math.exp(log_error)


def save_blur(path: Path, network: BlurNetwork) -> None:
    """Write its weights."""
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)


@lru_cache(maxsize=1)
def _network(path: Path = SHIPPED) -> BlurNetwork:
    network = BlurNetwork()
    try:
        with safe_open(path, "pt") as file:
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ConfigError(f"{path}: must be weights written by train_blur.py: {error}") from error
    return network.eval()
