"""What an image shows of how it was made: its noise and the blocks of JPEG."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor
from torch.nn import functional

from dfp_batch.core.filters import box_blur

_SECOND_PX = 3  # that a second difference takes
_NOISE_GAIN = 6.0  # of unit noise by the second differences along both axes
_NOISE_BLOCK_PX = 16
_LIGHTS, _FEWEST_BLOCKS = 8, 16
_AROUND_BLOCKS = 9
_EXACT_PX, _STRIP_PX = 1 << 20, 64
_THIRD = (1.0, -3.0, 3.0, -1.0)  # differences
_JPEG_PX = 8
_SMALLEST_WITH_BLOCKS_PX = 32


def noise_level(plane: Tensor) -> Tensor:
    """Standard deviation of the noise of a plane (1, 1, h, w), on its device.

    Second differences across and down, which planes and edges along one axis have not (Immerkaer,
    1996), in the flattest tenth of all blocks of 16 px: texture is taken for little noise.

    Returns:
        Scalar >= 0; 0 for images of less than 3 px.
    """
    if min(plane.shape[-2:]) < _SECOND_PX:
        return plane.new_zeros(())
    ordered = _block_powers(plane).flatten().sort().values
    return ordered[len(ordered) // 10].sqrt()


def _block_powers(planes: Tensor) -> Tensor:
    """Variance of the noise in every block of planes (N, 1, h, w), if they are flat."""
    differences = planes.diff(n=2, dim=-1).diff(n=2, dim=-2)  # faster than a convolution
    return _blocks(differences.square_()) / _NOISE_GAIN**2


def _blocks(planes: Tensor) -> Tensor:
    """Means of blocks that overlap by half."""
    side = min(_NOISE_BLOCK_PX, *planes.shape[-2:])
    return functional.avg_pool2d(planes, side, max(1, side // 2))


def blockiness(plane: Tensor) -> Tensor:
    """How much the borders of JPEG's blocks of 8 px show in a plane (1, 1, h, w), on its device.

    Third differences at the borders, wherever those begin, over those elsewhere. Of images made
    smaller and never compressed 9 of 10 are below 1.05; after JPEG of quality 90 the median is
    1.15, of 80 1.35.

    Returns:
        Scalar, 1 without blocks; 1 for images of less than 32 px.
    """
    if min(plane.shape[-2:]) < _SMALLEST_WITH_BLOCKS_PX:
        return plane.new_ones(())
    across, down = (_blockiness_along_rows(each) for each in (plane, plane.mT))
    return (across + down) / 2


def _blockiness_along_rows(plane: Tensor) -> Tensor:
    first, second, third, fourth = (
        plane[..., k : plane.shape[-1] - len(_THIRD) + 1 + k] * factor
        for k, factor in enumerate(_THIRD)
    )
    differences = (first + second + third + fourth).abs()
    usual = differences.clamp(max=2 * differences.mean())  # edges of objects count for little
    columns = usual.mean((0, 1, 2))
    phases = columns[: len(columns) // _JPEG_PX * _JPEG_PX].view(-1, _JPEG_PX).mean(0)
    return phases.max() / (phases.median() + torch.finfo(plane.dtype).tiny)


@dataclass(frozen=True)
class NoiseOfLight:
    """Noise of a camera: its variance grows with the light.

    Attributes:
        dark: Variance in the dark.
        slope: By which it grows up to white.
    """

    dark: float
    slope: float

    def at(self, light: float) -> float:
        """Standard deviation at a light in [0, 1]."""
        return math.sqrt(self.dark + self.slope * light)

    def variance(self, plane: Tensor) -> Tensor:
        """Of every pixel of an image in [0, 1]."""
        return self.dark + self.slope * plane.clamp(0, 1)


def noise_of_light(images: Iterable[Tensor]) -> NoiseOfLight:
    """Noise of images (C, h, w) of one scene, in [0, 1], by its light, all channels alike.

    As ``noise_level``, in the flattest quarter of the blocks of every light, each of the image that
    is the flattest there: a blurred one has the noise of a sharp one, and no texture.

    Args:
        images: One or more, of one size.
    """
    powers, lights = _flattest(images)
    if not len(powers):
        return NoiseOfLight(0.0, 0.0)
    rows, values = [], []
    for low in range(_LIGHTS):
        found = powers[(lights * _LIGHTS).floor().clamp(0, _LIGHTS - 1) == low]
        if len(found) >= _FEWEST_BLOCKS:
            flat = float(found.sort().values[len(found) // 4])
            share = math.sqrt(len(found))
            rows.append((share, share * (low + 0.5) / _LIGHTS))
            values.append(share * flat)
    if not rows:
        return NoiseOfLight(float(powers.min()), 0.0)
    (dark, slope), _ = nnls(np.array(rows), np.array(values))
    return NoiseOfLight(float(dark), float(slope))


def _thinned(image: Tensor) -> Tensor:
    """Every fourth strip of rows of a large image (C, h, w), which tell as much."""
    _, h, w = image.shape
    if h * w <= _EXACT_PX:
        return image
    return torch.cat([image[:, top : top + _STRIP_PX] for top in range(0, h, 4 * _STRIP_PX)], 1)


def _flattest(images: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Power and light of every block, (n,) each, of the image that is the flattest around it.

    Chosen by the block itself, the one of least noise would be taken every time.
    """
    flattest = powers = lights = torch.zeros(0)
    for image in images:
        if min(image.shape[-2:]) < _SECOND_PX:
            break
        planes = _thinned(image)[:, None]
        power, light = _block_powers(planes), _blocks(planes[..., 1:-1, 1:-1])
        around = box_blur(power[:, 0], _AROUND_BLOCKS, "reflect")[:, None]
        if not len(flattest):
            flattest, powers, lights = around, power, light
        less = around < flattest
        flattest, powers, lights = (
            torch.where(less, new, old)
            for new, old in ((around, flattest), (power, powers), (light, lights))
        )
    return powers.flatten(), lights.flatten()
