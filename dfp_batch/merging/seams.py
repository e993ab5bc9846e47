"""Where sources meet: the seams between the labels (h, w) of a hard decision, on the host."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dfp_batch.core.image import Plane

Labels = NDArray[Any]  # (h, w)

BAND_PX = 16  # on either side of a seam
_FEATHER_PX = 4
_EXACT_PX = 1 << 20  # images of more pixels have their distances measured reduced


def seam_steps(labels: Labels) -> Labels:
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


def seam_band(labels: Labels) -> Plane:
    """Soft band (h, w), in [0, 1], around the seams between labels (h, w)."""
    side_px, feather_px = 2 * BAND_PX + 1, 2 * _FEATHER_PX + 1
    window, shorts = np.ones((side_px, side_px), np.uint8), labels.astype(np.uint16)
    hard = (cv2.dilate(shorts, window) != cv2.erode(shorts, window)).astype(np.float32)
    return np.asarray(cv2.blur(hard, (feather_px, feather_px), borderType=cv2.BORDER_REPLICATE))


def adjacent_sources(labels: Labels) -> tuple[Labels, Labels]:
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
