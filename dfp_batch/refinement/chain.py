"""Two refinements, one after the other."""

from dataclasses import dataclass, field

from torch import Tensor

from dfp_batch.core.contracts import Compute, Refinement, Sources
from dfp_batch.refinement.area_clean_up import AreaCleanUp
from dfp_batch.refinement.guided_filter import GuidedFilter


@dataclass(frozen=True)
class Chain(Refinement):
    """One refinement after the other.

    Attributes:
        first: Improves the measured decision.
        second: Improves what the first one made.
    """

    first: Refinement = field(default_factory=AreaCleanUp)
    second: Refinement = field(default_factory=GuidedFilter)

    @property
    def needs_all(self) -> bool:
        """Whether one of the two does."""
        return self.first.needs_all or self.second.needs_all

    @property
    def iterations(self) -> int:
        """Of both."""
        return self.first.iterations + self.second.iterations

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N."""
        return self.second(sources, self.first(sources, decision, compute), compute)
