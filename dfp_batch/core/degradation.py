"""The degradation D: how a sharp high-resolution image becomes a low-resolution one.

``Degradation(scale, kernel)`` is D for any ``Kernel``: blur by the kernel, keep every ``scale``-th
pixel. The kernels that come with the package are in ``degradation/kernels.py``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from dfp_batch.core.filters import filter_and_sample
from dfp_batch.core.part import Part
from dfp_batch.errors import ConfigError

SCALES = (1, 2, 3, 4)
CODE_LENGTH = 8

_CODE_ANGLES_DEG = (0, 45, 90, 135)
_CODE_FREQUENCIES = (0.5, 1.0)  # of the Nyquist frequency of the low resolution

_TOLERANCE = 1e-9


class Kernel(Part, ABC):
    """The blur of a degradation. Own ones inherit from it, as frozen dataclasses that give taps.

    Attributes:
        is_estimated: Whether it only stands for one that is estimated from each item.
    """

    seam: ClassVar[str] = "kernel"
    is_estimated: ClassVar[bool] = False

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
    kernel: Kernel

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
        sampled = _sampled(planes, window.expand(len(planes), -1, -1, -1), self.scale)
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


def _sampled(planes: Tensor, windows: Tensor, scale: int) -> Tensor:
    """Every ``scale``-th pixel of planes (N, H, W) seen through windows (N, 1, k, k)."""
    # Depthwise: as fast on a CPU, and in full precision where cuDNN would take TF32.
    return functional.conv2d(planes, windows, stride=scale, groups=len(planes))


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


def tap_positions(count: int) -> Tensor:
    """Of taps in pixels, (count,), around 0."""
    return torch.arange(count, dtype=torch.float64) - (count - 1) / 2


def _phases(count: int, frequencies: Tensor) -> Tensor:
    """(..., count), in radians, of taps for frequencies (...) in cycles per pixel."""
    return 2 * torch.pi * frequencies.double()[..., None] * tap_positions(count)
