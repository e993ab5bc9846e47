"""Merging: from sources and a decision to one sharp image at source size."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from dfp_batch.errors import ConfigError
from dfp_batch.method.focus import winners
from dfp_batch.method.stack import Image, Plane, Sources, detailed, in_turn, own_image, whole

_COARSEST_PX = 8
_BLOCK_ROWS = 256
_SEEN = 0.1  # of a weight: more shows fine detail
_EXACT_PX = 1 << 20  # images of more pixels have their distances measured reduced


class Merge(Protocol):
    """Makes one image of the sources."""

    def __call__(self, sources: Sources, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w) of N sources (C, h, w) and decision (N, 1, h, w)."""
        ...


@dataclass(frozen=True)
class Unmerged:
    """All sources as they are: for reconstructions that fit every one of them."""

    def __call__(self, sources: Sources, decision: Tensor) -> Tensor:
        """The sources, (N, C, h, w)."""
        return whole(sources)


@dataclass(frozen=True)
class Blend:
    """Average of the sources, weighted by the decision: ``sum_k m_k I_k``."""

    def __call__(self, sources: Sources, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w), within the range of the sources."""
        merged = torch.zeros((), device=decision.device)
        for index, weight in enumerate(decision):
            where = weight[0].cpu().numpy() > _SEEN
            merged = merged + weight * detailed(sources, index, where)
        return merged.unsqueeze(0)


@dataclass(frozen=True)
class LaplacianPyramid:
    """The source with the strongest detail, band by band (Burt and Adelson, 1983).

    The coarsest band is the average of the sources, weighted by the decision: of all alike where
    there is none.

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

    def __call__(self, sources: Sources, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w), clipped to [0, 1]."""
        strongest = Strongest(self.window_px)
        for weight, source in zip(decision, in_turn(sources), strict=True):
            strongest.add(own_image(sources, source), weight[0].cpu().numpy())
        merged = torch.from_numpy(strongest.image()).movedim(-1, 0)
        return merged.unsqueeze(0).clamp(0, 1).to(decision.device)


class Strongest:
    """The strongest detail of the images that were added, one after the other.

    Args:
        window_px: As in ``LaplacianPyramid``.
    """

    def __init__(self, window_px: int) -> None:
        self._window = (window_px, window_px)
        self._bands: list[Image] = []
        self._strengths: list[Plane] = []

    def add(self, image: Image, weight: Plane) -> None:
        """Take what is stronger in an image (h, w, C) than in those before.

        Args:
            image: float32; it is overwritten.
            weight: (h, w), its share of the coarsest band.
        """
        is_first = not self._bands
        for level, band in enumerate(pyramid_bands(image)):
            if min(band.shape[:2]) < 2 * _COARSEST_PX:
                break
            strength = self._strength(band)
            weight = np.asarray(cv2.pyrDown(weight), np.float32)
            if is_first:
                self._bands.append(band)
                self._strengths.append(strength)
                continue
            most = self._strengths[level]
            cv2.copyTo(band, (strength > most).view(np.uint8), self._bands[level])
            np.maximum(most, strength, out=most)
        band *= weight[..., None]
        if is_first:
            self._bands.append(band)
        else:
            self._bands[-1] += band

    def image(self) -> Image:
        """What all the strongest details make together, (h, w, C)."""
        return collapse(self._bands)

    def _strength(self, band: Image) -> Plane:
        """Sum over the channels, so that all of them come from one source, without fringes."""
        total = np.empty(band.shape[:2], np.float32)
        for top in range(0, len(band), _BLOCK_ROWS):
            rows = slice(top, top + _BLOCK_ROWS)
            cv2.transform(np.abs(band[rows]), np.ones((1, band.shape[2])), total[rows])
        if self._window == (1, 1):
            return total
        return np.asarray(cv2.blur(total, self._window, total, borderType=cv2.BORDER_REPLICATE))


@dataclass(frozen=True)
class SeamPyramid:
    """The decided source, and along the seams between sources their Laplacian pyramid.

    Near a seam no source is right: the blurred foreground spreads over the background, and the
    pyramid mends more of it than any selection does. Away from it selection is exact. The blur
    spreads the farther the more steps of focus lie between the two sources that meet.

    Attributes:
        band_px: Half the width per step of focus of the band along a seam that the pyramid fills.
        free_steps: Steps of focus that need no pyramid.
        feather_px: Width of its soft rim.
        window_px: Of the pyramid.

    Raises:
        ConfigError: for a field out of its range.
    """

    band_px: float = 16.0
    free_steps: int = 0
    feather_px: float = 8.0
    window_px: int = 5

    def __post_init__(self) -> None:
        LaplacianPyramid(self.window_px)
        for name in ("band_px", "feather_px"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"merge.{name} must be > 0, got {getattr(self, name)}")
        if self.free_steps < 0:
            raise ConfigError(f"merge.free_steps must be >= 0, got {self.free_steps}")

    def __call__(self, sources: Sources, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w), in [0, 1]."""
        share = self.share(winners(decision).cpu().numpy())
        if not share.any():
            return Blend()(sources, decision)
        strongest, merged = Strongest(self.window_px), np.zeros(0, np.float32)
        for index, plane in enumerate(decision[:, 0].cpu().numpy()):
            where = plane > _SEEN
            image = own_image(sources, detailed(sources, index, where))
            merged = merged if merged.size else np.zeros_like(image)
            _add_product(image, plane, merged)
            strongest.add(image, plane)
        mended = strongest.image()
        np.subtract(mended.clip(0, 1, out=mended), merged, out=mended)
        _add_product(mended, share, merged)
        return torch.from_numpy(merged).movedim(-1, 0).unsqueeze(0).to(decision.device)

    def share(self, labels: NDArray[Any]) -> Plane:
        """Share (h, w) of the pyramid, in [0, 1], between the sources ``labels`` (h, w)."""
        steps = seam_steps(labels)
        share = np.zeros(labels.shape, np.float32)
        for step in range(self.free_steps + 1, int(steps.max()) + 1):
            if not (steps == step).any():
                continue
            reach_px = self.band_px * (step - self.free_steps)
            ramp = (reach_px - distance_px(steps == step)) / self.feather_px + 0.5
            np.maximum(share, ramp.clip(0, 1), out=share)
        return share


