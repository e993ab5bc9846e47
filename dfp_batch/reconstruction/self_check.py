"""The self-check: which of two reconstructions restores an item better, without its truth."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Reconstruction, ignore_progress
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import luma

_LARGEST_PX = 512  # sides of the middle of the item that is looked at
_SMALLEST_PX = 48  # of that, once more degraded; from fewer pixels the verdict was wrong
_RIM_PX = 4


@torch.no_grad()
def cross_scale_gain_db(
    candidate: Reconstruction,
    floor: Reconstruction,
    low: Tensor,
    degrade: Degradation,
    compute: Compute,
) -> float:
    """How much better a candidate than a floor restores the item from itself, degraded once more.

    The merged sources u are known. Both restore u from D u, and u is the truth: what helps there
    helps one scale above (see the figures in docs/decisions/0011).

    Args:
        candidate: What may be worse than the floor.
        floor: What is safe.
        low: u, (1, C, h, w), in [0, 1].
        degrade: D.
        compute: Randomness, precision.

    Returns:
        Difference of the PSNR of lumas; nan at scale 1 and for images that are too small.
    """
    known = _middle(low, degrade.scale)
    if degrade.scale == 1 or min(known.shape[-2:]) < _SMALLEST_PX * degrade.scale:
        return math.nan
    lower = degrade(known).clamp(0, 1)
    everywhere = torch.ones_like(lower[:, :1])
    silent = replace(compute, on_iteration=ignore_progress)
    inner = (..., slice(_RIM_PX, -_RIM_PX), slice(_RIM_PX, -_RIM_PX))
    errors = [
        (luma(part(lower, everywhere, degrade, silent).image) - luma(known))[inner].square().mean()
        for part in (candidate, floor)
    ]
    tiny = torch.finfo(lower.dtype).tiny
    return float(10 * torch.log10((errors[1] + tiny) / (errors[0] + tiny)))


def _middle(image: Tensor, multiple: int) -> Tensor:
    """The middle of an image, with sides that are multiples of the scale."""
    height, width = (min(side, _LARGEST_PX) // multiple * multiple for side in image.shape[-2:])
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]
