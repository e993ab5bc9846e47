"""A hard decision by a vote of the sure pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Refinement, Sources
from dfp_batch.core.decision import confidence, present, select_, winners
from dfp_batch.core.filters import claim_, gaussian_blur, reduce_by_area, resize_linearly
from dfp_batch.core.part import Count, Positive, Share

_EXACT_PX = 1 << 20


@dataclass(frozen=True)
class ConfidenceVoting(Refinement):
    """Hard decision by a vote of the sure pixels; where nothing is seen, the surroundings decide.

    Every pixel gives ``v_k = max(confidence - threshold, 0)`` votes to its source k, and they are
    summed over the levels l = 0, 1, ... of a pyramid::

        V_k = sum_l falloff^l  G * (v_k reduced l times)

    so sure pixels count for themselves, and the others follow what is sure near by, or far.

    Attributes:
        threshold: Confidence that is no more than noise, in [0, 1).
        sigma_px: Of the Gaussian G, in pixels of the level.
        levels: Of the pyramid; every level is half as large as the one before.
        falloff: Weight of a level against the one before.

    Raises:
        ConfigError: for a field out of its range.
    """

    threshold: Share = 0.2
    sigma_px: Positive = 2.0
    levels: Count = 7
    falloff: Positive = 0.5

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1}, sums to 1 over N."""
        labels = winners(decision)
        sure = (confidence(decision)[0, 0] - self.threshold).clamp_min(0)
        most, elected = torch.full_like(labels, -1, dtype=sure.dtype), labels.clone()
        for label in present(labels):
            votes = self._spread(torch.where(labels == label, sure, 0.0)[None])[0]
            claim_(elected, most, votes, label)
        return select_(decision, torch.where(most > 0, elected, labels))

    def _spread(self, votes: Tensor) -> Tensor:
        """V of votes (1, h, w); the first two levels of large images are both of half the size."""
        _, h, w = votes.shape
        if h * w < _EXACT_PX:
            first, votes = gaussian_blur(votes, self.sigma_px), reduce_by_area(votes, 2)
        else:
            votes = reduce_by_area(votes, 2)
            first = gaussian_blur(votes, self.sigma_px / 2)
        levels = [first]
        for _ in range(self.levels - 1):
            levels.append(gaussian_blur(votes, self.sigma_px))
            votes = reduce_by_area(votes, 2)
        total = levels.pop()
        while levels:
            finer = levels.pop()
            total = finer + self.falloff * resize_linearly(total, (finer.shape[1], finer.shape[2]))
        return resize_linearly(total, (h, w))
