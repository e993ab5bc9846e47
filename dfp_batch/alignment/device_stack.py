"""A stack as ``Sources`` on an accelerator: resampled and exposed there, from frames on the host.

The arithmetic is that of ``Stack`` and of OpenCV, which resamples on the host, also where integers
stay integers. A frame crosses to the device at the depth of its file.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dfp_batch.alignment.geometry import Warp
from dfp_batch.alignment.stack import RIM_PX
from dfp_batch.alignment.stack_alignment import StackAlignment
from dfp_batch.alignment.warp import covered_columns, is_identity
from dfp_batch.core.contracts import Images, Sources
from dfp_batch.core.filters import least_nearby
from dfp_batch.core.image import Image

Resampling = Literal["cubic", "lanczos"]

_LANCZOS_STEPS = 32  # to a pixel: OpenCV rounds places for this kernel
_CUBIC = -0.75  # OpenCV's
_BLOCK_PX = 1 << 20  # that are resampled at once


class DeviceStack(Sources):
    """The frames that could be registered, on a device.

    Where a frame does not cover the view of the reference, the reference stands in for it.

    Args:
        images: All N frames, on the host.
        white: Value of white in them.
        alignment: How to bring them to the reference.
        device: Where they are resampled.
    """

    def __init__(
        self, images: Images, white: float, alignment: StackAlignment, device: torch.device
    ) -> None:
        self._images = images
        self._white = white
        self._alignment = alignment
        self._device = device
        self._reference = self._uploaded(alignment.registered.reference)

    def __len__(self) -> int:
        return len(self._alignment.kept)

    def __getitem__(self, index: int, /) -> Tensor:
        """Frame (C, h, w), float32, in [0, 1]."""
        return self._frame(self._alignment.kept[index], "lanczos")

    def preview(self, index: int) -> Tensor:
        """The same frame, resampled by a quick kernel, which costs fine detail."""
        return self._frame(self._alignment.kept[index], "cubic")

    def covered(self, index: int) -> Tensor | None:
        """Share of the frame beside the reference that stands in for it, (1, h, w)."""
        registered, frame = self._alignment.registered, self._alignment.kept[index]
        return None if frame == registered.reference else self._share(registered.warps[frame])

    def _frame(self, frame: int, resampling: Resampling) -> Tensor:
        registered = self._alignment.registered
        if frame == registered.reference:
            return self._exposed(self._reference, frame)
        warp, size = registered.warps[frame], (self._reference.shape[1], self._reference.shape[2])
        image = self._images[frame]
        moved = _from_host(image, self._device)
        if not is_identity(warp):
            moved = resampled(moved, warp, size, resampling)
            moved = moved.round_().clamp_(0, _range(image)) if image.dtype.kind == "u" else moved
        return self._with_reference(self._exposed(moved, frame), warp)

    def _with_reference(self, frame: Tensor, warp: Warp) -> Tensor:
        share = self._share(warp)
        if share is None:
            return frame
        stand_in = self._exposed(self._reference, self._alignment.registered.reference)
        return frame.mul_(share).addcmul_(stand_in, 1 - share)

    def _share(self, warp: Warp) -> Tensor | None:
        """Of a frame beside the reference, (1, h, w), as in ``Rim``; None: 1 everywhere."""
        h, w = self._reference.shape[1:]
        low, high = covered_columns(warp, (h, w))
        if low.max() <= 0 and high.min() >= w - 1:
            return None
        columns = torch.arange(w, device=self._device)
        first, last = (torch.from_numpy(one).to(self._device)[:, None] for one in (low, high))
        core = ((columns >= first) & (columns <= last)).float()[None]
        inwards_px = core.clone()
        for _ in range(RIM_PX):
            core = least_nearby(core, 3)
            inwards_px += core
        return inwards_px / (RIM_PX + 1)

    def _exposed(self, pixels: Tensor, frame: int) -> Tensor:
        """Pixels (C, h, w) of a frame from its file's range to [0, 1], with its gain."""
        gains = np.asarray(self._alignment.gains[frame] / self._white, np.float32)
        factor = torch.from_numpy(gains).to(self._device)[:, None, None]
        return (pixels * factor).clamp_(0, 1)

    def _uploaded(self, frame: int) -> Tensor:
        return _from_host(self._images[frame], self._device)


