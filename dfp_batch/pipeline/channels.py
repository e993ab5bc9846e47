"""Images of several channels: all of them are merged by one decision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, FocusMeasure, Refinement, Sources
from dfp_batch.core.decision import decided, winners
from dfp_batch.pipeline import steps
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.steps import Merged, Workplace


@dataclass(frozen=True, eq=False)
class _Measured(FocusMeasure):
    """A decision as sure as the one that was measured."""

    labels: Tensor
    confidence: Tensor
    count: int

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w)."""
        return decided(self.labels, self.confidence, self.count)


@dataclass(frozen=True, eq=False)
class _Decided(Refinement):
    """The decision that was made."""

    seam: ClassVar[str] = "refinement"
    decision: Tensor

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w), the same for every channel."""
        return self.decision.clone()


def merge_channels(
    channels: Sequence[Sources], decided_by: Merged, config: FusionConfig, place: Workplace
) -> list[Tensor]:
    """Merge every channel by the decision that was made for all.

    Args:
        channels: N sources (1, h, w), in [0, 1], of each channel.
        decided_by: What was merged of that by which it was decided.
        config: What to compute; focus and refinement are those of ``decided_by``.
        place: Where.

    Returns:
        The image (1, h, w), in [0, 1], of each channel.
    """
    if not channels:
        return []
    decision, sure = decided_by.decision, decided_by.confidence[0, 0]
    measured = _Measured(winners(decision), sure, len(decision))
    given = replace(config, focus=measured, refinement=_Decided(decision))
    return [_one(steps.merge(channel, given, place).sources) for channel in channels]


def _one(sources: Tensor) -> Tensor:
    image: Tensor = sources[0]
    return image.to(torch.float32)
