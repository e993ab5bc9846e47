"""The self-check: which of two reconstructions restores an item better, without its truth."""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from dfp_batch.core.contracts import Compute, Reconstruction, ignore_progress
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.filters import modified_laplacian
from dfp_batch.core.image import luma

_VIEWS, _VIEW_PX = 2, 96  # parts of a large item that are looked at; sides once more degraded
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
    helps one scale above (see the figures in docs/decisions/0011). Of a large item only the two
    parts with the most detail are looked at.

    Args:
        candidate: What may be worse than the floor.
        floor: What is safe.
        low: u, (1, C, h, w), in [0, 1].
        degrade: D.
        compute: Randomness, precision.

    Returns:
        Difference of the PSNR of lumas; nan at scale 1 and for images that are too small.
    """
    if degrade.scale == 1 or min(low.shape[-2:]) < _SMALLEST_PX * degrade.scale:
        return math.nan
    views = _telling_views(low, degrade.scale)
    silent = replace(compute, on_iteration=ignore_progress)
    errors = [
        torch.stack([_squared_error(part, view, degrade, silent) for view in views]).mean()
        for part in (candidate, floor)
    ]
    tiny = torch.finfo(low.dtype).tiny
    return float(10 * torch.log10((errors[1] + tiny) / (errors[0] + tiny)))


def _squared_error(
    part: Reconstruction, known: Tensor, degrade: Degradation, compute: Compute
) -> Tensor:
    """Of the luma of a known image, restored from itself degraded."""
    lower = degrade(known).clamp(0, 1)
    made = part(lower, torch.ones_like(lower[:, :1]), degrade, compute).image
    inner = (..., slice(_RIM_PX, -_RIM_PX), slice(_RIM_PX, -_RIM_PX))
    return (luma(made) - luma(known))[inner].square().mean()


def _telling_views(image: Tensor, scale: int) -> list[Tensor]:
    """Parts of an image (1, C, h, w) with the most detail, with sides that are multiples of s."""
    height, width = (side // scale * scale for side in image.shape[-2:])
    side_px = _VIEW_PX * scale
    if height * width <= _VIEWS * side_px**2:
        return [image[..., :height, :width]]
    rows, columns = min(height, side_px), min(width, side_px)
    steps = rows // 2, columns // 2
    detail = modified_laplacian(luma(image)[0])
    found = functional.avg_pool2d(detail, (rows, columns), steps)[0].cpu()
    views = []
    for _ in range(_VIEWS):
        down, across = divmod(int(found.argmax()), found.shape[1])
        top, left = down * steps[0], across * steps[1]
        views.append(image[..., top : top + rows, left : left + columns])
        found[max(0, down - 1) : down + 2, max(0, across - 1) : across + 2] = -1
    return views
