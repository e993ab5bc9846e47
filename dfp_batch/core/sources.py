"""Sources that are all in memory, and ways to look at any."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dfp_batch.core.contracts import Sources


@dataclass(frozen=True, eq=False)
class InMemory(Sources):
    """A tensor (N, C, h, w), in [0, 1], as ``Sources``: each is a copy.

    Attributes:
        images: The tensor.
    """

    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> Tensor:
        """Source (C, h, w)."""
        return self.images[index].clone()


def whole(sources: Sources) -> Tensor:
    """All sources at once, (N, C, h, w): for what cannot look at them one by one."""
    return torch.stack([sources[index] for index in range(len(sources))])


def previews(sources: Sources) -> Iterator[Tensor]:
    """The sources (C, h, w) as they are measured, one after the other."""
    return (sources.preview(index) for index in range(len(sources)))
