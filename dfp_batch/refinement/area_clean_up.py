"""A hard decision without islands."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from dfp_batch.core.contracts import Compute, Refinement, Sources
from dfp_batch.core.decision import select_, winners
from dfp_batch.core.part import Share


@dataclass(frozen=True)
class AreaCleanUp(Refinement):
    """Hard decision without islands: a small region joins what surrounds it.

    Attributes:
        smallest_region: Regions of less than this share of the image are dropped.

    Raises:
        ConfigError: if smallest_region is not in [0, 1).
    """

    smallest_region: Share = 0.01

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1}, sums to 1 over N."""
        labels = winners(decision).cpu().numpy()
        kept = torch.from_numpy(drop_small_regions(labels, self.smallest_region))
        return select_(decision, kept)


def drop_small_regions(labels: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Give every connected region below ``share`` of the image the label of its nearest neighbour.

    Args:
        labels: Source indices (h, w).
        share: Of the image area, in [0, 1).

    Returns:
        Labels (h, w); unchanged where no region is large enough to keep.
    """
    small = np.zeros(labels.shape, dtype=bool)
    for label in np.unique(labels):
        _, regions, stats, _ = cv2.connectedComponentsWithStats(
            (labels == label).astype(np.uint8), connectivity=4
        )
        is_small = stats[:, cv2.CC_STAT_AREA] < share * labels.size
        is_small[0] = False  # region 0 is "not this label"
        small |= is_small[regions]
    if not small.any() or small.all():
        return labels
    nearest = ndimage.distance_transform_edt(small, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(nearest)])
