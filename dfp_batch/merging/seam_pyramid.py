"""The decided source, and along the seams between sources their Laplacian pyramid."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from dfp_batch.alignment.stack import full_quality, own_image
from dfp_batch.core.contracts import Sources
from dfp_batch.core.decision import winners
from dfp_batch.core.image import Image, Plane
from dfp_batch.core.pyramid import BLOCK_ROWS, StrongestDetail, with_channels
from dfp_batch.errors import ConfigError
from dfp_batch.merging.blend import SEEN, Blend
from dfp_batch.merging.laplacian_pyramid import LaplacianPyramid

_EXACT_PX = 1 << 20  # images of more pixels have their distances measured reduced


@dataclass(frozen=True)
class SeamPyramid:
    """The decided source, and along the seams between sources their Laplacian pyramid.

    Near a seam no source is right: the blurred foreground spreads over the background, and the
    pyramid mends more of it than any selection does. Away from it selection is exact. The blur
    spreads the farther the more steps of focus lie between the two sources that meet.

    Attributes:
        band_px: Half the width per step of focus of the band along a seam that the pyramid fills.
        free_steps: Steps of focus that need no pyramid.
        feather_px: Width of its soft rim.
        window_px: Of the pyramid.

    Raises:
        ConfigError: for a field out of its range.
    """

    band_px: float = 16.0
    free_steps: int = 0
    feather_px: float = 8.0
    window_px: int = 5

    def __post_init__(self) -> None:
        LaplacianPyramid(self.window_px)
        for name in ("band_px", "feather_px"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"merge.{name} must be > 0, got {getattr(self, name)}")
        if self.free_steps < 0:
            raise ConfigError(f"merge.free_steps must be >= 0, got {self.free_steps}")

    def __call__(self, sources: Sources, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w), in [0, 1]."""
        share = self.share(winners(decision).cpu().numpy())
        if not share.any():
            return Blend()(sources, decision)
        strongest, merged = StrongestDetail(self.window_px), np.zeros(0, np.float32)
        for index, plane in enumerate(decision[:, 0].cpu().numpy()):
            where = plane > SEEN
            image = own_image(sources, full_quality(sources, index, where))
            merged = merged if merged.size else np.zeros_like(image)
            _add_product(image, plane, merged)
            strongest.add(image, plane)
        mended = strongest.image()
        np.subtract(mended.clip(0, 1, out=mended), merged, out=mended)
        _add_product(mended, share, merged)
        return torch.from_numpy(merged).movedim(-1, 0).unsqueeze(0).to(decision.device)

    def share(self, labels: NDArray[Any]) -> Plane:
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


def _add_product(image: Image, weight: Plane, total: Image) -> None:
    """Add an image (h, w, C), weighted by (h, w), to another one, row block by row block."""
    for top in range(0, len(image), BLOCK_ROWS):
        rows = slice(top, top + BLOCK_ROWS)
        weights = with_channels(cv2.merge([weight[rows]] * image.shape[2]))
        cv2.accumulateProduct(image[rows], weights, total[rows])


def seam_steps(labels: NDArray[Any]) -> NDArray[Any]:
    """Largest difference (h, w) to the label of a neighbour; 0 away from seams."""
    steps = np.zeros_like(labels)
    across, down = abs(labels[:, 1:] - labels[:, :-1]), abs(labels[1:] - labels[:-1])
    for part, step in (
        (steps[:, 1:], across),
        (steps[:, :-1], across),
        (steps[1:], down),
        (steps[:-1], down),
    ):
        np.maximum(part, step, out=part)
    return steps


def distance_px(seam: NDArray[np.bool_]) -> Plane:
    """Distance (h, w) to the nearest pixel of a seam (h, w), which must have one.

    Large images are measured at a half or a quarter of their size, which is off by 2 px at most.
    """
    h, w = seam.shape
    factor = 1 if h * w < _EXACT_PX else 4
    blocks = np.pad(seam, ((0, -h % factor), (0, -w % factor)))
    blocks = blocks.reshape(-(-h // factor), factor, -(-w // factor), factor).max((1, 3))
    # Not OpenCV's transform, whose last bits differ from call to call (5.0.0).
    distance = factor * ndimage.distance_transform_edt(~blocks).astype(np.float32)
    larger = (blocks.shape[1] * factor, blocks.shape[0] * factor)
    return np.asarray(cv2.resize(distance, larger)[:h, :w])
