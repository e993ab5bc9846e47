"""Kernels of the degradation: Lanczos2, which the paper assumes, bicubic and Gaussians."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt, Le, Predicate
from torch import Tensor

from dfp_batch.core.degradation import Kernel, tap_positions
from dfp_batch.core.part import is_finite

LARGEST_SIGMA_PX = 16.0

Sigma = Annotated[float, Gt(0), Le(LARGEST_SIGMA_PX)]
_REACH_SIGMAS = 4  # where a Gaussian is cut off: 6e-5 of it lie beyond


@dataclass(frozen=True)
class Lanczos2(Kernel):
    """``sinc(t) sinc(t / 2)``, |t| < 2, t in low-resolution pixels: what the paper assumes."""

    def taps(self, scale: int) -> Tensor:
        """4 * scale taps for an even scale, 4 * scale - 1 for an odd one."""
        t = tap_positions(4 * scale - scale % 2) / scale
        taps = torch.sinc(t) * torch.sinc(t / 2)
        return taps / taps.sum()

    def __str__(self) -> str:
        return "lanczos2"


@dataclass(frozen=True)
class Bicubic(Kernel):
    """The cubic of Keys, a = -0.5, |t| < 2, t in low-resolution pixels: imresize of MATLAB."""

    def taps(self, scale: int) -> Tensor:
        """4 * scale taps for an even scale, 4 * scale - 1 for an odd one."""
        t = (tap_positions(4 * scale - scale % 2) / scale).abs()
        near = 1.5 * t**3 - 2.5 * t**2 + 1
        far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        taps = torch.where(t < 1, near, far)
        return taps / taps.sum()

    def __str__(self) -> str:
        return "bicubic"


@dataclass(frozen=True)
class Gaussian(Kernel):
    """A Gaussian, cut off at 4 sigma.

    Attributes:
        sigma_px: Standard deviation in high-resolution (output) pixels, above 0, at most 16.

    Raises:
        ConfigError: for any other sigma.
    """

    sigma_px: Sigma = 1.0

    def taps(self, scale: int) -> Tensor:
        """As many taps as reach 4 sigma to either side."""
        t = tap_positions(_gaussian_count(self.sigma_px, scale)) / self.sigma_px
        return torch.softmax(-(t**2) / 2, 0)  # exp over its sum, whatever the sigma

    def __str__(self) -> str:
        return f"sigma={_short(self.sigma_px)}"


@dataclass(frozen=True)
class AnisotropicGaussian(Kernel):
    """A Gaussian that is longer in one direction: shake, astigmatism.

    Attributes:
        sigma_px: Standard deviation along its axis in high-resolution (output) pixels, above 0, at
            most 16.
        sigma_across_px: Across it.
        angle_deg: Of its axis, from x (right) to y (down).

    Raises:
        ConfigError: for a field out of its range.
    """

    sigma_px: Sigma = 1.5
    sigma_across_px: Sigma = 0.75
    angle_deg: Annotated[float, Predicate(is_finite)] = 0.0

    def taps(self, scale: int) -> Tensor:
        """(k, k): as many taps as reach 4 times the larger sigma to all sides."""
        count = _gaussian_count(max(self.sigma_px, self.sigma_across_px), scale)
        y, x = torch.meshgrid(tap_positions(count), tap_positions(count), indexing="ij")
        angle = math.radians(self.angle_deg)
        cosine, sine = math.cos(angle), math.sin(angle)
        along = (cosine * x + sine * y) / self.sigma_px
        across = (cosine * y - sine * x) / self.sigma_across_px
        return torch.softmax(-(along**2 + across**2).flatten() / 2, 0).reshape(count, count)

    def __str__(self) -> str:
        numbers = (self.sigma_px, self.sigma_across_px, self.angle_deg)
        return "sigma={}x{}@{}".format(*map(_short, numbers))


def _gaussian_count(sigma_px: float, scale: int) -> int:
    """Taps that reach 4 sigma and cover a low-resolution pixel; even for an even scale."""
    missing_px = max(0.0, 2 * _REACH_SIGMAS * sigma_px - scale)
    return scale + 2 * math.ceil(missing_px / 2)


def _short(number: float) -> str:
    """All digits that tell it from other numbers."""
    return repr(float(number)).removesuffix(".0")
