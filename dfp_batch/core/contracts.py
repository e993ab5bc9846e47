"""Contracts: what the parts of the method promise each other, and what they say they need.

A part is a frozen dataclass that inherits from its contract: its fields are its settings, calling
it does the work, and what it needs beyond that it declares by the attributes of the contract, which
have a default. So a part of somebody else is treated like one that comes with the package.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from dfp_batch.core.degradation import Degradation
from dfp_batch.core.filters import reduce_by_area
from dfp_batch.core.image import Image, luma_plane
from dfp_batch.core.part import Part

Precision = Literal["auto", "fp32", "bf16", "int8"]
OnIteration = Callable[[str, int, int], None]
StopReason = Literal["iterations", "plateau", "skipped"]


class Images(Protocol):
    """N images as they are stored, loaded when asked for."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, index: int, /) -> Image:
        """Image (h, w, C); uint8, uint16 or float32."""
        ...


class Sources(ABC):
    """N sources (C, h, w) of one size, float32, in [0, 1], looked at one at a time.

    They may be made whenever they are asked for, so that a deep stack takes the memory of a few
    frames. What is returned belongs to the caller, who may overwrite it.
    """

    @abstractmethod
    def __len__(self) -> int:
        """N."""

    @abstractmethod
    def __getitem__(self, index: int, /) -> Tensor:
        """Source (C, h, w).

        Raises:
            IndexError: after the last one, so that a loop over the sources ends.
        """

    def preview(self, index: int) -> Tensor:
        """The same source where it is only measured: it may have less of the finest detail."""
        return self[index]

    def grey(self, index: int) -> Tensor:
        """Luma of the preview, (1, h, w), or nearly so."""
        return luma_plane(self.preview(index))

    def draft(self, index: int, factor: int) -> "Draft":
        """What is measured of a source, and its preview made smaller by a factor, rounded up."""
        preview, covered = self.preview(index), self.covered(index)
        small = None if covered is None else reduce_by_area(covered, factor)
        return Draft(luma_plane(preview), reduce_by_area(preview, factor), small)

    def full_quality(self, index: int, where: Tensor, beside: Tensor | None = None) -> Tensor:
        """The same source where it is shown: at ``where`` (h, w), bool.

        At ``beside`` (h, w), bool, it may be a preview, and elsewhere less. It is the last that is
        wanted of this source for a while: nothing of it need be kept.
        """
        return self[index]

    @property
    def has_rows(self) -> bool:
        """Whether ``rows`` costs little more than its share of a source."""
        return False

    def rows(self, index: int, rows: slice, where: Tensor, beside: Tensor | None = None) -> Tensor:
        """Rows of the source as ``full_quality`` gives it; the masks are of these rows alone."""
        return self[index][:, rows]

    def forget(self) -> None:  # noqa: B027 - most keep nothing
        """All has been measured: what was kept for that need be kept no longer."""

    def covered(self, index: int) -> Tensor | None:
        """Share of the source itself in what it shows, (1, h, w), in [0, 1]; None: 1 everywhere.

        The rest is of another source that stands in for it. Every place is all of one at least.
        """
        return None


class Draft(NamedTuple):
    """A first look at a source.

    Attributes:
        grey: Its luma, (1, h, w).
        small: The source made smaller.
        covered: Of the small one, see ``Sources.covered``.
    """

    grey: Tensor
    small: Tensor
    covered: Tensor | None


def ignore_progress(_stage: str, _iteration: int, _total: int) -> None:
    """No one listens to the progress."""


@dataclass(frozen=True)
class Compute:
    """How to compute, apart from what: randomness, precision, progress, memory.

    Attributes:
        generator: Source of all randomness, on the device of the sources.
        dtype: Of convolutions and activations: float32, or bfloat16 under autocast. Losses,
            batch-norm statistics, weights and the optimiser are float32 in both.
        on_iteration: Called with (stage, iteration from 1, total) after every iteration; it must
            not read device values.
        halvings: How often the usual side of a tile is halved, 0 to 2, where memory is short; the
            result is the same.
        int8: Whether networks that are only applied may run in whole numbers of 8 bits.
    """

    generator: torch.Generator
    dtype: torch.dtype = torch.float32
    on_iteration: OnIteration = ignore_progress
    halvings: int = 0
    int8: bool = False

    def side_px(self, usual_px: int) -> int:
        """Of a tile."""
        return usual_px >> self.halvings

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which the network runs."""
        return torch.autocast(
            self.generator.device.type,
            dtype=torch.bfloat16,
            enabled=self.dtype == torch.bfloat16,
        )


class FocusMeasure(Part, ABC):
    """Finds for every pixel the source that is in focus.

    Attributes:
        needs_all: Whether it looks at all sources at once, and so needs memory for all of them.
        decides: Whether its decision says where the sources are in focus.
    """

    seam: ClassVar[str] = "focus"
    needs_all: ClassVar[bool] = False
    decides: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N, on the device of the sources."""


