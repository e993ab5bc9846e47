"""A hard decision by a vote of the sure pixels."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Sources
from dfp_batch.core.decision import confidence, select_, winners
from dfp_batch.core.image import Plane
from dfp_batch.errors import ConfigError


@dataclass(frozen=True)
class ConfidenceVoting:
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

    threshold: float = 0.2
    sigma_px: float = 2.0
    levels: int = 7
    falloff: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"refinement.threshold must be in [0, 1), got {self.threshold}")
        for name in ("sigma_px", "falloff"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"refinement.{name} must be > 0, got {getattr(self, name)}")
        if self.levels < 1:
            raise ConfigError(f"refinement.levels must be >= 1, got {self.levels}")

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1}, sums to 1 over N."""
        labels = winners(decision).cpu().numpy()
        sure = (confidence(decision)[0, 0] - self.threshold).clamp_min(0).cpu().numpy()
        most, elected = np.full(sure.shape, -1, np.float32), labels.copy()
        for label in np.unique(labels):
            votes = self._spread(np.where(labels == label, sure, np.float32(0)))
            elected[votes > most] = label
            np.maximum(most, votes, out=most)
        elected = np.where(most > 0, elected, labels)
        return select_(decision, torch.from_numpy(elected))

    def _spread(self, votes: Plane) -> Plane:
        levels = []
        for _ in range(self.levels):
            levels.append(cv2.GaussianBlur(votes, (0, 0), self.sigma_px))
            size = ((votes.shape[1] + 1) // 2, (votes.shape[0] + 1) // 2)
            votes = np.asarray(cv2.resize(votes, size, interpolation=cv2.INTER_AREA), np.float32)
        total = levels.pop()
        while levels:
            finer = levels.pop()
            total = cv2.resize(total, finer.shape[::-1], interpolation=cv2.INTER_LINEAR)
            total = finer + np.float32(self.falloff) * total
        return np.asarray(total, np.float32)
