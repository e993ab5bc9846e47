"""No merge: the sources as they are."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dfp_batch.core.contracts import Compute, Merge, Sources
from dfp_batch.core.sources import whole


@dataclass(frozen=True)
class Unmerged(Merge):
    """All sources as they are: for reconstructions that fit every one of them."""

    needs_all: ClassVar[bool] = True

    def __call__(
        self, sources: Sources, decision: Tensor, certainty: Tensor, compute: Compute
    ) -> Tensor:
        """The sources, (N, C, h, w)."""
        return whole(sources)
