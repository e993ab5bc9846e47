"""Degradations D: how a sharp high-resolution image becomes a low-resolution one.

``Degradation(scale, kernel)`` is D for any ``Kernel``: blur by the kernel, keep every ``scale``-th
pixel. Which kernel made an image is usually not known; ``Lanczos2`` is what the paper assumes.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from dfp_batch.errors import ConfigError

SCALES = (1, 2, 3, 4)
CODE_LENGTH = 8
LARGEST_SIGMA_PX = 16.0
_CODE_ANGLES_DEG = (0, 45, 90, 135)
_CODE_FREQUENCIES = (0.5, 1.0)  # of the Nyquist frequency of the low resolution
_REACH_SIGMAS = 4  # where a Gaussian is cut off: 6e-5 of it lie beyond
_TOLERANCE = 1e-9


class Kernel(ABC):
    """The blur of a degradation. Own ones inherit from it, as frozen dataclasses that give taps."""

    @abstractmethod
    def taps(self, scale: int) -> Tensor:
        """Weights of the high-resolution pixels around the centre of a low-resolution one.

        Args:
            scale: 2, 3 or 4; at scale 1 every kernel is the identity and this is not asked.

        Returns:
            (k,) for a separable kernel, whose weights are their outer product, else (k, k), rows
            first; float64, unchanged by a turn of 180 degrees, with sum 1. Tap i lies at
            ``i - (k - 1) / 2`` high-resolution pixels; k - scale is even and not negative, so an
            even scale has an even k.
        """

    def response(self, scale: int, fx: Tensor, fy: Tensor) -> Tensor:
        """Gain of plane waves, of any shape, float64; real, since the kernel is symmetric.

        Args:
            scale: 1, 2, 3 or 4; 1 gives 1.
            fx: Frequencies along x, to the right, in cycles per high-resolution pixel.
            fy: Along y, down, of the same shape.
        """
        weights = weights_of(self, scale)
        if weights.ndim == 1:
            along_x = _phases(len(weights), fx).cos() @ weights
            return along_x * (_phases(len(weights), fy).cos() @ weights)
        phases = _phases(len(weights), fy)[..., :, None] + _phases(len(weights), fx)[..., None, :]
        return (phases.cos() * weights).sum((-2, -1))

    def code(self, scale: int) -> Tensor:
        """What a network is told of the kernel, (8,), float32: responses.

        At half the Nyquist frequency of the low resolution, 1 / (4 scale) cycles per
        high-resolution pixel, along 0, 45, 90 and 135 degrees from x to y; then the same at that
        frequency itself, 1 / (2 scale).
        """
        nyquist = 1 / (2 * scale)
        frequency = nyquist * torch.tensor(_CODE_FREQUENCIES, dtype=torch.float64)[:, None]
        angles = torch.tensor(_CODE_ANGLES_DEG, dtype=torch.float64).deg2rad()
        fx, fy = frequency * angles.cos(), frequency * angles.sin()
        return self.response(scale, fx.flatten(), fy.flatten()).float()


@dataclass(frozen=True)
class Lanczos2(Kernel):
    """``sinc(t) sinc(t / 2)``, |t| < 2, t in low-resolution pixels: what the paper assumes."""

    def taps(self, scale: int) -> Tensor:
        """4 * scale taps for an even scale, 4 * scale - 1 for an odd one."""
        t = _positions(4 * scale - scale % 2) / scale
        taps = torch.sinc(t) * torch.sinc(t / 2)
        return taps / taps.sum()

    def __str__(self) -> str:
        return "lanczos2"


@dataclass(frozen=True)
class Bicubic(Kernel):
    """The cubic of Keys, a = -0.5, |t| < 2, t in low-resolution pixels: imresize of MATLAB."""

    def taps(self, scale: int) -> Tensor:
        """4 * scale taps for an even scale, 4 * scale - 1 for an odd one."""
        t = (_positions(4 * scale - scale % 2) / scale).abs()
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

    sigma_px: float = 1.0

    def __post_init__(self) -> None:
        _check_sigma("sigma_px", self.sigma_px)

    def taps(self, scale: int) -> Tensor:
        """As many taps as reach 4 sigma to either side."""
        t = _positions(_gaussian_count(self.sigma_px, scale)) / self.sigma_px
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

    sigma_px: float = 1.5
    sigma_across_px: float = 0.75
    angle_deg: float = 0.0

    def __post_init__(self) -> None:
        _check_sigma("sigma_px", self.sigma_px)
        _check_sigma("sigma_across_px", self.sigma_across_px)
        if not math.isfinite(self.angle_deg):
            raise ConfigError(f"kernel.angle_deg must be a number, got {self.angle_deg}")

    def taps(self, scale: int) -> Tensor:
        """(k, k): as many taps as reach 4 times the larger sigma to all sides."""
        count = _gaussian_count(max(self.sigma_px, self.sigma_across_px), scale)
        y, x = torch.meshgrid(_positions(count), _positions(count), indexing="ij")
        angle = math.radians(self.angle_deg)
        cosine, sine = math.cos(angle), math.sin(angle)
        along = (cosine * x + sine * y) / self.sigma_px
        across = (cosine * y - sine * x) / self.sigma_across_px
        return torch.softmax(-(along**2 + across**2).flatten() / 2, 0).reshape(count, count)

    def __str__(self) -> str:
        numbers = (self.sigma_px, self.sigma_across_px, self.angle_deg)
        return "sigma={}x{}@{}".format(*map(_short, numbers))


@dataclass(frozen=True)
class Degradation:
    """D: blur by a kernel, then sampling of every ``scale``-th pixel; borders are replicated.

    Pixel i of the result is centred on ``(i + 0.5) * scale - 0.5`` of the input, as in ``enlarge``.
    Scale 1 is the identity, whatever the kernel.

    Attributes:
        scale: 1, 2, 3 or 4.
        kernel: The blur.

    Raises:
        ConfigError: for any other scale, or a kernel that is not what ``Kernel`` says.
    """

    scale: int
    kernel: Kernel = Lanczos2()

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ConfigError(f"scale must be 1, 2, 3 or 4, got {self.scale}")
        if not isinstance(self.kernel, Kernel):
            raise ConfigError(f"kernel must be a {Kernel.__qualname__}, got {self.kernel!r}")
        weights_of(self.kernel, self.scale)

    def __call__(self, images: Tensor) -> Tensor:
        """D x.

        Args:
            images: (N, C, scale * h, scale * w).

        Returns:
            (N, C, h, w).
        """
        if self.scale == 1:
            return images
        weights = weights_of(self.kernel, self.scale)
        margin = (len(weights) - self.scale) // 2
        padded = functional.pad(images, (margin,) * 4, mode="replicate")
        if weights.ndim == 1:
            taps = tuple(weights.tolist())
            rows = filter_and_sample(padded, taps, self.scale, -2)
            return filter_and_sample(rows, taps, self.scale, -1)
        window = _weights_on(self.kernel, self.scale, images.dtype, images.device)
        planes = padded.flatten(0, 1)
        # Depthwise: as fast on a CPU, and in full precision where cuDNN would take TF32.
        windows = window.expand(len(planes), -1, -1, -1)
        sampled = functional.conv2d(planes, windows, stride=self.scale, groups=len(planes))
        return sampled.reshape(*images.shape[:2], *sampled.shape[-2:])

    def adjoint(self, images: Tensor) -> Tensor:
        """D^T y, exact: the vector-Jacobian product of the linear map D.

        Args:
            images: (N, C, h, w).

        Returns:
            (N, C, scale * h, scale * w) with ``<D x, y> == <x, D^T y>`` for every x.
        """
        *lead, h, w = images.shape
        at = images.new_zeros(*lead, self.scale * h, self.scale * w)
        vjp = torch.func.vjp(self.__call__, at)[1]
        result: Tensor = vjp(images)[0]
        return result


def filter_and_sample(images: Tensor, taps: tuple[float, ...], stride: int, dim: int) -> Tensor:
    """Correlate along one dimension and keep every ``stride``-th value, a weighted slice a tap.

    Ten times faster on a CPU than the one-channel convolution it replaces, and equal to it.

    Args:
        images: Of any shape, already padded.
        taps: Weights.
        stride: Step between the values kept.
        dim: Dimension of length L; it becomes ``(L - len(taps)) // stride + 1``.
    """
    count = (images.shape[dim] - len(taps)) // stride + 1
    span = stride * (count - 1) + 1
    sampled = [slice(None)] * images.ndim
    result = images.new_zeros(())
    for offset, tap in enumerate(taps):
        sampled[dim] = slice(offset, offset + span, stride)
        result = torch.add(result, images[tuple(sampled)], alpha=tap)
    return result


@lru_cache(maxsize=64)
def weights_of(kernel: Kernel, scale: int) -> Tensor:
    """The taps of a kernel, (k,) or (k, k), float64; scale 1 gives the identity (1,).

    Raises:
        ConfigError: if they are not what ``Kernel`` says.
    """
    if scale == 1:
        return torch.ones(1, dtype=torch.float64)
    taps = kernel.taps(scale)
    count = len(taps)
    shaped = tuple(taps.shape) in ((count,), (count, count))
    if not (shaped and count >= scale and (count - scale) % 2 == 0):
        raise ConfigError(
            f"taps of kernel {kernel} must be (k,) or (k, k) with k = {scale}, {scale + 2}, ... at "
            f"scale {scale}, got {tuple(taps.shape)}"
        )
    turned = taps.flip(tuple(range(taps.ndim)))
    if not (abs(taps.sum() - 1) < _TOLERANCE and (taps - turned).abs().max() < _TOLERANCE):
        raise ConfigError(f"taps of kernel {kernel} must be symmetric with sum 1, got {taps}")
    return taps


@lru_cache(maxsize=16)
def _weights_on(kernel: Kernel, scale: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1, 1, k, k); kept, as a copy to the device in every iteration would block."""
    return weights_of(kernel, scale)[None, None].to(device, dtype)


def _positions(count: int) -> Tensor:
    """Of taps in pixels, (count,), around 0."""
    return torch.arange(count, dtype=torch.float64) - (count - 1) / 2


def _phases(count: int, frequencies: Tensor) -> Tensor:
    """(..., count), in radians, of taps for frequencies (...) in cycles per pixel."""
    return 2 * torch.pi * frequencies.double()[..., None] * _positions(count)


def _gaussian_count(sigma_px: float, scale: int) -> int:
    """Taps that reach 4 sigma and cover a low-resolution pixel; even for an even scale."""
    missing_px = max(0.0, 2 * _REACH_SIGMAS * sigma_px - scale)
    return scale + 2 * math.ceil(missing_px / 2)


def _short(number: float) -> str:
    """All digits that tell it from other numbers."""
    return repr(float(number)).removesuffix(".0")


def _check_sigma(name: str, sigma_px: float) -> None:
    if not 0 < sigma_px <= LARGEST_SIGMA_PX:
        raise ConfigError(
            f"kernel.{name} must be above 0 and at most {LARGEST_SIGMA_PX:g} px, got {sigma_px:g}"
        )
