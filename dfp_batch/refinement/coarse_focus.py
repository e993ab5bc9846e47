"""The least blurred source where none is in focus, told by coarser scales."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Refinement, Sources
from dfp_batch.core.decision import certainty, confidence, divide_, total
from dfp_batch.core.filters import resize_linearly
from dfp_batch.core.part import Count
from dfp_batch.core.sources import USUAL_FACTOR, reduced
from dfp_batch.core.view import complete_, hide_
from dfp_batch.focus.multi_scale_laplacian import MultiScaleLaplacian

_CERTAIN = 0.99
_REACH_PX = 4  # beside detail of one source the least blurred one may be another
_LEAST = 1e-3
_MEASURE = MultiScaleLaplacian()
_MARGIN_PX = 3  # small ones: as far as a measure sees what stands in for a source


@dataclass(frozen=True)
class CoarseFocus(Refinement):
    """Where a decision is uncertain, what a focus measure says of the reduced sources.

    What is blurred in every source has no detail but at coarser scales, and there the least blurred
    one has most. Where the coarser decision is uncertain as well, a still coarser one is taken.

    There a measure of the reduced sources, ``MultiScaleLaplacian``, adds its evidence::

        m_k  *=  (coarse m_k)^(1 - certainty)

    Attributes:
        factor: By which the sources are reduced, again and again.
        levels: How often.
    """

    factor: Count = USUAL_FACTOR
    levels: Count = 2

    @torch.no_grad()
    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N."""
        return self._filled(sources, decision, self.levels)

    def _filled(self, sources: Sources, decision: Tensor, levels: int) -> Tensor:
        sure = certainty(confidence(decision)[0], _REACH_PX)
        if levels == 0 or bool((sure > _CERTAIN).all()):
            return decision
        small = reduced(sources, self.factor, _MARGIN_PX)
        coarse = self._filled(small, _MEASURE(small), levels - 1)
        _leave_open_(coarse, small)
        size = (decision.shape[-2], decision.shape[-1])
        share = 1 - sure
        for weight, coarser in zip(decision, coarse, strict=True):
            evidence = resize_linearly(coarser.clamp_min(_LEAST).log_(), size)
            weight.mul_(evidence.mul_(share).exp_())
        return divide_(decision, total(decision))


def _leave_open_(decision: Tensor, sources: Sources) -> None:
    """Where a source does not show the scene nothing speaks for it nor against it: 1 / N."""
    if not hide_(decision, sources):
        return
    complete_(decision, sources)
    parts = [sources.covered(index) for index in range(len(sources))]
    hidden = [0 if part is None else (1 - part) / len(sources) for part in parts]
    decision *= 1 - sum(hidden)
    for weight, own in zip(decision, hidden, strict=True):
        weight.add_(own)
