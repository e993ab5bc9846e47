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
from dfp_batch.merging.blend import blend
from dfp_batch.pipeline import steps
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
    """

    merged: Merged
    labels: Tensor
    alpha: Tensor | None


class _Slab(Sources):
    """Some of the sources.

    Args:
        sources: All N of them.
        indices: Which, ascending.
    """

    def __init__(self, sources: Sources, indices: Sequence[int]) -> None:
        self._sources = sources
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int, /) -> Tensor:
        return self._sources[self._indices[index]]

    def preview(self, index: int) -> Tensor:
        return self._sources.preview(self._indices[index])

    def full_quality(self, index: int, where: Tensor) -> Tensor:
        return self._sources.full_quality(self._indices[index], where)


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


def merge_in_slabs(
    sources: Sources, alphas: Sources | None, reference: int, config: FusionConfig, place: Workplace
) -> MergedSlabs:
    """Merge more sources than are decided at once.

    Args:
        sources: N sources (C, h, w), in [0, 1].
        alphas: N of (1, h, w), in [0, 1]; None without alpha.
        reference: Index of the reference among them.
        config: What to compute; neither its refinement iterates nor its merge needs all sources.
        place: Where.
    """
    made = [
        _merged_slab(sources, alphas, indices, config, place)
        for indices in slabs(len(sources), reference, MOST_AT_ONCE)
    ]
    whole = steps.merge(_Images([one.merged.sources[0] for one in made]), config, place)
    which = winners(whole.decision).long()[None]
    labels = torch.stack([one.labels for one in made]).gather(0, which)[0]
    sure = torch.stack([one.merged.confidence[0, 0] for one in made]).gather(0, which)
    opacities = [one.alpha[0] for one in made if one.alpha is not None]
    alpha = blend(_Images(opacities), whole.decision) if opacities else None
    merged = Merged(whole.sources, whole.weights, whole.decision, sure[None])
    return MergedSlabs(merged, labels, alpha)


def _merged_slab(
    sources: Sources,
    alphas: Sources | None,
    indices: Sequence[int],
    config: FusionConfig,
    place: Workplace,
) -> MergedSlabs:
    merged = steps.merge(_Slab(sources, indices), config, place)
    labels = torch.tensor(indices, dtype=torch.int16, device=place.device)
    labels = labels[winners(merged.decision).long()]
    alpha = None if alphas is None else blend(_Slab(alphas, indices), merged.decision)
    nothing = merged.decision[:0]  # the memory of this decision is needed for the next
    return MergedSlabs(
        Merged(merged.sources, merged.weights[:1], nothing.clone(), merged.confidence),
        labels,
        alpha,
    )
