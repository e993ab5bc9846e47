"""Checking what ``fuse`` gets: arrays or a tensor, to one tensor (N, C, h, w) in [0, 1]."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.errors import ImageError

SMALLEST_PX = 16


def as_stack(sources: Tensor | Sequence[NDArray[Any]]) -> Tensor:
    """Check the sources and stack them to (N, C, h, w), float32, in [0, 1].

    Raises:
        ImageError: naming the first source that does not fit.
    """
    if isinstance(sources, Tensor):
        stack = sources.float()
        if not bool(((stack >= 0) & (stack <= 1)).all()):
            raise ImageError("sources hold values outside [0, 1]; scale them to that range")
    else:
        images = [_to_unit(array, k) for k, array in enumerate(sources)]
        stack = torch.stack(_same_kind(images)) if images else torch.empty(0, 0, 0, 0)
    if stack.ndim != 4 or len(stack) < 2 or stack.shape[1] not in (1, 3):  # noqa: PLR2004
        raise ImageError(
            f"sources must be (N >= 2, 1 or 3 channels, h, w), got {tuple(stack.shape)}"
        )
    if min(stack.shape[-2:]) < SMALLEST_PX:
        h, w = stack.shape[-2:]
        raise ImageError(f"sources are {w}x{h} px, each side must be at least {SMALLEST_PX} px")
    return stack


def _to_unit(array: NDArray[Any], index: int) -> Tensor:
    planes = array[..., None] if array.ndim == 2 else array  # noqa: PLR2004
    if planes.ndim != 3 or planes.shape[-1] not in (1, 3):  # noqa: PLR2004
        raise ImageError(f"source {index} must be (h, w) or (h, w, 3), got {array.shape}")
    if array.dtype in (np.uint8, np.uint16):
        planes = planes / np.float32(np.iinfo(array.dtype).max)
    elif not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"source {index} must be uint8, uint16 or float, got {array.dtype}")
    elif not ((planes >= 0) & (planes <= 1)).all():
        raise ImageError(f"source {index} holds floats outside [0, 1]; scale it to that range")
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(planes, -1, 0), dtype=np.float32))


def _same_kind(images: list[Tensor]) -> list[Tensor]:
    for index, image in enumerate(images):
        if image.shape != images[0].shape:
            raise ImageError(
                f"sources differ: source 0 is {tuple(images[0].shape)} (channels, h, w), source "
                f"{index} is {tuple(image.shape)}; register or crop them to one size"
            )
    return images
