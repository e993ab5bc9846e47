"""The average of the sources, weighted by the decision."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.alignment.stack import full_quality
from dfp_batch.core.contracts import Sources

SEEN = 0.1  # of a weight: more shows fine detail


@dataclass(frozen=True)
class Blend:
    """Average of the sources, weighted by the decision: ``sum_k m_k I_k``."""

    def __call__(self, sources: Sources, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w), within the range of the sources."""
        merged = torch.zeros((), device=decision.device)
        for index, weight in enumerate(decision):
            where = weight[0].cpu().numpy() > SEEN
            merged = merged + weight * full_quality(sources, index, where)
        return merged.unsqueeze(0)
