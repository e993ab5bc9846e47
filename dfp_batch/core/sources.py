"""Sources that are all in memory, and ways to look at any."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from dfp_batch.core.contracts import Draft, Sources
from dfp_batch.core.filters import least_nearby

_WHOLLY = 0.999  # share of a small pixel


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

    @property
    def has_rows(self) -> bool:
        """They are there already."""
        return True

    def rows(self, index: int, rows: slice, where: Tensor, beside: Tensor | None = None) -> Tensor:
        """Rows of a source."""
        return self.images[index][:, rows].clone()


@dataclass(frozen=True, eq=False)
class Reduced(InMemory):
    """Sources made smaller, all in memory.

    Attributes:
        shown: Where each shows the scene, (1, h, w), in {0, 1}; None: everywhere.
    """

    shown: tuple[Tensor | None, ...]

    def covered(self, index: int) -> Tensor | None:
        """Where the source shows the scene itself, (1, h, w)."""
        return self.shown[index]


class Some(Sources):
    """Some of the sources, looked at as these are.

    Args:
        sources: All of them.
        indices: Which, ascending.
    """

    def __init__(self, sources: Sources, indices: Sequence[int]) -> None:
        self.sources = sources
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Tensor:
        """Source (C, h, w)."""
        return self.sources[self.indices[index]]

    def preview(self, index: int) -> Tensor:
        """The same source where it is only measured."""
        return self.sources.preview(self.indices[index])

    def grey(self, index: int) -> Tensor:
        """Luma of the preview, (1, h, w)."""
        return self.sources.grey(self.indices[index])

    def draft(self, index: int, factor: int) -> Draft:
        """A first look at a source."""
        return self.sources.draft(self.indices[index], factor)

    def full_quality(self, index: int, where: Tensor, beside: Tensor | None = None) -> Tensor:
        """The same source where it is shown."""
        return self.sources.full_quality(self.indices[index], where, beside)

    @property
    def has_rows(self) -> bool:
        """Whether all of them have."""
        return self.sources.has_rows

    def rows(self, index: int, rows: slice, where: Tensor, beside: Tensor | None = None) -> Tensor:
        """Rows of a source where it is shown."""
        return self.sources.rows(self.indices[index], rows, where, beside)

    def forget(self) -> None:
        """Nothing yet: others may look at the same sources."""

    def covered(self, index: int) -> Tensor | None:
        """Share of the source itself in what it shows, (1, h, w)."""
        return self.sources.covered(self.indices[index])


@dataclass(frozen=True, eq=False)
class Rows(Sources):
    """Some rows of sources, as sources of their own.

    Attributes:
        sources: All rows of them.
        chosen: Which rows.
    """

    sources: Sources
    chosen: slice

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int, /) -> Tensor:
        """Source (C, rows, w)."""
        return self.sources[index][:, self.chosen]

    def full_quality(self, index: int, where: Tensor, beside: Tensor | None = None) -> Tensor:
        """The same source where it is shown."""
        return self.sources.rows(index, self.chosen, where, beside)

    def covered(self, index: int) -> Tensor | None:
        """Share of the source itself in what it shows, (1, rows, w)."""
        covered = self.sources.covered(index)
        return None if covered is None else covered[:, self.chosen]


USUAL_FACTOR = 4
"""By which parts look at sources made smaller, if nothing else is said."""

_reduced: WeakKeyDictionary[Sources, dict[int, Reduced]] = WeakKeyDictionary()


def reduced(sources: Sources, factor: int = USUAL_FACTOR, margin_px: int = 0) -> Reduced:
    """The previews of sources, made smaller; made once, however many parts ask for them.

    Args:
        sources: N sources (C, h, w).
        factor: By which height and width become smaller, rounded up.
        margin_px: As far from what a source does not show it counts as not shown, in small pixels.
    """
    made = _reduced.setdefault(sources, {})
    if factor not in made:
        for _ in _drafts(sources, factor):
            pass
    small = made[factor]
    shown = (
        part if part is None else least_nearby(part, 2 * margin_px + 1) for part in small.shown
    )
    return Reduced(small.images, tuple(shown))


def forget_reduced(sources: Sources) -> None:
    """Let go of what was made smaller; whoever asks for it has it made again."""
    _reduced.pop(sources, None)


def greys(sources: Sources) -> Iterator[Tensor]:
    """The lumas (1, h, w) of the sources as they are measured, one after the other.

    On the first way through the sources are made smaller, too, for whoever asks for that later.
    """
    if USUAL_FACTOR not in _reduced.setdefault(sources, {}):
        yield from _drafts(sources, USUAL_FACTOR)
        return
    for index in range(len(sources)):
        yield sources.grey(index)


def _drafts(sources: Sources, factor: int) -> Iterator[Tensor]:
    """The lumas, while the sources are made smaller."""
    images: list[Tensor] = []
    shown: list[Tensor | None] = []
    for index in range(len(sources)):
        draft = sources.draft(index, factor)
        images.append(draft.small)
        shown.append(None if draft.covered is None else (draft.covered > _WHOLLY).float())
        yield draft.grey
    _reduced[sources][factor] = Reduced(torch.stack(images), tuple(shown))


def whole(sources: Sources) -> Tensor:
    """All sources at once, (N, C, h, w): for what cannot look at them one by one."""
    return torch.stack([sources[index] for index in range(len(sources))])


def previews(sources: Sources) -> Iterator[Tensor]:
    """The sources (C, h, w) as they are measured, one after the other."""
    for index in range(len(sources)):
        yield sources.preview(index)
