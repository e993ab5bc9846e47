"""Potts labelling: the decision with the best evidence for its length of boundary."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dfp_batch.core.contracts import Compute, Refinement, Sources
from dfp_batch.core.decision import select_
from dfp_batch.core.filters import claim_, resize_linearly
from dfp_batch.core.part import Count, NotNegative, Positive
from dfp_batch.core.pyramid import StrongestDetail
from dfp_batch.core.recording import repeat
from dfp_batch.core.sources import greys

_PRIMAL_STEP, _DUAL_STEP = 0.1, 1.2  # their product below 1 / 8, the squared norm of the gradient
_EXACT = 1e-6
_NEWTON_STEPS = 6  # where it would take a GPU longer to tell when to end
_WINDOW_PX = 5
_LEAST = 1e-6


@dataclass(frozen=True)
class Potts(Refinement):
    """Hard decision that weighs the evidence of the decision against the length of its boundary.

    Minimises ``sum_p sum_k -v_k(p) log m_k(p) + sum_k |w grad v_k|`` over weights v that are >= 0
    and sum to 1 (the convex relaxation of the Potts model, Zach et al., 2008), by the primal-dual
    algorithm of Chambolle and Pock (2011), from coarse to fine. Undecided pixels join whatever has
    the shortest boundary; a boundary is cheap along the edges of the all-in-focus image, for which
    a Laplacian pyramid stands: ``w = base_cost + exp(-contrast |grad u|)``.

    Large stacks are labelled at half their size, or less, until N * h * w is at most
    ``largest_px``; between these sizes the weights are interpolated.

    Attributes:
        evidence: Weight of the evidence against the boundary.
        contrast: Of the edges along which a boundary is cheap, per unit of luma in [0, 1].
        base_cost: Of a pixel of boundary along the strongest edge.
        levels: Of the pyramid; every level is half as large as the one before.
        coarse_iterations: At every level but the finest.
        fine_iterations: At full size.
        largest_px: N times the pixels that are labelled at most.

    Raises:
        ConfigError: for a field out of its range.
    """

    evidence: Positive = 1.0
    contrast: NotNegative = 50.0
    base_cost: Positive = 0.05
    levels: Count = 4
    coarse_iterations: Count = 30
    fine_iterations: Count = 20
    largest_px: Count = 1 << 21

    @torch.no_grad()
    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1}, sums to 1 over N."""
        guide = _all_in_focus(sources, decision)
        evidence = decision[:, 0].clamp_min_(_LEAST).log_().mul_(self.evidence)
        weights = self._reduced(evidence, guide)
        size = (guide.shape[-2], guide.shape[-1])
        labels = torch.zeros(size, dtype=torch.int16, device=guide.device)
        most = torch.full(size, -torch.inf, device=guide.device)
        for index, plane in enumerate(weights):  # in turn, since all at full size would not fit
            larger = resize_linearly(plane[None], size)[0]
            claim_(labels, most, larger, index)
        return select_(decision, labels)

    def _reduced(self, evidence: Tensor, guide: Tensor) -> Tensor:
        """Weights v at the size at which N * h * w is at most ``largest_px``."""
        if evidence.numel() <= self.largest_px or min(guide.shape[-2:]) == 1:
            return self._minimise(evidence.float(), guide, 0)
        return self._reduced(_halve(evidence).mul_(2), _halve(guide))

    def _minimise(self, evidence: Tensor, guide: Tensor, level: int) -> Tensor:
        """Weights v (N, h, w) for evidence (N, h, w) and guide (1, h, w)."""
        size = (guide.shape[-2], guide.shape[-1])
        if level == self.levels - 1 or min(size) == 1:
            start = evidence.softmax(0)
        else:  # half as many pixels along a boundary, a quarter of them in an area
            coarse = self._minimise(_halve(evidence).mul_(2), _halve(guide), level + 1)
            start = functional.interpolate(coarse[None], size=size, mode="nearest")[0]
        iterations = self.coarse_iterations if level else self.fine_iterations
        return primal_dual(start, evidence, self._cost(guide[0]), iterations)

    def _cost(self, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Cost of a boundary to the right of and below every pixel, (h, w - 1) and (h - 1, w)."""
        across = self.base_cost + torch.exp(-self.contrast * guide.diff(dim=1).abs())
        down = self.base_cost + torch.exp(-self.contrast * guide.diff(dim=0).abs())
        return across, down


def _all_in_focus(sources: Sources, decision: Tensor) -> Tensor:
    """A quick merge of the lumas, (1, h, w), for its edges."""
    strongest = StrongestDetail(_WINDOW_PX)
    for plane, weight in zip(greys(sources), decision, strict=True):
        strongest.add(plane, weight)
    return strongest.image().clamp_(0, 1)


def _halve(planes: Tensor) -> Tensor:
    """Mean of every 2x2 block, (N, ceil(h / 2), ceil(w / 2)), float32."""
    if planes.dtype == torch.float32:
        return functional.avg_pool2d(planes[None], 2, ceil_mode=True)[0]
    count, h, w = planes.shape
    halves = torch.empty(count, -(-h // 2), -(-w // 2), device=planes.device)
    for half, plane in zip(halves, planes, strict=True):
        half.copy_(_halve(plane[None].float())[0])
    return halves


def primal_dual(
    start: Tensor, evidence: Tensor, cost: tuple[Tensor, Tensor], iterations: int
) -> Tensor:
    """Iterations of Chambolle and Pock on ``-<evidence, v> + sum_k |cost grad v_k|``.

    On a CPU plane by plane: what is worked on stays in the cache.

    Args:
        start: First v, (N, h, w), >= 0, sums to 1 over N.
        evidence: (N, h, w), any sign.
        cost: Of a boundary to the right of and below a pixel, (h, w - 1) and (h - 1, w), >= 0.
        iterations: How many.

    Returns:
        v (N, h, w), >= 0, sums to 1 over N.
    """
    return (planes_at_once if start.is_cuda else _in_turn)(start, evidence, cost, iterations)


class _Begun(NamedTuple):
    """What the iterations work on: v, its extrapolation, what it becomes, and beside it."""

    weights: Tensor
    ahead: Tensor
    moved: Tensor
    duals: tuple[Tensor, Tensor]
    limits: tuple[tuple[Tensor, Tensor], ...]
    threshold: Tensor


def _begun(start: Tensor, cost: tuple[Tensor, Tensor]) -> _Begun:
    duals = torch.zeros_like(start[:, :, 1:]), torch.zeros_like(start[:, 1:])
    limits = tuple((-bound, bound) for bound in cost)
    threshold = torch.full_like(start[0], -1.0)
    return _Begun(start.clone(), start.clone(), torch.empty_like(start), duals, limits, threshold)


def _in_turn(
    start: Tensor, evidence: Tensor, cost: tuple[Tensor, Tensor], iterations: int
) -> Tensor:
    weights, ahead, moved, duals, limits, threshold = _begun(start, cost)
    for _ in range(iterations):
        for index, plane in enumerate(moved):
            torch.add(weights[index], evidence[index], alpha=_PRIMAL_STEP, out=plane)
            for dim, (dual, (least, most)) in enumerate(zip(duals, limits, strict=True)):
                along = 1 - dim
                own = dual[index].add_(ahead[index].diff(dim=along), alpha=_DUAL_STEP)
                torch.clamp(own, least, most, out=own)
                count = own.shape[along]
                plane.narrow(along, 0, count).add_(own, alpha=_PRIMAL_STEP)
                plane.narrow(along, 1, count).sub_(own, alpha=_PRIMAL_STEP)
        onto_simplex_(moved, threshold)
        torch.add(weights, moved, alpha=-2, out=ahead).neg_()
        weights, moved = moved, weights
    return weights


def planes_at_once(
    start: Tensor, evidence: Tensor, cost: tuple[Tensor, Tensor], iterations: int
) -> Tensor:
    """As ``primal_dual``, nearly, by steps that are all the same and never ask for a value."""
    weights, ahead, moved, duals, limits, threshold = _begun(start, cost)

    def step() -> None:
        torch.add(weights, evidence, alpha=_PRIMAL_STEP, out=moved)
        for along, dual, (least, most) in zip((2, 1), duals, limits, strict=True):
            count = dual.shape[along]
            dual.add_(ahead.narrow(along, 1, count), alpha=_DUAL_STEP)
            dual.sub_(ahead.narrow(along, 0, count), alpha=_DUAL_STEP)
            torch.clamp(dual, least, most, out=dual)
            moved.narrow(along, 0, count).add_(dual, alpha=_PRIMAL_STEP)
            moved.narrow(along, 1, count).sub_(dual, alpha=_PRIMAL_STEP)
        _nearly_onto_simplex_(moved, threshold)
        torch.add(weights, moved, alpha=-2, out=ahead).neg_()
        weights.copy_(moved)

    repeat(step, iterations, start.device)
    return weights


def _nearly_onto_simplex_(values: Tensor, threshold: Tensor) -> None:
    """As ``onto_simplex_``, in a few steps of Newton's method that look at all planes at once."""
    if len(values) == 2:  # noqa: PLR2004
        onto_simplex_(values, threshold)
        return
    largest = values.amax(0)
    torch.clamp(threshold, largest - 1, largest - 1 / len(values), out=threshold)
    for _ in range(min(_NEWTON_STEPS, len(values) + 1)):
        above = (values - threshold).clamp_min_(0)
        threshold.add_(above.sum(0).sub_(1).div_(above.sign_().sum(0)))
    values.sub_(threshold).clamp_min_(0)


def onto_simplex_(values: Tensor, threshold: Tensor) -> Tensor:
    """Nearest weights >= 0 that sum to 1 over N, of (N, h, w), in place.

    They are ``max(v - t, 0)`` for the t at which these sum to 1. From any start Newton's method is
    below it after one step and rises to it, in N steps at most (Michelot, 1986).

    Args:
        values: v.
        threshold: Where to begin with t, (h, w); it becomes t.
    """
    if len(values) == 2:  # noqa: PLR2004 - the same, several times faster
        first, second = values
        first.sub_(second).add_(1).div_(2).clamp_(0, 1)
        torch.sub(1, first, out=second)
        return values
    above, total, count = (torch.empty_like(threshold) for _ in range(3))
    largest = functools.reduce(torch.maximum, values)
    torch.clamp(threshold, largest - 1, largest - 1 / len(values), out=threshold)
    for step in range(len(values) + 1):
        total.fill_(-1)
        count.zero_()
        for plane in values:
            torch.sub(plane, threshold, out=above).clamp_min_(0)
            total.add_(above)
            count.add_(above.sign_())
        threshold.add_(total.div_(count))
        if step and float(total.abs().amax()) < _EXACT:
            break
    return values.sub_(threshold).clamp_min_(0)
