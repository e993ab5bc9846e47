"""Back projection of a whole batch by small matrices, one for every kernel and direction.

``x += up(low - D(x))`` from ``x = up(low)`` on is ``up(y)`` throughout, with
``y += low - D(up(y))``. For a separable kernel ``D(up(y))`` is a matrix along each axis; any kernel
is a sum of separable ones. So all steps are at source size, and of one shape for all kernels.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from dfp_batch.core.degradation import Kernel, weights_of
from dfp_batch.core.image import enlarge

TERMS = 16  # separable kernels that make up one; what is left is below a thousandth


def matrices_of(kernels: Sequence[Kernel], scale: int, side_px: int) -> Tensor:
    """What D(up()) does to rows and to columns, (len(kernels), 2, TERMS, side_px, side_px).

    Args:
        kernels: Of D.
        scale: 2, 3 or 4.
        side_px: Of the images at low resolution.
    """
    return torch.stack([_matrices(kernel, scale, side_px) for kernel in kernels])


def _matrices(kernel: Kernel, scale: int, side_px: int) -> Tensor:
    """Of one kernel, (2, TERMS, side_px, side_px)."""
    terms = _separable_terms(weights_of(kernel, scale))
    seen = _enlarged_at_taps(terms.shape[-1], scale, side_px)
    made = torch.zeros(2, TERMS, side_px, side_px)
    made[:, : terms.shape[1]] = torch.einsum("atk,kij->atij", terms, seen).float()
    return made


def _separable_terms(weights: Tensor) -> Tensor:
    """Taps along y and x whose products add up to a kernel's, (2, TERMS at most, k), float64."""
    if weights.ndim == 1:
        return weights.expand(2, 1, -1)
    left, strengths, right = torch.linalg.svd(weights)
    roots = strengths.sqrt()[:, None]
    return torch.stack((roots * left.mT, roots * right))[:, :TERMS]


@lru_cache(maxsize=32)
def _enlarged_at_taps(count: int, scale: int, side_px: int) -> Tensor:
    """Of a line's enlargement what lies at tap k of pixel i, from every pixel j: (k, i, j).

    Beyond its ends the enlargement is replicated.
    """
    lines = torch.eye(side_px, dtype=torch.float64)[:, None, :, None]
    enlarged = enlarge(lines, scale)[:, 0, :, 0].mT
    first = scale * torch.arange(side_px) - (count - scale) // 2
    places = first + torch.arange(count)[:, None]
    return enlarged[places.clamp(0, len(enlarged) - 1)]


def projected(low: Tensor, matrices: Tensor, scale: int, steps: int) -> Tensor:
    """The enlargement after so many steps of back projection.

    Args:
        low: (N, 1, h, h).
        matrices: Of the kernels of N / g images each, see ``matrices_of``: (g, 2, TERMS, h, h).
        scale: 2, 3 or 4.
        steps: Their number.

    Returns:
        (N, 1, scale * h, scale * h).
    """
    rows, columns = matrices.unbind(1)
    given = low.reshape(len(matrices), -1, *low.shape[-2:])
    image = given
    for _ in range(steps):
        across_rows = torch.einsum("gtij,gnjk->gnitk", rows, image)
        image = image + given - torch.einsum("gnitk,gtlk->gnil", across_rows, columns)
    return enlarge(image.reshape(low.shape), scale)
