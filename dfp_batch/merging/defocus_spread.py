"""Unveiling: what the blurred foreground hides along the seams between sources.

Where a source is focused on the background, the blurred foreground lies over it like a veil. With
sharp images F and B of the two depths, coverage A of the foreground and the blur P of its defocus,
that source shows ``S = (1 - P A) B + P (A F)``, so the background is ``(S - P (A F)) / (1 - P A)``:
the source with something smooth added, and its detail multiplied by something smooth. A network
looks at both sources and the decision and says what; it cannot draw detail of its own.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dfp_batch.alignment.stack import full_quality
from dfp_batch.core.contracts import Merge, Sources
from dfp_batch.core.decision import winners
from dfp_batch.core.image import Image, Plane
from dfp_batch.core.tiling import Span, spans
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.networks.defocus_spread_network import PLANES, DefocusSpreadNetwork
from dfp_batch.networks.weights import DEFOCUS_SPREAD, load_defocus_spread

Labels = NDArray[Any]

BAND_PX = 16  # on either side of a seam

_FEATHER_PX = 4

_DETAIL_SIGMA_PX, _DETAIL_REACH_PX = 1.5, 4

_TILE_PX = 128  # of half the resolution


def detail(image: Tensor) -> Tensor:
    """What a Gaussian of 1.5 px takes from an image (C, h, w), float32."""
    side_px = 2 * _DETAIL_REACH_PX + 1
    planes = [
        cv2.GaussianBlur(
            plane, (side_px, side_px), _DETAIL_SIGMA_PX, borderType=cv2.BORDER_REPLICATE
        )
        for plane in image.cpu().numpy()
    ]
    return image - torch.from_numpy(np.stack(planes)).to(image.device)


@dataclass(frozen=True)
class DefocusSpreadCorrection:
    """Another merge, with the veil taken off within 16 px of every seam between two sources.

    Every channel on its own, as the veil has the colour of the foreground. Of more than two sources
    each pixel takes the two that meet at the nearest seam. The first of two is the one that shows
    more of the image: the order in which they are given does not matter.

    Attributes:
        base: The merge that is unveiled.
        weights: "" for those that come with the package, or a file of ``train_defocus_spread.py``.
    """

    base: Merge = field(default_factory=SeamPyramid)
    weights: str = ""

    def __call__(self, sources: Sources, decision: Tensor) -> Tensor:
        """Merged (1, C, h, w), in [0, 1].

        Raises:
            ConfigError: if the file of the weights cannot be used.
        """
        return self.in_smaller_tiles(sources, decision, 0)

    def in_smaller_tiles(self, sources: Sources, decision: Tensor, halvings: int) -> Tensor:
        """As a call, with less memory: the side of the tiles is halved so often."""
        merged = self.base(sources, decision)
        network = load_defocus_spread(Path(self.weights) if self.weights else DEFOCUS_SPREAD).to(
            merged.device
        )
        seams = find_seams(sources, decision, merged)
        if not seams.band.any():
            return merged
        unveiled = _unveiled(network, seams, _TILE_PX >> halvings).add_(merged[0]).cpu()
        del seams  # six full frames
        _keep_within_surroundings(unveiled.numpy(), merged[0].cpu().numpy())
        return unveiled[None].to(merged.device)


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


def find_seams(sources: Sources, decision: Tensor, merged: Tensor) -> Seams:
    """Bring together what the network needs.

    Args:
        sources: N sources (C, h, w), in [0, 1].
        decision: (N, 1, h, w), sums to 1 over N.
        merged: (1, C, h, w), in [0, 1].
    """
    labels = winners(decision).cpu().numpy()
    band, device = seam_band(labels), merged.device
    if not band.any():
        image, nothing = merged[0], torch.zeros_like(merged[0])
        return Seams(image, image, image, 0.5 + nothing[:1], nothing[:1], nothing, nothing)
    first, second = meeting(labels)
    weight = _weight(decision, first, second)
    shown = torch.zeros(4, *merged.shape[1:])
    _show(sources, (first, second), band > 0, shown.numpy())
    one, other, one_detail, other_detail = shown.to(device)
    soft = torch.from_numpy(band)[None].to(device)
    return Seams(merged[0], one, other, weight, soft, one_detail, other_detail)


def seam_band(labels: Labels) -> Plane:
    """Soft band (h, w), in [0, 1], around the seams between labels (h, w)."""
    side_px, feather_px = 2 * BAND_PX + 1, 2 * _FEATHER_PX + 1
    window, shorts = np.ones((side_px, side_px), np.uint8), labels.astype(np.uint16)
    hard = (cv2.dilate(shorts, window) != cv2.erode(shorts, window)).astype(np.float32)
    return np.asarray(cv2.blur(hard, (feather_px, feather_px), borderType=cv2.BORDER_REPLICATE))


def meeting(labels: Labels) -> tuple[Labels, Labels]:
    """The two labels that meet at the seam nearest to each pixel, of labels (h, w) with a seam.

    One of them is the pixel's own. The commoner one in the image comes first.
    """
    other = _neighbour(labels)
    seam = other != labels
    _, index = cv2.distanceTransformWithLabels(
        (~seam).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    place = np.zeros(index.max() + 1, np.int32)
    place[index[seam]] = np.flatnonzero(seam)
    nearest = place[index]
    here, there = labels.ravel()[nearest], other.ravel()[nearest]
    partner = np.where(here == labels, there, here)
    rank = np.argsort(np.argsort(-np.bincount(labels.ravel()), kind="stable"))
    swap = rank[partner] < rank[labels]
    return np.where(swap, partner, labels), np.where(swap, labels, partner)


def _neighbour(labels: Labels) -> Labels:
    """A label (h, w) next to each pixel that is not its own, or its own where there is none."""
    other = labels.copy()
    for own, next_ in (
        (np.s_[1:], np.s_[:-1]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        np.copyto(other[own], labels[next_], where=labels[next_] != labels[own])
    return other


def _show(
    sources: Sources, pair: tuple[Labels, Labels], where: NDArray[np.bool_], shown: Image
) -> None:
    """Put sources together, each loaded once, in full quality at ``where`` (h, w).

    Args:
        sources: N sources (C, h, w).
        pair: Which is the first and which the second one at every pixel, (h, w) each.
        where: In the band.
        shown: (4, C, h, w): becomes the first, the second, the details of the first, of the second.
    """
    for index in np.unique(pair).tolist():
        masks = [label == index for label in pair]
        source = full_quality(sources, index, (masks[0] | masks[1]) & where).cpu()
        for images, image in ((shown[:2], source), (shown[2:], detail(source))):
            for whole, mask in zip(images, masks, strict=True):
                np.copyto(whole, image.numpy(), where=mask)


def _weight(decision: Tensor, first: Labels, second: Labels) -> Tensor:
    """Weight (1, h, w) of the first of two sources, whatever the others have."""
    both = torch.from_numpy(np.stack([first, second])).long().to(decision.device)
    weights = decision[:, 0].gather(0, both)
    return weights[:1] / weights.sum(0, keepdim=True)


@torch.no_grad()
def _unveiled(network: DefocusSpreadNetwork, seams: Seams, side_px: int) -> Tensor:
    """What lifts the veil, times the band, (C, h, w), computed in tiles where the band is."""
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


def _keep_within_surroundings(image: Image, merged: Image) -> None:
    """Lift no veil beyond what is seen around: ``image`` is changed; both (C, h, w).

    Behind the veil is what goes on beside it. It keeps what the network makes of blur that is wider
    than any it has learnt from.
    """
    window = np.ones((2 * BAND_PX + 1, 2 * BAND_PX + 1), np.uint8)
    for plane, base in zip(image, merged, strict=True):
        np.clip(plane, cv2.erode(base, window), cv2.dilate(base, window), out=plane)
