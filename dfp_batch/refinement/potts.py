"""Potts labelling: the decision with the best evidence for its length of boundary."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dfp_batch.core.contracts import Compute, Refinement, Sources
from dfp_batch.core.decision import select_
from dfp_batch.core.image import luma_plane
from dfp_batch.core.part import Count, NotNegative, Positive
from dfp_batch.core.pyramid import StrongestDetail
from dfp_batch.core.sources import previews

_STEP = 0.35  # of both the primal and the dual step: below 1 / sqrt(8), the norm of the gradient
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
    fine_iterations: Count = 60
    largest_px: Count = 1 << 21

    @torch.no_grad()
    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1}, sums to 1 over N."""
        guide = luma_plane(_all_in_focus(sources, decision))
        evidence = decision[:, 0].clamp_min_(_LEAST).log_().mul_(self.evidence)
        weights = self._reduced(evidence, guide)
        size = (guide.shape[-2], guide.shape[-1])
        labels = torch.zeros(size, dtype=torch.int64, device=guide.device)
        most = torch.full(size, -torch.inf, device=guide.device)
        for index, plane in enumerate(weights):  # in turn, since all at full size would not fit
            larger = functional.interpolate(plane[None, None], size=size, mode="bilinear")[0, 0]
            labels[larger > most] = index
            torch.maximum(most, larger, out=most)
        return select_(decision, labels)

    def _reduced(self, evidence: Tensor, guide: Tensor) -> Tensor:
        """Weights v at the size at which N * h * w is at most ``largest_px``."""
        if evidence.numel() <= self.largest_px or min(guide.shape[-2:]) == 1:
            return self._minimise(evidence, guide, 0)
        return self._reduced(2 * _halve(evidence), _halve(guide))

    def _minimise(self, evidence: Tensor, guide: Tensor, level: int) -> Tensor:
        """Weights v (N, h, w) for evidence (N, h, w) and guide (1, h, w)."""
        size = (guide.shape[-2], guide.shape[-1])
        if level == self.levels - 1 or min(size) == 1:
            start = evidence.softmax(0)
        else:  # half as many pixels along a boundary, a quarter of them in an area
            coarse = self._minimise(2 * _halve(evidence), _halve(guide), level + 1)
            start = functional.interpolate(coarse[None], size=size, mode="nearest")[0]
        iterations = self.coarse_iterations if level else self.fine_iterations
        return primal_dual(start, evidence, self._cost(guide[0]), iterations)

    def _cost(self, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Cost of a boundary to the right of and below every pixel, (h, w - 1) and (h - 1, w)."""
        across = self.base_cost + torch.exp(-self.contrast * guide.diff(dim=1).abs())
        down = self.base_cost + torch.exp(-self.contrast * guide.diff(dim=0).abs())
        return across, down


def _all_in_focus(sources: Sources, decision: Tensor) -> Tensor:
    """A quick merge (C, h, w), for its edges."""
    strongest = StrongestDetail(_WINDOW_PX)
    for source, weight in zip(previews(sources), decision, strict=True):
        strongest.add(source, weight)
    return strongest.image().clamp_(0, 1)


def _halve(planes: Tensor) -> Tensor:
    """Mean of every 2x2 block, (N, ceil(h / 2), ceil(w / 2))."""
    return functional.avg_pool2d(planes[None], 2, ceil_mode=True)[0]


def primal_dual(
    start: Tensor, evidence: Tensor, cost: tuple[Tensor, Tensor], iterations: int
) -> Tensor:
    """Iterations of Chambolle and Pock on ``-<evidence, v> + sum_k |cost grad v_k|``.

    Args:
        start: First v, (N, h, w), >= 0, sums to 1 over N.
        evidence: (N, h, w), any sign.
        cost: Of a boundary to the right of and below a pixel, (h, w - 1) and (h - 1, w), >= 0.
        iterations: How many.

    Returns:
        v (N, h, w), >= 0, sums to 1 over N.
    """
    across, down = cost
    weights, ahead = start, start
    dual_across = torch.zeros_like(start[:, :, 1:])
    dual_down = torch.zeros_like(start[:, 1:])
    for _ in range(iterations):
        dual_across = (dual_across + _STEP * ahead.diff(dim=2)).clamp(-across, across)
        dual_down = (dual_down + _STEP * ahead.diff(dim=1)).clamp(-down, down)
        moved = weights + _STEP * evidence
        moved[:, :, :-1] += _STEP * dual_across
        moved[:, :, 1:] -= _STEP * dual_across
        moved[:, :-1] += _STEP * dual_down
        moved[:, 1:] -= _STEP * dual_down
        before, weights = weights, onto_simplex(moved)
        ahead = 2 * weights - before
    return weights


def onto_simplex(values: Tensor) -> Tensor:
    """Nearest weights >= 0 that sum to 1 over N, of (N, h, w)."""
    if len(values) == 2:  # noqa: PLR2004 - the same, several times faster
        first = ((values[0] - values[1] + 1) / 2).clamp(0, 1)
        return torch.stack([first, 1 - first])
    # Michelot (1986): drop what is not above the threshold, until nothing more is dropped.
    kept = torch.ones_like(values, dtype=torch.bool)
    threshold = (values.sum(0) - 1) / len(values)
    for _ in range(len(values) - 1):
        above = kept & (values > threshold)
        if torch.equal(above, kept):
            break
        kept = above
        threshold = ((values * kept).sum(0) - 1) / kept.sum(0)
    return (values - threshold).clamp_min(0)
