"""No focus measure: every source counts the same."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.core.contracts import Sources


@dataclass(frozen=True)
class Undecided:
    """Every source counts the same everywhere: for merges that need no decision."""

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w), 1 / N everywhere."""
        return torch.full_like(sources[0][:1], 1 / len(sources)).repeat(len(sources), 1, 1, 1)
