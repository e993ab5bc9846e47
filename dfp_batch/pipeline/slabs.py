"""Deep stacks: they are merged slab by slab, and the merged slabs once more.

A decision takes memory for every frame. So no more than ``MOST_AT_ONCE`` frames are decided at
once: a slab is a run of neighbours in focus, as photographers make them by hand, and the reference
frame, which stands in where the others do not show the view.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.core.contracts import Sources
from dfp_batch.core.decision import winners
from dfp_batch.core.sources import Some
from dfp_batch.merging.blend import blend
from dfp_batch.pipeline import steps
from dfp_batch.pipeline.channels import merge_channels
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.steps import Merged, Workplace

MOST_AT_ONCE = 200


@dataclass(frozen=True, eq=False)
class MergedSlabs:
    """A deep stack, merged.

    Attributes:
        merged: The image; its decision is that for the slabs, its confidence that of the frames.
        labels: Index of the source of every pixel, (h, w), int16.
        alpha: (1, 1, h, w), in [0, 1]; None without one.
        channels: (1, h, w), in [0, 1], of each channel.
    """

    merged: Merged
    labels: Tensor
    alpha: Tensor | None
    channels: Sequence[Tensor]


@dataclass(frozen=True, eq=False)
class DeepStack:
    """More sources than are decided at once.

    Attributes:
        sources: N sources (C, h, w), in [0, 1].
        reference: Index of the reference among them.
        alphas: N of (1, h, w), in [0, 1]; None without alpha.
        channels: N of (1, h, w), in [0, 1], of each channel beside the sources.
    """

    sources: Sources
    reference: int
    alphas: Sources | None = None
    channels: Sequence[Sources] = ()


class _Images(Sources):
    """Images (C, h, w) that are there already."""

    def __init__(self, images: Sequence[Tensor]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int, /) -> Tensor:
        return self._images[index].clone()


def slabs(count: int, reference: int, most: int) -> list[tuple[int, ...]]:
    """Indices of the sources of each slab: even parts, each with the reference.

    Args:
        count: N sources.
        reference: Index of the one that is in every slab.
        most: Sources of a slab.
    """
    parts = -(-count // (most - 1))
    bounds = [count * part // parts for part in range(parts + 1)]
    return [tuple(sorted({reference, *range(*run)})) for run in itertools.pairwise(bounds)]


def merge_in_slabs(stack: DeepStack, config: FusionConfig, place: Workplace) -> MergedSlabs:
    """Merge more sources than are decided at once.

    Args:
        stack: The sources.
        config: What to compute; neither its refinement iterates nor its merge needs all sources.
        place: Where.
    """
    parts = slabs(len(stack.sources), stack.reference, MOST_AT_ONCE)
    made = [_merged_slab(stack, indices, config, place) for indices in parts]
    whole = steps.merge(_Images([one.merged.sources[0] for one in made]), config, place)
    which = winners(whole.decision).long()[None]
    labels = torch.stack([one.labels for one in made]).gather(0, which)[0]
    sure = torch.stack([one.merged.confidence[0, 0] for one in made]).gather(0, which)
    opacities = [one.alpha[0] for one in made if one.alpha is not None]
    alpha = blend(_Images(opacities), whole.decision) if opacities else None
    merged = Merged(whole.sources, whole.weights, whole.decision, sure[None])
    images = [_Images(channel) for channel in zip(*(one.channels for one in made), strict=True)]
    return MergedSlabs(merged, labels, alpha, merge_channels(images, merged, config, place))


def _merged_slab(
    stack: DeepStack, indices: Sequence[int], config: FusionConfig, place: Workplace
) -> MergedSlabs:
    merged = steps.merge(Some(stack.sources, indices), config, place)
    labels = torch.tensor(indices, dtype=torch.int16, device=place.device)
    labels = labels[winners(merged.decision).long()]
    alpha = None if stack.alphas is None else blend(Some(stack.alphas, indices), merged.decision)
    some = [Some(channel, indices) for channel in stack.channels]
    channels = merge_channels(some, merged, config, place)
    nothing = merged.decision[:0].clone()  # the memory of this decision is needed for the next
    image = Merged(merged.sources, merged.weights[:1], nothing, merged.confidence)
    return MergedSlabs(image, labels, alpha, channels)
