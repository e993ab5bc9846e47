"""Which depth covers which: where two are in focus at one place, the nearer one counts."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Refinement, Sources
from dfp_batch.core.decision import certainty, confidence, divide_, total, winners
from dfp_batch.core.filters import gaussian_blur, largest_nearby
from dfp_batch.core.sources import greys

NearEnd = Literal["first", "last", "auto"]

_PEAK, _VALLEY = 0.5, 0.5  # of the largest weight; of the peak before it
_CERTAIN, _REACH_PX = 0.5, 16
_LEFT = 0.1  # of the weight of what is covered
_EDGE_SIGMA_PX, _EDGE_REACH_PX = 1.0, 2
_CLEAR = 0.02  # share by which outlines must be stronger to tell


@dataclass(frozen=True)
class NearFirst(Refinement):
    """A refinement that is told to prefer what is near.

    A wide aperture looks around a near object and sees what is behind it, sharp, through its blur.
    There the weights of the stack, from its near end on, have a peak, a valley and a second peak:
    everything behind the valley is covered. A pair has no valley, and is left as it is.

    Attributes:
        base: Refines the decision.
        near: End of the stack that is near; "auto" looks at outlines: a near object has a sharp one
            where it is in focus, and a blurred one wherever what is behind it is. It leaves a stack
            as it is that does not clearly tell.
    """

    base: Refinement
    near: NearEnd

    @property
    def needs_all(self) -> bool:
        """Whether the refinement does."""
        return self.base.needs_all

    @property
    def iterations(self) -> int:
        """Of the refinement."""
        return self.base.iterations

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N."""
        if len(sources) < 3:  # noqa: PLR2004 - peak, valley, peak
            return self.base(sources, decision, compute)
        near = self.near
        if near == "auto":
            certain = certainty(confidence(decision)[0], _REACH_PX)[0] > _CERTAIN
            refined = self.base(sources, decision.clone(), compute)
            found = near_end(sources, winners(refined), certain)
            if found is None:
                return refined
            near = found
        count = len(sources)
        cover_(decision, range(count) if near == "first" else range(count - 1, -1, -1))
        return self.base(sources, decision, compute)


@torch.no_grad()
def cover_(decision: Tensor, nearest_first: Sequence[int]) -> None:
    """Take weight from what lies behind something nearer that is in focus too, in place.

    Args:
        decision: (N, 1, h, w), >= 0; it sums to 1 over N, also afterwards.
        nearest_first: Indices of the sources.
    """
    enough = _PEAK * functools.reduce(torch.maximum, decision).float()
    peak, valley = torch.zeros_like(enough), torch.zeros_like(enough)
    covered = torch.zeros_like(enough, dtype=torch.bool)
    for index in nearest_first:
        weight = decision[index]
        covered |= (peak >= enough) & (valley < _VALLEY * peak)
        rises = weight >= peak
        peak = torch.where(rises & ~covered, weight, peak)
        valley = torch.where(rises, weight, torch.minimum(valley, weight))
        weight.mul_(torch.where(covered, _LEFT, 1.0))
    divide_(decision, total(decision))


def near_end(sources: Sources, labels: Tensor, certain: Tensor) -> Literal["first", "last"] | None:
    """The end of a stack whose outlines are sharper where depths meet; None if neither's are.

    Args:
        sources: N sources (C, h, w).
        labels: That are in focus, (h, w).
        certain: Where that is so, (h, w).
    """
    borders = [_border(labels, certain, dim) for dim in (0, 1)]
    of_first = of_last = 0.0
    for index, plane in enumerate(greys(sources)):
        outline = _outlines(plane)[0]
        for dim, (lower, upper, jumps) in enumerate(borders):
            beside = outline.narrow(dim, 0, outline.shape[dim] - 1)
            of_first += float(beside[jumps & (lower == index)].sum())
            of_last += float(beside[jumps & (upper == index)].sum())
    clear = _CLEAR * (of_first + of_last)
    if abs(of_first - of_last) <= clear:
        return None
    return "first" if of_first > of_last else "last"


def _border(labels: Tensor, certain: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper label of neighbours along a dimension, and where both are depths apart."""
    length = labels.shape[dim] - 1
    one, other = labels.narrow(dim, 0, length), labels.narrow(dim, 1, length)
    jumps = ((one - other).abs() > 1) & certain.narrow(dim, 0, length)
    return torch.minimum(one, other), torch.maximum(one, other), jumps


def _outlines(plane: Tensor) -> Tensor:
    """Largest gradient within a few pixels, (1, h, w)."""
    smooth = gaussian_blur(plane, _EDGE_SIGMA_PX)
    down, across = torch.gradient(smooth, dim=(1, 2))
    return largest_nearby(torch.hypot(down, across), 2 * _EDGE_REACH_PX + 1)
