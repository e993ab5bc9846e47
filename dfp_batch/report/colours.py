"""Colours for a screen: of images with a profile, and of maps.

Maps tell which frame, how certain, how far from the reference.
"""

from io import BytesIO

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageCms

Image = NDArray[np.uint8]

FULL_DIFFERENCE = 0.1  # of white; the end of the colours
_FRAMES, _CONFIDENCE, _DIFFERENCE = cv2.COLORMAP_PLASMA, cv2.COLORMAP_CIVIDIS, cv2.COLORMAP_INFERNO
_STEPS = 9


def in_srgb(image: Image, icc: bytes | None) -> Image:
    """An image (h, w, 3) as a browser shows it that is told of no profile.

    Args:
        image: Of the file.
        icc: Its ICC profile; without one, or with one that is damaged or of other than RGB, the
            image stays as it is.
    """
    if icc is None:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        if profile.profile.xcolor_space.strip() != "RGB":
            return image
        screen = ImageCms.createProfile("sRGB")
        shown = ImageCms.profileToProfile(PIL.Image.fromarray(image), profile, screen)
    except (OSError, ImageCms.PyCMSError):
        return image
    return np.asarray(shown)


def decision_colours(labels: NDArray[np.uint8] | NDArray[np.uint16], count: int) -> Image:
    """Indices (h, w) of ``count`` frames as colours (h, w, 3), from the first to the last."""
    return _coloured(labels, _table(_FRAMES, count))


def confidence_colours(confidence: Image) -> Image:
    """Confidence (h, w) as colours (h, w, 3): dark blue is in focus nowhere, yellow is certain."""
    return _coloured(confidence, _table(_CONFIDENCE, 256))


def difference_colours(result: Image, reference: Image) -> Image:
    """Mean absolute difference of two images (h, w, 3) as colours (h, w, 3).

    Black is none; white is a tenth of the range and more.
    """
    mean = cv2.absdiff(result, reference).mean(axis=2, dtype=np.float32)
    index = np.clip(mean / FULL_DIFFERENCE, 0, 255).astype(np.uint8)
    return _coloured(index, _table(_DIFFERENCE, 256))


def frame_legend(count: int) -> list[str]:
    """The colour of every frame, ``#rrggbb``."""
    return _hex(_table(_FRAMES, count))


def confidence_legend() -> list[str]:
    """Colours from no confidence to full."""
    return _hex(_table(_CONFIDENCE, _STEPS))


def difference_legend() -> list[str]:
    """Colours from no difference to ``FULL_DIFFERENCE``."""
    return _hex(_table(_DIFFERENCE, _STEPS))


def _coloured(indices: NDArray[np.uint8] | NDArray[np.uint16], table: Image) -> Image:
    """Indices (h, w) as colours (h, w, 3); those beyond the table are its last."""
    coloured: Image = table[np.minimum(indices, len(table) - 1)]
    return coloured


def _table(scheme: int, count: int) -> Image:
    """Colours (count, 3), red first."""
    index = np.linspace(0, 255, count).round().astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(index[:, None], scheme)[:, 0, ::-1])


def _hex(table: Image) -> list[str]:
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in table.tolist()]
