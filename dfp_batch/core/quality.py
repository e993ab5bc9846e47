"""What an image shows of how it was made: its noise and the blocks of JPEG."""

import torch
from torch import Tensor
from torch.nn import functional

_SECOND = (1.0, -2.0, 1.0)
_NOISE_GAIN = 6.0  # of unit noise by the second differences along both axes
_NOISE_BLOCK_PX = 16
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
    if min(plane.shape[-2:]) < len(_SECOND):
        return plane.new_zeros(())
    second = torch.tensor(_SECOND, device=plane.device, dtype=plane.dtype)
    differences = functional.conv2d(plane, torch.outer(second, second)[None, None] / _NOISE_GAIN)
    side = min(_NOISE_BLOCK_PX, *differences.shape[-2:])
    powers = functional.avg_pool2d(differences.square(), side, max(1, side // 2))
    ordered = powers.flatten().sort().values
    return ordered[len(ordered) // 10].sqrt()


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
