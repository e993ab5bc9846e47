"""No focus measure: every source counts the same."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dfp_batch.core.contracts import FocusMeasure, Sources


@dataclass(frozen=True)
class Undecided(FocusMeasure):
    """Every source counts the same everywhere: for merges that need no decision."""

    decides: ClassVar[bool] = False

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w), 1 / N everywhere."""
        first = sources.preview(0)[:1]
        return torch.full_like(first, 1 / len(sources)).repeat(len(sources), 1, 1, 1)
