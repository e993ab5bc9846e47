"""Elementary image operations shared by the whole method."""

from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dfp_batch.core.filters import as_array, as_image, on_host

Plane = NDArray[np.float32]  # (h, w)
Image = NDArray[Any]  # (h, w, C)
Interpolation = Literal["bicubic", "lanczos"]
INTERPOLATIONS = ("bicubic", "lanczos")
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114


def luma(images: Tensor) -> Tensor:
    """Luma by ITU-R BT.601; grey images are their own luma.

    Args:
        images: (N, 3, h, w) RGB or (N, 1, h, w) grey, in [0, 1].

    Returns:
        (N, 1, h, w), in [0, 1].
    """
    if images.shape[1] == 1:
        return images
    # Plain numbers: a tensor of weights would be a blocking copy to the device in every iteration.
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return _RED * red + _GREEN * green + _BLUE * blue


def luma_plane(image: Tensor) -> Tensor:
    """Luma of one image (C, h, w): (1, h, w), on its device; by OpenCV on a CPU, without gradient.

    Within a rounding it is ``luma``, in a fifth of the time.
    """
    if len(image) == 1 or not on_host(image):
        return luma(image[None])[0]
    return as_image(array_luma(as_array(image)))


def array_luma(image: Image) -> Plane:
    """Luma (h, w), float32, of an image (h, w, C) as it is stored, in its range."""
    if image.shape[2] == 1:
        return np.asarray(image[..., 0], np.float32)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def enlarge(images: Tensor, scale: int, kernel: Interpolation = "bicubic") -> Tensor:
    """Enlargement by interpolation, pixel centres at ``(i + 0.5) * scale - 0.5``.

    Args:
        images: (N, C, h, w).
        scale: Integer factor >= 1; 1 returns the input.
        kernel: "bicubic" (Keys, a = -0.5) or "lanczos" (Lanczos4, on the CPU).

    Returns:
        (N, C, scale * h, scale * w); both kernels may overshoot the range of the input.
    """
    if scale == 1:
        return images
    if kernel == "lanczos":
        return _lanczos(images, scale)
    # antialias=True selects a = -0.5; when enlarging it changes nothing else.
    return functional.interpolate(
        images, scale_factor=scale, mode="bicubic", align_corners=False, antialias=True
    )


def _lanczos(images: Tensor, scale: int) -> Tensor:
    *lead, h, w = images.shape
    planes = images.reshape(-1, h, w).cpu().numpy()
    size = (scale * w, scale * h)
    enlarged = [cv2.resize(plane, size, interpolation=cv2.INTER_LANCZOS4) for plane in planes]
    return torch.from_numpy(np.stack(enlarged)).reshape(*lead, size[1], size[0]).to(images)


def _reflected_indices(length: int, padded: int, device: torch.device) -> Tensor:
    period = max(1, 2 * (length - 1))
    index = torch.arange(padded, device=device) % period
    return torch.where(index < length, index, period - index)


def pad_to(images: Tensor, height: int, width: int) -> Tensor:
    """Extend to the right and the bottom by (repeated) reflection about the last pixel.

    Args:
        images: (N, C, h, w).
        height: Rows wanted, >= h; may be any multiple of h.
        width: Columns wanted, >= w.

    Returns:
        (N, C, height, width) whose top left (h, w) corner is the input.
    """
    rows = _reflected_indices(images.shape[-2], height, images.device)
    columns = _reflected_indices(images.shape[-1], width, images.device)
    return images[..., rows, :][..., columns]


def round_up(value: int, multiple: int, minimum: int) -> int:
    """Smallest multiple of ``multiple`` that is >= both ``value`` and ``minimum``."""
    return -(-max(value, minimum) // multiple) * multiple