def _from_host(image: Image, device: torch.device) -> Tensor:
    """An image (h, w, C) as (C, h, w), float32, in its range; it crosses at its own depth."""
    return torch.from_numpy(image.copy()).to(device).float().movedim(-1, 0)


def _range(image: Image) -> int:
    return int(np.iinfo(image.dtype).max)


def resampled(image: Tensor, warp: Warp, size: tuple[int, int], resampling: Resampling) -> Tensor:
    """A frame as the reference would have seen it, as ``warp_image`` makes it, not yet rounded.

    Args:
        image: (C, h, w), float32; beyond it, it is reflected.
        warp: (3, 3), from the reference to the frame.
        size: (h, w) of the reference.
        resampling: Kernel of the interpolation.

    Returns:
        (C, h, w) of the reference; it may overshoot the range of the image.
    """
    rows = max(1, _BLOCK_PX // size[1])
    blocks = [
        _resampled_rows(image, warp, range(top, min(top + rows, size[0])), size[1], resampling)
        for top in range(0, size[0], rows)
    ]
    return torch.cat(blocks, 1)


def _resampled_rows(
    image: Tensor, warp: Warp, rows: range, width: int, resampling: Resampling
) -> Tensor:
    x, y = _places(warp, rows, width, resampling, image.device)
    left, top = x.floor(), y.floor()
    along_x, along_y = (
        _tap_weights(place - first, resampling).to(image.dtype)
        for place, first in ((x, left), (y, top))
    )
    taps = len(along_x)
    steps = [step + 1 - taps // 2 for step in range(taps)]
    downs = [_reflected(top.long() + step, image.shape[1]) for step in steps]
    acrosses = [_reflected(left.long() + step, image.shape[2]) for step in steps]
    total = image.new_zeros(len(image), len(rows), width)
    for down, by_down in zip(downs, along_y, strict=True):
        for across, by_across in zip(acrosses, along_x, strict=True):
            total.addcmul_(image[:, down, across], by_down * by_across)
    return total


def _places(
    warp: Warp, rows: range, width: int, resampling: Resampling, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Where rows of the reference lie in the frame: x and y, (rows, width) each, float64."""
    across = torch.arange(width, dtype=torch.float64, device=device)
    down = torch.arange(rows.start, rows.stop, dtype=torch.float64, device=device)[:, None]
    x, y, depth = (float(row[0]) * across + float(row[1]) * down + float(row[2]) for row in warp)
    if resampling == "lanczos":
        steps = float(_LANCZOS_STEPS)
        return (steps * (x / depth)).round_() / steps, (steps * (y / depth)).round_() / steps
    return x / depth, y / depth


def _reflected(index: Tensor, length: int) -> Tensor:
    """Beyond the border as if mirrored at the middle of the outermost pixels."""
    period = max(1, 2 * (length - 1))
    index = index % period
    return torch.where(index < length, index, period - index)


def _tap_weights(part: Tensor, resampling: Resampling) -> Tensor:
    """Weights (taps, ...) of the pixels around places, which lie ``part`` (...) of a pixel on."""
    taps = 4 if resampling == "cubic" else 8
    offsets = torch.arange(taps, device=part.device).view(-1, *[1] * part.ndim)
    t = (offsets + 1 - taps // 2 - part).abs()
    if resampling == "lanczos":
        weights = torch.sinc(t) * torch.sinc(t / 4)
        return weights / weights.sum(0)
    near = ((_CUBIC + 2) * t - (_CUBIC + 3)) * t * t + 1
    far = ((_CUBIC * t - 5 * _CUBIC) * t + 8 * _CUBIC) * t - 4 * _CUBIC
    return torch.where(t <= 1, near, far)
