"""Sources that are all in memory, and ways to look at any."""

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from dfp_batch.core.contracts import Sources
from dfp_batch.core.filters import least_nearby, resize_by_area

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
        smaller = _Smaller(sources, factor)
        for index in range(len(sources)):
            smaller.add(index, sources.preview(index))
        made[factor] = smaller.all()
    small = made[factor]
    shown = (
        part if part is None else least_nearby(part, 2 * margin_px + 1) for part in small.shown
    )
    return Reduced(small.images, tuple(shown))


class _Smaller:
    """Sources as they are made smaller, one after the other."""

    def __init__(self, sources: Sources, factor: int) -> None:
        self._sources, self._factor = sources, factor
        self._images: list[Tensor] = []
        self._shown: list[Tensor | None] = []

    def add(self, index: int, image: Tensor) -> None:
        """The next one (C, h, w)."""
        size = (-(-image.shape[1] // self._factor), -(-image.shape[2] // self._factor))
        self._images.append(resize_by_area(image, size))
        covered = self._sources.covered(index)
        all_shown = None if covered is None else resize_by_area(covered, size) > _WHOLLY
        self._shown.append(None if all_shown is None else all_shown.float())

    def all(self) -> Reduced:
        """All of them."""
        return Reduced(torch.stack(self._images), tuple(self._shown))


def whole(sources: Sources) -> Tensor:
    """All sources at once, (N, C, h, w): for what cannot look at them one by one."""
    return torch.stack([sources[index] for index in range(len(sources))])


def previews(sources: Sources) -> Iterator[Tensor]:
    """The sources (C, h, w) as they are measured, one after the other.

    On the first way through they are made smaller, too, for whoever asks for that later.
    """
    made = _reduced.setdefault(sources, {})
    smaller = None if USUAL_FACTOR in made else _Smaller(sources, USUAL_FACTOR)
    for index in range(len(sources)):
        image = sources.preview(index)
        if smaller is not None:
            smaller.add(index, image)
        yield image
    if smaller is not None:
        made[USUAL_FACTOR] = smaller.all()
