"""No refinement."""

from dataclasses import dataclass

from torch import Tensor

from dfp_batch.core.contracts import Compute, Refinement, Sources


@dataclass(frozen=True)
class Unrefined(Refinement):
    """The decision as it was measured."""

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """The same decision (N, 1, h, w)."""
        return decision
