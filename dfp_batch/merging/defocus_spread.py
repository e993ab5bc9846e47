"""The defocus spread effect: what the blurred foreground hides along the seams between sources.

Where a source is focused on the background, the blurred foreground spreads over it like a veil.
With sharp images F and B of the two depths, coverage A of the foreground and the blur P of its
defocus, that source shows ``S = (1 - P A) B + P (A F)``. So the background is
``(S - P (A F)) / (1 - P A)``: the source with something smooth added, and its detail multiplied by
something smooth. A network looks at both sources and the decision and says what; it cannot draw
detail of its own.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dfp_batch.core.allocator import give_back
from dfp_batch.core.contracts import Compute, Merge, Sources
from dfp_batch.core.decision import present, winners
from dfp_batch.core.filters import copy_where_, gaussian_blur, largest_nearby, least_nearby
from dfp_batch.core.sources import Some
from dfp_batch.core.tiling import Span, boxes, spans
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.merging.seams import BAND_PX, adjacent_sources, seam_band
from dfp_batch.networks.defocus_spread_network import COLOURS, DefocusSpreadNetwork
from dfp_batch.networks.weights import DEFOCUS_SPREAD, load_defocus_spread

_DETAIL_SIGMA_PX, _DETAIL_SIDE_PX = 1.5, 9
_KEPT = torch.float16  # of what is seen along the seams: four full frames
_ROWS = 256  # of a source, that are looked at at once
_TILE_PX = 384  # of half the resolution, at most


@dataclass(frozen=True)
class DefocusSpreadCorrection(Merge):
    """Another merge, with the defocus spread taken off within 16 px of every seam.

    Of more than two sources each pixel takes the two that meet at the nearest seam. The first of
    two is the one that shows more of the image: the order in which they are given does not matter.
    Three channels are taken for colours, of any other number each is grey.

    Attributes:
        base: The merge that is corrected.
        weights: "" for those that come with the package, or a file of ``train_defocus_spread.py``.
    """

    base: Merge = field(default_factory=SeamPyramid)
    weights: str = ""

    def reach_px(self, largest_step: int) -> int | None:
        """That of the network, with its tiles, beside that of the other merge."""
        base_px = self.base.reach_px(largest_step)
        own_px = DefocusSpreadNetwork.reduction * (DefocusSpreadNetwork.halo_px + 1)
        return None if base_px is None else base_px + own_px

    def __call__(
        self, sources: Sources, decision: Tensor, certainty: Tensor, compute: Compute
    ) -> Tensor:
        """Merged (1, C, h, w), in [0, 1].

        Raises:
            ConfigError: if the file of the weights cannot be used.
        """
        path = Path(self.weights) if self.weights else DEFOCUS_SPREAD
        network = load_defocus_spread(path, decision.device)
        watched = Watched(sources, decision, certainty)
        give_back()
        merged = self.base(watched, decision, certainty, compute)
        if not watched.band.any():
            return merged
        seams = watched.seams(merged[0])
        with compute.autocast():
            corrected = correction(network, seams, compute.side_px(_TILE_PX)).add_(merged[0])
        del seams  # six full frames
        return _within_surroundings(corrected, merged[0])[None]


class Seams(NamedTuple):
    """What the network looks at, and the detail that it may add.

    Attributes:
        merged: (C, h, w), in [0, 1].
        first: Of the two sources that meet at the nearest seam, (C, h, w), in [0, 1].
        second: The other one.
        weight: Of the first one, (1, h, w).
        band: (1, h, w), in [0, 1].
        first_detail: (C, h, w). Not that of ``first``, whose pixels are of more than one source.
        second_detail: Likewise. These four are float16, if they are made by ``Watched``.
    """

    merged: Tensor
    first: Tensor
    second: Tensor
    weight: Tensor
    band: Tensor
    first_detail: Tensor
    second_detail: Tensor


class Watched(Some):
    """Sources of which is kept, while another merge looks at them, what is seen along the seams.

    Args:
        sources: N sources (C, h, w), in [0, 1].
        decision: (N, 1, h, w), sums to 1 over N.
        certainty: Of the decision, (1, h, w) or (1, 1, 1), in [0, 1].

    Attributes:
        band: (1, h, w), in [0, 1].
    """

    def __init__(self, sources: Sources, decision: Tensor, certainty: Tensor) -> None:
        super().__init__(sources, range(len(sources)))
        labels, device = winners(decision).cpu().numpy(), decision.device
        self.band = torch.from_numpy(seam_band(labels))[None].to(device) * certainty
        self._decision = decision
        self._where, self._shown = self.band[0] > 0, list[Tensor]()
        self._pair, self._waiting = list[Tensor](), set[int]()
        if self.band.any():
            pair = adjacent_sources(labels)
            self._pair = [torch.from_numpy(one).to(device) for one in pair]
            self._waiting = {index for one in self._pair for index in present(one)}

    def full_quality(self, index: int, where: Tensor, beside: Tensor | None = None) -> Tensor:
        """As of the sources, also where it is seen along the seams."""
        if index not in self._waiting:
            return super().full_quality(index, where, beside)
        masks = [labels == index for labels in self._pair]
        seen = (masks[0] | masks[1]) & self._where
        source = super().full_quality(index, seen | where, beside)
        self._waiting.remove(index)
        self._shown = self._shown or [torch.zeros_like(source, dtype=_KEPT) for _ in range(4)]
        for rows in spans(source.shape[1], _ROWS, _DETAIL_SIDE_PX // 2):
            own, within = rows.own(), rows.within()
            here = [mask[own] for mask in masks]
            if any(mask.any() for mask in here):
                made = source[:, own], detail(source[:, rows.read()])[:, within]
                for image, kept in zip(made, (self._shown[:2], self._shown[2:]), strict=True):
                    half = image.to(_KEPT)
                    for whole, mask in zip(kept, here, strict=True):
                        copy_where_(whole[:, own], half, mask)
        return source

    def seams(self, merged: Tensor) -> Seams:
        """What the network looks at, given the merged image (C, h, w)."""
        if not self._pair:
            nothing = torch.zeros_like(merged)
            return Seams(merged, merged, merged, 0.5 + nothing[:1], nothing[:1], nothing, nothing)
        nowhere = torch.zeros_like(self._where)
        for index in sorted(self._waiting):
            self.full_quality(index, nowhere)
        first, second, *details = self._shown
        return Seams(
            merged, first, second, _weight(self._decision, self._pair), self.band, *details
        )


def detail(image: Tensor) -> Tensor:
    """What a Gaussian of 1.5 px takes from an image (C, h, w), float32."""
    smooth = gaussian_blur(image, _DETAIL_SIGMA_PX, _DETAIL_SIDE_PX, "replicate")
    return smooth.neg_().add_(image)


def _weight(decision: Tensor, pair: list[Tensor]) -> Tensor:
    """Weight (1, h, w) of the first of two sources, whatever the others have."""
    first, second = (_of_labels(decision, labels) for labels in pair)
    return first / second.add_(first)


def _of_labels(decision: Tensor, labels: Tensor) -> Tensor:
    """Weight (1, h, w), float32, of the source that is named at every pixel."""
    named = torch.zeros_like(decision[0], dtype=torch.float32)
    for index in present(labels):
        copy_where_(named, decision[index].float(), labels == index)
    return named


@torch.no_grad()
def correction(network: DefocusSpreadNetwork, seams: Seams, side_px: int) -> Tensor:
    """What takes the spread off, times the band, (C, h, w): computed in tiles where the band is.

    Args:
        network: Says what.
        seams: What it looks at.
        side_px: Of a tile, in pixels of the network's resolution; the result does not depend on it.
    """
    added = torch.zeros_like(seams.merged)
    factor, halo_px = network.reduction, network.halo_px
    for rows, columns in boxes(_in_blocks(seams.band[0] > 0, factor), side_px, halo_px):
        own = (..., rows.own(factor), columns.own(factor))
        lifted = _lifted(network, _tile(seams, rows, columns, factor))
        within = lifted[..., rows.within(factor), columns.within(factor)]
        band = seams.band[own]
        added[own] = band * within[..., : band.shape[-2], : band.shape[-1]]
    return added


def _in_blocks(mask: Tensor, side: int) -> NDArray[np.bool_]:
    """Whether any pixel of every block of so many pixels a side is in a mask (h, w)."""
    h, w = mask.shape
    blocks = functional.pad(mask, (0, -w % side, 0, -h % side)).cpu().numpy()
    return np.asarray(blocks.reshape(-(-h // side), side, -(-w // side), side).any((1, 3)))


def _tile(seams: Seams, rows: Span, columns: Span, factor: int) -> Seams:
    """A tile with its halo, with sides that are multiples of the factor: the border is repeated."""
    cut = [image[..., rows.read(factor), columns.read(factor)] for image in seams]
    more_h, more_w = (-side % factor for side in cut[0].shape[-2:])
    edge = (0, more_w, 0, more_h)
    padded = [functional.pad(one[None].float(), edge, mode="replicate") for one in cut]
    return Seams(*(one[0] for one in padded))


def _lifted(network: DefocusSpreadNetwork, tile: Seams) -> Tensor:
    """What is added to the merged image, (C, h, w): of three colours at once, else each as grey."""
    channels = len(tile.merged)
    groups = 1 if channels == COLOURS else channels
    merged, first, second, *details = (
        image.reshape(groups, -1, *image.shape[1:]).expand(-1, COLOURS, -1, -1)
        for image in (*tile[:3], *tile[5:])
    )
    weight, band = (mask.expand(groups, 1, -1, -1) for mask in (tile.weight, tile.band))
    added: Tensor = network(
        torch.cat((merged, first, second, weight, band), 1), torch.cat(details, 1)
    )
    return added[0] if channels == COLOURS else added.mean(1)


def _within_surroundings(image: Tensor, merged: Tensor) -> Tensor:
    """An image (C, h, w) no darker and no brighter than what the merge shows around.

    What the foreground hides goes on beside it. This bounds what the network makes of blur that is
    wider than any it has learnt from.
    """
    side_px = 2 * BAND_PX + 1
    for plane, around in zip(image, merged, strict=True):
        least, most = (find(around[None], side_px)[0] for find in (least_nearby, largest_nearby))
        torch.clamp(plane, least, most, out=plane)
    return image
