"""A stack as ``Sources`` on an accelerator: resampled and exposed there, from frames on the host.

The arithmetic is that of ``Stack``, also where integers stay integers; but for places in what is
turned, which OpenCV rounds to 1/32 px. A frame crosses to the device at the depth of its file.
"""

from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dfp_batch.alignment.geometry import Warp, reduced_motion
from dfp_batch.alignment.lanczos import PLACES
from dfp_batch.alignment.stack import RIM_PX
from dfp_batch.alignment.stack_alignment import StackAlignment
from dfp_batch.alignment.warp import covered_columns, is_identity
from dfp_batch.core.contracts import Draft, Images, Sources
from dfp_batch.core.filters import least_nearby, reduce_by_area
from dfp_batch.core.image import Image, array_luma, luma

Resampling = Literal["cubic", "lanczos"]

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
        image = images[alignment.registered.reference]
        self._reference = _from_host(image, device)
        self._smalls: dict[int, Tensor] = {}  # of the reference, by factor
        self._levels = int(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 0

    def __len__(self) -> int:
        return len(self._alignment.kept)

    def __getitem__(self, index: int, /) -> Tensor:
        """Frame (C, h, w), float32, in [0, 1]."""
        return self._frame(self._alignment.kept[index], "lanczos")

    def preview(self, index: int) -> Tensor:
        """The same frame, resampled by a quick kernel, which costs fine detail."""
        return self._frame(self._alignment.kept[index], "cubic")

    def grey(self, index: int) -> Tensor:
        """Luma of the preview, (1, h, w): of what is stored, and then exposed."""
        frame = self._alignment.kept[index]
        return self._registered(frame, self._grey(self._stored(frame)), "cubic")

    def draft(self, index: int, factor: int) -> Draft:
        """A first look at a frame, which is made smaller before it is resampled."""
        frame = self._alignment.kept[index]
        stored = self._stored(frame)
        grey = self._registered(frame, self._grey(stored), "cubic")
        small = self._small(frame, reduce_by_area(stored, factor))
        covered = self.covered(index)
        if covered is None:
            return Draft(grey, small, None)
        share = reduce_by_area(covered, factor)
        stand_in = self._reference_small(factor)
        return Draft(grey, small.mul_(share).addcmul_(stand_in, 1 - share), share)

    def covered(self, index: int) -> Tensor | None:
        """Share of the frame beside the reference that stands in for it, (1, h, w)."""
        registered, frame = self._alignment.registered, self._alignment.kept[index]
        return None if frame == registered.reference else self._share(registered.warps[frame])

    def _frame(self, frame: int, resampling: Resampling) -> Tensor:
        return self._registered(frame, self._stored(frame), resampling)

    def _stored(self, frame: int) -> Tensor:
        """A frame (C, h, w), float32, in the range of its file."""
        is_reference = frame == self._alignment.registered.reference
        return self._reference if is_reference else self._uploaded(frame)

    def _grey(self, image: Tensor) -> Tensor:
        grey = luma(image[None])[0]
        return grey.round() if self._levels and len(image) > 1 else grey

    def _registered(self, frame: int, image: Tensor, resampling: Resampling) -> Tensor:
        """A frame, or its luma, (C, h, w), resampled and exposed, in [0, 1]."""
        registered = self._alignment.registered
        if frame == registered.reference:
            return self._exposed(image, frame)
        warp = registered.warps[frame]
        if not is_identity(warp):
            image = resampled(image, warp, (image.shape[1], image.shape[2]), resampling)
            image = image.round_().clamp_(0, self._levels) if self._levels else image
        return self._with_reference(self._exposed(image, frame), warp)

    def _small(self, frame: int, small: Tensor) -> Tensor:
        """A frame made smaller, (C, h / 4, w / 4), resampled and exposed."""
        h, w = self._reference.shape[1:]
        size = (small.shape[1], small.shape[2])
        motion = reduced_motion(self._alignment.registered.warps[frame], (h, w), size)
        if not is_identity(motion):
            small = resampled(small, motion, size, "lanczos")
        return self._exposed(small, frame)

    def _with_reference(self, frame: Tensor, warp: Warp) -> Tensor:
        share = self._share(warp)
        if share is None:
            return frame
        whole = self._reference if len(frame) == len(self._reference) else self._reference_grey
        stand_in = self._exposed(whole, self._alignment.registered.reference)
        return frame.mul_(share).addcmul_(stand_in, 1 - share)

    def _reference_small(self, factor: int) -> Tensor:
        if factor not in self._smalls:
            small = reduce_by_area(self._reference, factor)
            self._smalls[factor] = self._exposed(small, self._alignment.registered.reference)
        return self._smalls[factor]

    @cached_property
    def _reference_grey(self) -> Tensor:
        return self._grey(self._reference)

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
        """Pixels (C, h, w) of a frame from its file's range to [0, 1], as in ``Stack``."""
        gains = np.asarray(self._alignment.gains[frame] / self._white, np.float32)
        if len(pixels) < len(gains):
            gains = array_luma(gains[None, None])[0]
        factor = torch.from_numpy(gains).to(self._device)[:, None, None]
        return (pixels * factor).clamp_(0, 1)

    def _uploaded(self, frame: int) -> Tensor:
        return _from_host(self._images[frame], self._device)


def _from_host(image: Image, device: torch.device) -> Tensor:
    """An image (h, w, C) as (C, h, w), float32, in its range; it crosses at its own depth."""
    return torch.from_numpy(image.copy()).to(device).float().movedim(-1, 0)


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
        steps = float(PLACES)
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
