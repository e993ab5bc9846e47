"""Looking at sources: all at once, in turn, as previews or in full quality."""

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.core.contracts import Sources
from dfp_batch.core.image import Image, Plane


def whole(sources: Sources) -> Tensor:
    """All sources at once, (N, C, h, w): for what cannot look at them one by one."""
    if isinstance(sources, Tensor):
        return sources
    return torch.stack([sources[index] for index in range(len(sources))])


def in_turn(sources: Sources) -> Iterator[Tensor]:
    """The sources (C, h, w), one after the other."""
    return (sources[index] for index in range(len(sources)))


def channels_last(source: Tensor) -> NDArray[np.float32]:
    """A source (C, h, w) as OpenCV takes it, (h, w, C)."""
    return np.ascontiguousarray(source.movedim(0, -1).cpu().numpy(), np.float32)


def luma_plane(source: Tensor) -> Plane:
    """Luma (h, w) by ITU-R BT.601 of a source (C, h, w), in [0, 1]."""
    return image_luma(channels_last(source))


def image_luma(image: Image) -> Plane:
    """Luma (h, w) by ITU-R BT.601 of an image (h, w, C), in its range."""
    if image.shape[2] == 1:
        return np.asarray(image[..., 0], np.float32)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)
