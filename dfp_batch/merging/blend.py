"""The average of the sources, weighted by the decision."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Merge, Sources

SEEN, HARDLY_SEEN = 0.1, 0.01  # of a weight: more shows fine detail, less next to nothing


@dataclass(frozen=True)
class Blend(Merge):
    """Average of the sources, weighted by the decision: ``sum_k m_k I_k``."""

    def __call__(
        self, sources: Sources, decision: Tensor, certainty: Tensor, compute: Compute
    ) -> Tensor:
        """Merged (1, C, h, w), within the range of the sources."""
        return blend(sources, decision)


def blend(sources: Sources, decision: Tensor) -> Tensor:
    """``sum_k m_k I_k``, (1, C, h, w), of N sources and a decision (N, 1, h, w)."""
    merged = torch.zeros((), device=decision.device)
    for index, weight in enumerate(decision):
        image = sources.full_quality(index, weight[0] > SEEN, weight[0] > HARDLY_SEEN)
        merged = merged + weight * image
    return merged.unsqueeze(0)
