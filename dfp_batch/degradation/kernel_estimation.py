"""The blur kernel of an image, estimated from the image alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from dfp_batch.core.degradation import Kernel
from dfp_batch.core.image import luma
from dfp_batch.core.part import Count
from dfp_batch.degradation.blur_features import BLOCK_PX, features
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.networks.weights import load_blur

SHARP = 0.25  # sigma of a Gaussian, in pixels of the sources, that is as sharp as Lanczos2

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
class EstimatedKernel(Kernel):
    """Stands for a kernel that is estimated for every item."""

    is_estimated: ClassVar[bool] = True

    def taps(self, scale: int) -> Tensor:
        """There are none before it is estimated.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"kernel {self} stands for one that is estimated from merged sources")

    def __str__(self) -> str:
        """The name of the command line."""
        return "auto-item"


@dataclass(frozen=True)
class ArchiveKernel(EstimatedKernel):
    """Stands for one kernel of each camera of a run, estimated from some of its items before.

    Of an item that is no part of a run it is the kernel of this item.

    Attributes:
        sample: Items that are looked at, at most; as many of each camera that the manifest names.
    """

    sample: Count = 64

    def __str__(self) -> str:
        """The name of the command line."""
        return "auto"


def known_kernel(kernel: Kernel, low: Tensor, scale: int) -> KernelEstimate:
    """A kernel, or what ``EstimatedKernel`` stands for with merged sources u (1, C, h, w)."""
    if not kernel.is_estimated:
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
    if min(plane.shape) < BLOCK_PX or np.ptp(plane) == 0:
        return KernelEstimate(Lanczos2(), math.nan, math.inf)
    sigma, error, cautious = load_blur().estimate(features(plane))
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
