"""The source with the strongest detail, band by band."""

from dataclasses import dataclass

from torch import Tensor

from dfp_batch.core.contracts import Compute, Merge, Sources
from dfp_batch.core.part import OddCount
from dfp_batch.core.pyramid import StrongestDetail


@dataclass(frozen=True)
class LaplacianPyramid(Merge):
    """The source with the strongest detail, band by band (Burt and Adelson, 1983).

    The coarsest band is the average of the sources, weighted by the decision: of all alike where
    there is none.

    Attributes:
        window_px: Side of the window over which the strength of a detail is averaged, odd; 1 is the
            classical choice by the largest coefficient (Burt and Kolczynski, 1993, use 5).

    Raises:
        ConfigError: if window_px is not odd and positive.
    """

    window_px: OddCount = 1

    def __call__(
        self, sources: Sources, decision: Tensor, certainty: Tensor, compute: Compute
    ) -> Tensor:
        """Merged (1, C, h, w), clipped to [0, 1]."""
        strongest = StrongestDetail(self.window_px)
        for index, weight in enumerate(decision):
            strongest.add(sources[index], weight)
        return strongest.image().unsqueeze(0).clamp(0, 1)
