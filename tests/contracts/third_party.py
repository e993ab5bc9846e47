"""A part of somebody else for every seam, each with the least that its contract asks for."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from dfp_batch.core.contracts import Merge, NetworkSpec, Reconstruction, Refinement, Solution
from dfp_batch.core.degradation import Kernel
from dfp_batch.core.sources import whole
from local_variance import LocalVariance


@dataclass(frozen=True)
class Sharpened(Refinement):
    """A decision that takes the likelier source for more likely still."""

    power: float = 4.0

    def __call__(self, sources, decision, compute):
        likely = decision**self.power + 1e-9
        return likely / likely.sum(0)


@dataclass(frozen=True)
class Median(Merge):
    """The median of all sources."""

    needs_all: ClassVar[bool] = True

    def __call__(self, sources, decision, certainty, compute):
        return whole(sources).median(0, keepdim=True).values


@dataclass(frozen=True)
class Nearest(Reconstruction):
    """Every pixel again and again."""

    def __call__(self, sources, decision, degrade, compute):
        low = (decision * sources).sum(0, keepdim=True)
        image = low.repeat_interleave(degrade.scale, -1).repeat_interleave(degrade.scale, -2)
        return Solution(image.clamp(0, 1), low.new_empty(0))


@dataclass(frozen=True)
class Box(Kernel):
    """The mean of what a pixel covers."""

    def taps(self, scale):
        return torch.full((scale,), 1 / scale, dtype=torch.float64)

    def __str__(self):
        return "box"


@dataclass(frozen=True)
class OneLayer(NetworkSpec):
    """A single convolution."""

    @property
    def size_multiple(self):
        return 1

    @property
    def minimum_px(self):
        return 3

    def build(self, channels, generator):
        layer = nn.Conv2d(*channels, 3, padding=1, padding_mode="replicate", device="meta")
        layer.to_empty(device=generator.device)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.uniform_(-0.5, 0.5, generator=generator)
        return layer


OWN = {
    "focus": LocalVariance,
    "refinement": Sharpened,
    "merge": Median,
    "reconstruction": Nearest,
    "kernel": Box,
    "network": OneLayer,
}
