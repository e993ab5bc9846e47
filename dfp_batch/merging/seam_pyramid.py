"""The decided source, and along the seams between sources their Laplacian pyramid."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dfp_batch.core.allocator import MUCH, give_back
from dfp_batch.core.contracts import Compute, Merge, Sources
from dfp_batch.core.decision import winners
from dfp_batch.core.filters import add_product_
from dfp_batch.core.image import Plane
from dfp_batch.core.part import CountOrNone, OddCount, Positive
from dfp_batch.core.pyramid import StrongestDetail
from dfp_batch.merging.blend import HARDLY_SEEN, SEEN, blend
from dfp_batch.merging.seams import Labels, distance_px, seam_steps

_LEVELS = 5  # of detail: what is coarser than 32 px fades along a seam as the decision does
_PYRAMID_PX = 160  # that so many levels reach


@dataclass(frozen=True)
class SeamPyramid(Merge):
    """The decided source, and along the seams between sources their Laplacian pyramid.

    Near a seam no source is right: the blurred foreground spreads over the background, and the
    pyramid mends more of it than any selection does. Away from it selection is exact; and where no
    source is in focus the strongest detail is the strongest noise. The blur
    spreads the farther the more steps of focus lie between the two sources that meet.

    Attributes:
        band_px: Half the width per step of focus of the band along a seam that the pyramid fills.
        free_steps: Steps of focus that need no pyramid.
        feather_px: Width of its soft rim.
        window_px: Of the pyramid.

    Raises:
        ConfigError: for a field out of its range.
    """

    band_px: Positive = 16.0
    free_steps: CountOrNone = 0
    feather_px: Positive = 8.0
    window_px: OddCount = 5

    def reach_px(self, largest_step: int) -> int:
        """That of the pyramid, or of the widest band."""
        return max(_PYRAMID_PX, round(self.band_px * largest_step + self.feather_px))

    def __call__(
        self, sources: Sources, decision: Tensor, certainty: Tensor, compute: Compute
    ) -> Tensor:
        """Merged (1, C, h, w), in [0, 1]."""
        labels = winners(decision).cpu().numpy()
        share = torch.from_numpy(self.share(labels))[None].to(certainty) * certainty
        if not share.any():
            return blend(sources, decision)
        strongest, merged = StrongestDetail(self.window_px, _LEVELS), certainty.new_zeros(0)
        for index, weight in enumerate(decision):
            beside = (share[0] > 0) | (weight[0] > HARDLY_SEEN)
            image = sources.full_quality(index, weight[0] > SEEN, beside)
            merged = merged if index else torch.zeros_like(image)
            add_product_(merged, image, weight)
            strongest.add(image, weight)
            del image
            give_back(MUCH)
        mended = strongest.image().clamp_(0, 1).sub_(merged)
        return add_product_(merged, mended, share)[None]

    def share(self, labels: Labels) -> Plane:
        """Share (h, w) of the pyramid, in [0, 1], between the sources ``labels`` (h, w)."""
        steps = seam_steps(labels)
        share = np.zeros(labels.shape, np.float32)
        for step in range(self.free_steps + 1, int(steps.max()) + 1):
            if not (steps == step).any():
                continue
            reach_px = self.band_px * (step - self.free_steps)
            ramp = (reach_px - distance_px(steps == step)) / self.feather_px + 0.5
            np.maximum(share, ramp.clip(0, 1), out=share)
        return share
