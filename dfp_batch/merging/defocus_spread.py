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

import torch
from torch import Tensor
from torch.nn import functional

from dfp_batch.core.contracts import Compute, Merge, Sources
from dfp_batch.core.decision import winners
from dfp_batch.core.filters import copy_where_, gaussian_blur, largest_nearby, least_nearby
from dfp_batch.core.tiling import Span, spans
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.merging.seams import BAND_PX, adjacent_sources, seam_band
from dfp_batch.networks.defocus_spread_network import PLANES, DefocusSpreadNetwork
from dfp_batch.networks.weights import DEFOCUS_SPREAD, load_defocus_spread

_DETAIL_SIGMA_PX, _DETAIL_SIDE_PX = 1.5, 9
_TILE_PX = 256  # of half the resolution; smaller ones are mostly halo


@dataclass(frozen=True)
class DefocusSpreadCorrection(Merge):
    """Another merge, with the defocus spread taken off within 16 px of every seam.

    Every channel on its own, as the veil has the colour of the foreground. Of more than two sources
    each pixel takes the two that meet at the nearest seam. The first of two is the one that shows
    more of the image: the order in which they are given does not matter.

    Attributes:
        base: The merge that is corrected.
        weights: "" for those that come with the package, or a file of ``train_defocus_spread.py``.
    """

    base: Merge = field(default_factory=SeamPyramid)
    weights: str = ""

    def __call__(
        self, sources: Sources, decision: Tensor, certainty: Tensor, compute: Compute
    ) -> Tensor:
        """Merged (1, C, h, w), in [0, 1].

        Raises:
            ConfigError: if the file of the weights cannot be used.
        """
        merged = self.base(sources, decision, certainty, compute)
        path = Path(self.weights) if self.weights else DEFOCUS_SPREAD
        network = load_defocus_spread(path, merged.device)
        seams = find_seams(sources, decision, certainty, merged)
        if not seams.band.any():
            return merged
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
        second_detail: Likewise.
    """

    merged: Tensor
    first: Tensor
    second: Tensor
    weight: Tensor
    band: Tensor
    first_detail: Tensor
    second_detail: Tensor


def find_seams(sources: Sources, decision: Tensor, certainty: Tensor, merged: Tensor) -> Seams:
    """Bring together what the network needs.

    Args:
        sources: N sources (C, h, w), in [0, 1].
        decision: (N, 1, h, w), sums to 1 over N.
        certainty: Of the decision, (1, h, w) or (1, 1, 1), in [0, 1].
        merged: (1, C, h, w), in [0, 1].
    """
    labels, device = winners(decision).cpu().numpy(), merged.device
    band = torch.from_numpy(seam_band(labels))[None].to(device) * certainty
    image = merged[0]
    if not band.any():
        nothing = torch.zeros_like(image)
        return Seams(image, image, image, 0.5 + nothing[:1], nothing[:1], nothing, nothing)
    pair = [torch.from_numpy(one).to(device) for one in adjacent_sources(labels)]
    first, second, first_detail, second_detail = _shown(sources, pair, band[0] > 0)
    return Seams(image, first, second, _weight(decision, pair), band, first_detail, second_detail)


def detail(image: Tensor) -> Tensor:
    """What a Gaussian of 1.5 px takes from an image (C, h, w), float32."""
    return image - gaussian_blur(image, _DETAIL_SIGMA_PX, _DETAIL_SIDE_PX, "replicate")


def _shown(sources: Sources, pair: list[Tensor], where: Tensor) -> list[Tensor]:
    """Put sources together, each loaded once, in full quality at ``where`` (h, w).

    Args:
        sources: N sources (C, h, w).
        pair: Which is the first and which the second one at every pixel, (h, w) each.
        where: In the band.

    Returns:
        The first, the second, the details of the first and of the second, (C, h, w) each.
    """
    shown: list[Tensor] = []
    for index in torch.unique(torch.stack(pair)).tolist():
        masks = [labels == index for labels in pair]
        source = sources.full_quality(index, (masks[0] | masks[1]) & where)
        shown = shown or [torch.zeros_like(source) for _ in range(4)]
        for images, image in ((shown[:2], source), (shown[2:], detail(source))):
            for whole, mask in zip(images, masks, strict=True):
                copy_where_(whole, image, mask)
    return shown


def _weight(decision: Tensor, pair: list[Tensor]) -> Tensor:
    """Weight (1, h, w) of the first of two sources, whatever the others have."""
    weights = decision[:, 0].gather(0, torch.stack(pair).long())
    return weights[:1] / weights.sum(0, keepdim=True)


@torch.no_grad()
def correction(network: DefocusSpreadNetwork, seams: Seams, side_px: int) -> Tensor:
    """What takes the spread off, times the band, (C, h, w): computed in tiles where the band is.

    Args:
        network: Says what.
        seams: What it looks at.
        side_px: Of a tile, in pixels of half the resolution; the result does not depend on it.
    """
    added = torch.zeros_like(seams.merged)
    h, w = added.shape[-2:]
    half_h, half_w = -(-h // 2), -(-w // 2)
    for rows in spans(half_h, side_px, network.halo_px):
        for columns in spans(half_w, side_px, network.halo_px):
            own = (..., rows.own(2), columns.own(2))
            band = seams.band[own]
            if band.any():
                tile = _tile(seams, rows, columns)
                lifted = network(tile[:, :PLANES], tile[:, PLANES:])[:, 0]
                within = lifted[..., rows.within(2), columns.within(2)]
                added[own] = band * within[..., : band.shape[-2], : band.shape[-1]]
    return added


def _tile(seams: Seams, rows: Span, columns: Span) -> Tensor:
    """A tile with its halo, every channel for itself, (C, 7, 2 h, 2 w): odd sides are repeated."""
    cut = [image[..., rows.read(2), columns.read(2)] for image in seams]
    channels = len(cut[0])
    planes = torch.stack([image.expand(channels, -1, -1) for image in cut], 1)
    odd_h, odd_w = (side % 2 for side in planes.shape[-2:])
    return functional.pad(planes, (0, odd_w, 0, odd_h), mode="replicate")


def _within_surroundings(image: Tensor, merged: Tensor) -> Tensor:
    """An image (C, h, w) no darker and no brighter than what the merge shows around.

    What the foreground hides goes on beside it. This bounds what the network makes of blur that is
    wider than any it has learnt from.
    """
    side_px = 2 * BAND_PX + 1
    return image.clamp(least_nearby(merged, side_px), largest_nearby(merged, side_px))
