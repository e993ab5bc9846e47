"""Merging the frames of a pair, wherever that was placed: the pixels and what they tell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.alignment.stack_alignment import StackAlignment
from dfp_batch.core.contracts import Images
from dfp_batch.core.decision import winners
from dfp_batch.merging.blend import blend
from dfp_batch.pipeline import slabs, steps
from dfp_batch.pipeline.channels import merge_channels
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.slabs import DeepStack
from dfp_batch.pipeline.steps import Merged, Workplace

LOW_CONFIDENCE = 0.1
_SMALL = 256  # indices that fit 8 bits


@dataclass(frozen=True, eq=False)
class Aligned:
    """Frames as they are stored, and how to bring them together: small enough to hand over.

    Attributes:
        frames: (h, w, C) each, at the depth of their file.
        alphas: (h, w, 1) each, or None.
        white: Value of white in them.
        alignment: Of all of them.
        channels: Images (h, w, 1) of each channel beside the frames, with their gains (N, 1).
    """

    frames: Images
    alphas: Images | None
    white: float
    alignment: StackAlignment
    channels: Sequence[tuple[Images, NDArray[np.float64]]] = ()

    @property
    def nbytes(self) -> int:
        """Memory of all frames, once they are loaded."""
        images = (self.frames, self.alphas or ())
        return sum(one[index].nbytes for one in images for index in range(len(one)))


@dataclass(frozen=True, eq=False)
class Maps:
    """What the decision tells people, at the size of the sources.

    Attributes:
        labels: Index among all frames of the source of every pixel, (h, w); uint16 if one is
            above 255.
        confidence: Of the measured focus, (h, w), in 255ths.
        alpha: (1, 1, h, w), float32, in [0, 1], or None.
    """

    labels: NDArray[np.uint8] | NDArray[np.uint16]
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


@dataclass(frozen=True, eq=False)
class MergedFrames:
    """What was merged.

    Attributes:
        merged: The sources.
        maps: Of the decision.
        channels: Merged likewise, (K, h, w), float32, in [0, 1]; None where there is one alone.
    """

    merged: Merged
    maps: Maps
    channels: NDArray[np.float32] | None


def merge_frames(aligned: Aligned, config: FusionConfig, place: Workplace) -> MergedFrames:
    """The steps from the warp to the merge, and what they tell."""
    stack = _stack_on(place.device, aligned)
    kept = aligned.alignment.kept
    if len(stack.sources) > slabs.MOST_AT_ONCE:
        deep = slabs.merge_in_slabs(stack, config, place)
        maps = _maps(deep.merged, deep.labels, deep.alpha, kept)
        return MergedFrames(deep.merged, maps, _on_host(deep.channels))
    merged = steps.merge(stack.sources, config, place)
    alpha = None if stack.alphas is None else blend(stack.alphas, merged.decision)
    channels = merge_channels(stack.channels, merged, config, place)
    maps = _maps(merged, winners(merged.decision), alpha, kept)
    return MergedFrames(merged, maps, _on_host(channels))


def _stack_on(device: torch.device, aligned: Aligned) -> DeepStack:
    """All frames, to be looked at on a device."""
    white, alignment = aligned.white, aligned.alignment
    alphas = None
    if aligned.alphas is not None:
        alphas = steps.sources_on(device, aligned.alphas, white, alignment.unexposed())
    channels = [
        steps.sources_on(device, images, white, replace(alignment, gains=gains))
        for images, gains in aligned.channels
    ]
    sources = steps.sources_on(device, aligned.frames, white, alignment)
    reference = alignment.kept.index(alignment.registered.reference)
    return DeepStack(sources, reference, alphas, channels)


def _on_host(channels: Sequence[Tensor]) -> NDArray[np.float32] | None:
    return torch.cat(list(channels)).cpu().numpy() if channels else None


def _maps(merged: Merged, labels: Tensor, alpha: Tensor | None, kept: Sequence[int]) -> Maps:
    """On the host; labels count the frames that were kept."""
    frames = np.array(kept, np.uint8 if max(kept) < _SMALL else np.uint16)
    confidence = (merged.confidence[0, 0] * 255).round().to(torch.uint8).cpu().numpy()
    opacity = None if alpha is None else alpha.cpu().numpy()
    return Maps(np.take(frames, labels.cpu().numpy()), confidence, opacity)