class Refinement(Part, ABC):
    """Improves a decision with the content of the sources."""

    seam: ClassVar[str] = "refinement"

    @property
    def needs_all(self) -> bool:
        """Whether it looks at all sources at once, and so needs memory for all of them."""
        return False

    @property
    def iterations(self) -> int:
        """Steps in which it fits a network to the item: 0 is none."""
        return 0

    @abstractmethod
    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N.

        Args:
            sources: N sources (C, h, w), in [0, 1].
            decision: (N, 1, h, w), float32, or float16 where it is large; it may be overwritten.
            compute: Randomness, precision, progress.
        """


class Merge(Part, ABC):
    """Makes one image of the sources.

    Attributes:
        needs_all: Whether it looks at all sources at once, and so needs memory for all of them.
    """

    seam: ClassVar[str] = "merge"
    needs_all: ClassVar[bool] = False

    def reach_px(self, largest_step: int) -> int | None:
        """How far away what a pixel of the result depends on may be; None: anywhere.

        Args:
            largest_step: Between the sources that meet at a seam, counted as they are given.
        """
        return None

    @abstractmethod
    def __call__(
        self, sources: Sources, decision: Tensor, certainty: Tensor, compute: Compute
    ) -> Tensor:
        """Merged (1, C, h, w), or all sources (N, C, h, w) unmerged.

        Args:
            sources: N sources (C, h, w), in [0, 1].
            decision: (N, 1, h, w), sums to 1 over N; float32, or float16 where it is large.
            certainty: (1, h, w), in [0, 1]: 0 where no source is in focus, and the decision has no
                reason. Or (1, 1, 1).
            compute: Randomness, precision, progress.
        """


@dataclass(frozen=True)
class Solution:
    """What a reconstruction has made.

    Attributes:
        image: Fused, (1, C, scale * h, scale * w), in [0, 1].
        losses: Objective before each iteration, (iterations,); empty if there were none.
        stop_reason: Why the iterations ended: "plateau" when they no longer gained, "skipped" where
            the item was found unfit for them, else "iterations".
    """

    image: Tensor
    losses: Tensor
    stop_reason: StopReason = "iterations"

    @classmethod
    def joined(cls, parts: Iterable["Solution"]) -> "Solution":
        """One of parts that follow each other from top to bottom: losses are means over rows."""
        found = list(parts)
        if len(found) == 1:
            return found[0]
        rows = [part.image.shape[-2] for part in found]
        losses = sum(part.losses * share for part, share in zip(found, rows, strict=True))
        image = torch.cat([part.image for part in found], -2)
        return cls(image, torch.as_tensor(losses) / sum(rows), found[0].stop_reason)


class Reconstruction(Part, ABC):
    """Makes the fused, enlarged image from sources and decision."""

    seam: ClassVar[str] = "reconstruction"

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 - of Python
        """A part that inherits from another and calls for something else comes as a whole."""
        super().__init_subclass__(**options)
        if "__call__" in vars(cls) and "in_rows" not in vars(cls):
            cls.in_rows = Reconstruction.in_rows  # type: ignore[method-assign]

    @property
    def iterations(self) -> int:
        """Steps in which it fits a network to the item: 0 is none."""
        return 0

    @property
    def checked_by(self) -> "Reconstruction":
        """What the self-check tries on the degraded item: itself, or a cheaper stand-in."""
        return self

    @abstractmethod
    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Solution:
        """The fused image.

        Args:
            sources: (N, C, h, w), in [0, 1]; where they were merged before, N is 1.
            decision: (N, 1, h, w), sums to 1 over N.
            degrade: D, which made the sources from the image that is looked for, with its scale.
            compute: Randomness, precision, progress.
        """

    def in_rows(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Iterator[Solution]:
        """The same in parts that follow each other from top to bottom, each of whole source px.

        So a large image is never held as a whole. By default there is one part.
        """
        yield self(sources, decision, degrade, compute)


class NetworkSpec(Part, ABC):
    """A network that carries its own facts, so the caller never asks which network it is."""

    seam: ClassVar[str] = "network"

    @property
    @abstractmethod
    def size_multiple(self) -> int:
        """Height and width of the input must be multiples of this."""

    @property
    @abstractmethod
    def minimum_px(self) -> int:
        """Smallest height and width the network accepts."""

    @abstractmethod
    def build(self, channels: tuple[int, int], generator: torch.Generator) -> nn.Module:
        """A fresh network with (inputs, outputs) channels on the generator's device."""