def _add_product(image: Image, weight: Plane, total: Image) -> None:
    """Add an image (h, w, C), weighted by (h, w), to another one, row block by row block."""
    for top in range(0, len(image), _BLOCK_ROWS):
        rows = slice(top, top + _BLOCK_ROWS)
        weights = _with_channels(cv2.merge([weight[rows]] * image.shape[2]))
        cv2.accumulateProduct(image[rows], weights, total[rows])


def seam_steps(labels: NDArray[Any]) -> NDArray[Any]:
    """Largest difference (h, w) to the label of a neighbour; 0 away from seams."""
    steps = np.zeros_like(labels)
    across, down = abs(labels[:, 1:] - labels[:, :-1]), abs(labels[1:] - labels[:-1])
    for part, step in (
        (steps[:, 1:], across),
        (steps[:, :-1], across),
        (steps[1:], down),
        (steps[:-1], down),
    ):
        np.maximum(part, step, out=part)
    return steps


def distance_px(seam: NDArray[np.bool_]) -> Plane:
    """Distance (h, w) to the nearest pixel of a seam (h, w), which must have one.

    Large images are measured at a half or a quarter of their size, which is off by 2 px at most.
    """
    h, w = seam.shape
    factor = 1 if h * w < _EXACT_PX else 4
    blocks = np.pad(seam, ((0, -h % factor), (0, -w % factor)))
    blocks = blocks.reshape(-(-h // factor), factor, -(-w // factor), factor).max((1, 3))
    # Not OpenCV's transform, whose last bits differ from call to call (5.0.0).
    distance = factor * ndimage.distance_transform_edt(~blocks).astype(np.float32)
    larger = (blocks.shape[1] * factor, blocks.shape[0] * factor)
    return np.asarray(cv2.resize(distance, larger)[:h, :w])


def laplacian_pyramid(image: Image) -> list[Image]:
    """Bands of (h, w, C), float32, from the finest to the coarsest, which is what remains.

    Every band is half the size of the one before, rounded up; ``collapse`` is the inverse.
    """
    return list(pyramid_bands(image.copy()))


def pyramid_bands(image: Image) -> Iterator[Image]:
    """The bands of ``laplacian_pyramid``, one after the other; the image becomes the first."""
    while min(image.shape[:2]) >= 2 * _COARSEST_PX:
        smaller = _with_channels(cv2.pyrDown(image))
        _subtract_expanded(image, smaller)
        yield image
        image = smaller
    yield image


def _subtract_expanded(image: Image, smaller: Image) -> None:
    """``image -= _expand(smaller, image)``, row block by row block: the expanded one is large."""
    half = _BLOCK_ROWS // 2
    for first in range(0, len(smaller), half):
        start, stop = max(0, first - 2), min(len(smaller), first + half + 2)  # pyrUp reaches 1 row
        larger = _expand(smaller[start:stop], image[2 * start : 2 * stop])
        rows = image[2 * first : 2 * (first + half)]
        rows -= larger[2 * (first - start) :][: len(rows)]


def collapse(bands: list[Image]) -> Image:
    """The image whose ``laplacian_pyramid`` the bands are."""
    *finer, image = bands
    for band in reversed(finer):
        image = band + _expand(image, band)
    return image


def _expand(image: Image, larger: Image) -> Image:
    size = (larger.shape[1], larger.shape[0])
    return _with_channels(cv2.pyrUp(image, dstsize=size))


def _with_channels(image: Image) -> Image:
    """OpenCV drops the channel axis of a grey image."""
    return image if image.ndim == 3 else image[..., None]  # noqa: PLR2004
