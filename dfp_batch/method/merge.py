"""Merging: from sources and a decision to one sharp image at source size."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from dfp_batch.errors import ConfigError
from dfp_batch.method.degrade import filter_and_sample

_COARSEST_PX = 8
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


class Merge(Protocol):
    """Makes one image of the sources."""

    def __call__(self, sources: Tensor, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w) of sources (N, C, h, w) and decision (N, 1, h, w)."""
        ...


@dataclass(frozen=True)
class Blend:
    """Average of the sources, weighted by the decision: ``sum_k m_k I_k``."""

    def __call__(self, sources: Tensor, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w), within the range of the sources."""
        return (decision * sources).sum(0, keepdim=True)


@dataclass(frozen=True)
class LaplacianPyramid:
    """The source with the strongest detail, band by band (Burt and Adelson, 1983).

    Takes no notice of the decision. The coarsest band is the mean of the sources.

    Attributes:
        window_px: Side of the window over which the strength of a detail is averaged, odd; 1 is the
            classical choice by the largest coefficient (Burt and Kolczynski, 1993, use 5).

    Raises:
        ConfigError: if window_px is not odd and positive.
    """

    window_px: int = 1

    def __post_init__(self) -> None:
        if self.window_px < 1 or self.window_px % 2 == 0:
            raise ConfigError(f"merge.window_px must be odd and positive, got {self.window_px}")

    def __call__(self, sources: Tensor, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w), clipped to [0, 1]."""
        *bands, coarsest = laplacian_pyramid(sources)
        merged = [self._strongest(band) for band in bands]
        return collapse([*merged, coarsest.mean(0, keepdim=True)]).clamp(0, 1)

    def _strongest(self, band: Tensor) -> Tensor:
        strength = band.abs().sum(1, keepdim=True)
        if self.window_px > 1:
            margin = self.window_px // 2
            padded = functional.pad(strength, (margin,) * 4, mode="replicate")
            strength = functional.avg_pool2d(padded, self.window_px, stride=1)
        index = strength.argmax(0, keepdim=True).expand(1, *band.shape[1:])
        return band.gather(0, index)


@dataclass(frozen=True)
class SeamPyramid:
    """The decided source, and along the seams between sources their Laplacian pyramid.

    Near a seam no source is right: the blurred foreground spreads over the background, and the
    pyramid mends more of it than any selection does. Away from it selection is exact.

    Attributes:
        band_px: Half the width of the band along a seam that the pyramid fills.
        feather_px: Width of its soft rim.
        window_px: Of the pyramid.

    Raises:
        ConfigError: for a field out of its range.
    """

    band_px: float = 16.0
    feather_px: float = 8.0
    window_px: int = 5

    def __post_init__(self) -> None:
        LaplacianPyramid(self.window_px)
        for name in ("band_px", "feather_px"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"merge.{name} must be > 0, got {getattr(self, name)}")

    def __call__(self, sources: Tensor, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w), in [0, 1]."""
        selected = Blend()(sources, decision)
        distance = seam_distance_px(decision.argmax(0)[0].cpu().numpy())
        share = np.clip((self.band_px - distance) / self.feather_px + 0.5, 0, 1)
        near = torch.from_numpy(share).to(sources)
        return near * LaplacianPyramid(self.window_px)(sources, decision) + (1 - near) * selected


def seam_distance_px(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Distance (h, w) to the nearest pixel with a neighbour of another label; infinite without."""
    seam = np.zeros(labels.shape, np.uint8)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    seam[:, 1:] |= across
    seam[:, :-1] |= across
    seam[1:] |= down
    seam[:-1] |= down
    if not seam.any():
        return np.full(labels.shape, np.inf, np.float32)
    # Not OpenCV's transform, whose last bits differ from call to call (5.0.0).
    return np.asarray(ndimage.distance_transform_edt(1 - seam), np.float32)


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Bands of (N, C, h, w) from the finest to the coarsest, which is what remains.

    Every band is half the size of the one before, rounded up; ``collapse`` is the inverse.
    """
    bands = []
    while min(images.shape[-2:]) >= 2 * _COARSEST_PX:
        smaller = reduce(images)
        bands.append(images - expand(smaller, images.shape[-2:]))
        images = smaller
    return [*bands, images]


def collapse(bands: list[Tensor]) -> Tensor:
    """The images whose ``laplacian_pyramid`` the bands are."""
    *finer, images = bands
    for band in reversed(finer):
        images = band + expand(images, band.shape[-2:])
    return images


def reduce(images: Tensor) -> Tensor:
    """Binomial low-pass (1, 4, 6, 4, 1) / 16 and every second pixel: (N, C, h, w) to its half."""
    padded = functional.pad(images, (2, 2, 2, 2), mode="reflect")
    return filter_and_sample(filter_and_sample(padded, _BINOMIAL, 2, -2), _BINOMIAL, 2, -1)


def expand(images: Tensor, size: torch.Size) -> Tensor:
    """Twice the size with the same low-pass: (N, C, ceil(h / 2), ceil(w / 2)) to ``size``."""
    return _expand(_expand(images, size[-2], -2), size[-1], -1)


def _expand(images: Tensor, length: int, dim: int) -> Tensor:
    """Along one dimension: even pixels weigh 1, 6, 1 eighths, odd ones the mean of two."""
    moved = images.movedim(dim, -1)
    first, last = moved[..., :1], moved[..., -1:]
    before = torch.cat([moved[..., 1:2] if moved.shape[-1] > 1 else first, moved[..., :-1]], -1)
    after = torch.cat([moved[..., 1:], last], -1)
    even = (before + 6 * moved + after) / 8
    odd = (moved + after) / 2
    return torch.stack([even, odd], -1).flatten(-2)[..., :length].movedim(-1, dim)
