"""How often the decision takes the right source, over all pixels and where it is hard.

- boundary: another source is in focus at most 4 px away;
- thin: structures less than about 9 px wide, such as twigs and wires;
- flat: no contrast to judge focus by, and no boundary near.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dfp_batch.errors import ImageError

Mask = NDArray[np.bool_]
Labels = NDArray[np.int64]

BOUNDARY_PX = 4
THIN_PX = 9
_FLAT_WINDOW_PX = 9
_FLAT_CONTRAST = 2 / 255  # two levels of 8 bit: about what rounding and a little noise leave


def regions(labels: Labels, reference_luma: NDArray[np.floating] | None = None) -> dict[str, Mask]:
    """Where a decision is hard to take; the regions may overlap.

    Args:
        labels: Source in focus, (h, w), >= 0.
        reference_luma: Luma of the all-in-focus truth at the size of the sources, (h, w), in
            [0, 1]; without it there is no ``flat``.

    Returns:
        ``boundary, thin`` and ``flat``, (h, w) each.

    Raises:
        ImageError: The two differ in size.
    """
    found = {"boundary": near_boundary(labels, BOUNDARY_PX), "thin": _thin(labels)}
    if reference_luma is not None:
        _check_size("reference", reference_luma.shape, labels)
        found["flat"] = _is_flat(reference_luma) & ~found["boundary"]
    return found


def near_boundary(labels: Labels, radius_px: float) -> Mask:
    """Pixels (h, w) with another label at most ``radius_px`` away, centre to centre."""
    near = np.zeros(labels.shape, dtype=bool)
    present = np.unique(labels)
    for label in present if len(present) > 1 else ():
        inside = labels == label
        distance_px = ndimage.distance_transform_edt(inside)
        near |= inside & (distance_px <= radius_px)
    return near


def decision_accuracy(
    decision: NDArray[np.floating] | Labels, labels: Labels, where: Mapping[str, Mask]
) -> dict[str, float | None]:
    """Share of the pixels whose source with the largest weight is the one in focus.

    Where m sources share the largest weight a pixel counts 1 / m if the one in focus is among
    them: an undecided pixel counts 1 / N, which is what guessing would get.

    Args:
        decision: (N, 1, h, w), or the index of the source taken, (h, w).
        labels: Source in focus, (h, w).
        where: Regions (h, w) as of ``regions``.

    Returns:
        ``accuracy`` and ``accuracy_<region>``, in [0, 1]; None for a region without pixels.

    Raises:
        ImageError: Decision and labels differ in size, or a label has no source.
    """
    _check_size("decision", decision.shape[-2:], labels)
    hits = _hits(decision, labels)
    everywhere = {"accuracy": np.ones(labels.shape, dtype=bool)}
    named = everywhere | {f"accuracy_{name}": mask for name, mask in where.items()}
    return {name: float(hits[mask].mean()) if mask.any() else None for name, mask in named.items()}


def _hits(decision: NDArray[np.floating] | Labels, labels: Labels) -> NDArray[np.float64]:
    """How much of each pixel is right, (h, w), in [0, 1]."""
    if decision.ndim == labels.ndim:
        return np.asarray(decision == labels, np.float64)
    if labels.max() >= len(decision):
        raise ImageError(
            f"labels must be below the number of sources {len(decision)}, found {labels.max()}"
        )
    weights = decision[:, 0]
    is_largest = weights == weights.max(0)
    is_right = np.take_along_axis(is_largest, labels[None], 0)[0]
    return np.asarray(is_right / is_largest.sum(0), np.float64)


def _thin(labels: Labels) -> Mask:
    """What an opening with an ellipse of 9 px takes away from the region of each label."""
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (THIN_PX, THIN_PX))
    thin = np.zeros(labels.shape, dtype=bool)
    for label in np.unique(labels):
        inside = (labels == label).astype(np.uint8)
        thin |= cv2.morphologyEx(inside, cv2.MORPH_OPEN, ellipse) < inside
    return thin


def _is_flat(luma: NDArray[np.floating]) -> Mask:
    """Standard deviation in the 9x9 px window below two levels of 8 bit."""
    image = luma.astype(np.float64)
    mean, mean_square = (_window_mean(plane) for plane in (image, image * image))
    return np.asarray(mean_square - mean * mean < _FLAT_CONTRAST**2)


def _window_mean(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    size = (_FLAT_WINDOW_PX, _FLAT_WINDOW_PX)
    return np.asarray(cv2.blur(plane, size, borderType=cv2.BORDER_REFLECT_101))


def _check_size(what: str, found: tuple[int, ...], labels: Labels) -> None:
    if tuple(found) != labels.shape:
        (h, w), (expected_h, expected_w) = found, labels.shape
        raise ImageError(
            f"{what} must be as large as the labels, expected {expected_w}x{expected_h} px, "
            f"found {w}x{h} px"
        )
