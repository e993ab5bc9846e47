"""Merging the frames of a pair, wherever that was placed: the pixels and what they tell."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch.alignment.stack_alignment import StackAlignment
from dfp_batch.core.contracts import Images
from dfp_batch.core.decision import winners
from dfp_batch.merging.blend import blend
from dfp_batch.pipeline import steps
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.steps import Merged, Workplace

LOW_CONFIDENCE = 0.1


@dataclass(frozen=True, eq=False)
class Aligned:
    """Frames as they are stored, and how to bring them together: small enough to hand over.

    Attributes:
        frames: (h, w, C) each, at the depth of their file.
        alphas: (h, w, 1) each, or None.
        white: Value of white in them.
        alignment: Of all of them.
    """

    frames: Images
    alphas: Images | None
    white: float
    alignment: StackAlignment

    @property
    def nbytes(self) -> int:
        """Memory of all frames, once they are loaded."""
        images = (self.frames, self.alphas or ())
        return sum(one[index].nbytes for one in images for index in range(len(one)))


@dataclass(frozen=True, eq=False)
class Maps:
    """What the decision tells people, at the size of the sources.

    Attributes:
        labels: Index among all frames of the source of every pixel, (h, w).
        confidence: Of the measured focus, (h, w), in 255ths.
        alpha: (1, 1, h, w), float32, in [0, 1], or None.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    alpha: NDArray[np.float32] | None

    @property
    def nbytes(self) -> int:
        """Memory of all maps."""
        alpha = 0 if self.alpha is None else self.alpha.nbytes
        return self.labels.nbytes + self.confidence.nbytes + alpha

    @property
    def low_confidence_share(self) -> float:
        """Share of the pixels of which the focus is hardly known."""
        return float((self.confidence < 255 * LOW_CONFIDENCE).mean())


def merge_frames(aligned: Aligned, config: FusionConfig, place: Workplace) -> tuple[Merged, Maps]:
    """The steps from the warp to the merge, and what they tell."""
    white, alignment, device = aligned.white, aligned.alignment, place.device
    sources = steps.sources_on(device, aligned.frames, white, alignment)
    merged = steps.merge(sources, config, place)
    labels = winners(merged.decision).cpu().numpy()
    alpha = None
    if aligned.alphas is not None:
        alphas = steps.sources_on(device, aligned.alphas, white, alignment.unexposed())
        alpha = blend(alphas, merged.decision).cpu().numpy()
    confidence = (merged.confidence[0, 0] * 255).round().to(torch.uint8).cpu().numpy()
    return merged, Maps(np.take(np.array(alignment.kept, np.uint8), labels), confidence, alpha)
