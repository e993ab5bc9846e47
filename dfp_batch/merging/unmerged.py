"""No merge: the sources as they are."""

from dataclasses import dataclass

from torch import Tensor

from dfp_batch.core.contracts import Sources
from dfp_batch.core.sources import whole


@dataclass(frozen=True)
class Unmerged:
    """All sources as they are: for reconstructions that fit every one of them."""

    def __call__(self, sources: Sources, decision: Tensor) -> Tensor:
        """The sources, (N, C, h, w)."""
        return whole(sources)
