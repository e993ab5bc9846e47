"""Contracts: what the parts of the method promise each other and are told of the device."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import Image


class NetworkSpec(Protocol):
    """A network that carries its own facts, so the caller never asks which network it is."""

    @property
    def size_multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        ...

    @property
    def minimum_px(self) -> int:
        """Smallest height and width the network accepts."""
        ...

    def build(self, channels: tuple[int, int], generator: torch.Generator) -> nn.Module:
        """A fresh network with (inputs, outputs) channels on the generator's device."""
        ...


Precision = Literal["auto", "fp32", "bf16"]
OnIteration = Callable[[str, int, int], None]


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
    """

    generator: torch.Generator
    dtype: torch.dtype = torch.float32
    on_iteration: OnIteration = ignore_progress
    halvings: int = 0

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


class Reconstruction(Protocol):
    """Makes the fused, enlarged image from sources and decision."""

    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> tuple[Tensor, Tensor]:
        """Fused (1, C, scale * h, scale * w) and the losses (iterations,), which may be empty.

        Args:
            sources: (N, C, h, w), in [0, 1]; where they were merged before, N is 1.
            decision: (N, 1, h, w), sums to 1 over N.
            degrade: D, which made the sources from the image that is looked for, with its scale.
            compute: Randomness, precision, progress.
        """
        ...


class Sources(Protocol):
    """N sources (C, h, w) of one size, in [0, 1]."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, index: int, /) -> Tensor:
        """Source (C, h, w), float32, in [0, 1]."""
        ...


class Images(Protocol):
    """N images as they are stored, loaded when asked for."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, index: int, /) -> Image:
        """Image (h, w, C); uint8, uint16 or float32."""
        ...


class FocusMeasure(Protocol):
    """Finds for every pixel the source that is in focus."""

    def __call__(self, sources: Sources) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N, of N sources (C, h, w) in [0, 1]."""
        ...


class Refinement(Protocol):
    """Improves a decision with the content of the sources.

    One that fits a network, work for an accelerator, says so by an attribute ``iterative = True``.
    """

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w), >= 0, sums to 1 over N.

        Args:
            sources: N sources (C, h, w), in [0, 1].
            decision: (N, 1, h, w); it may be overwritten.
            compute: Randomness, precision, progress.
        """
        ...


class Merge(Protocol):
    """Makes one image of the sources."""

    def __call__(self, sources: Sources, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w) of N sources (C, h, w) and decision (N, 1, h, w)."""
        ...
