"""Stacks: N sources of one scene, looked at one at a time, held still and equally exposed.

Everything that looks at sources takes ``Sources``: a tensor (N, C, h, w) is one, and so is a
``Stack``, which loads, registers and exposes a frame whenever it is asked for it. So a stack of 200
frames takes the memory of a few; a *full frame* below is one frame in float32, 4 * h * w * C bytes.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.errors import AlignmentError
from dfp_batch.method.align import Registered, Registration, inside, register, warp_image
from dfp_batch.method.exposure import ExposureMatch

Plane = NDArray[np.float32]
Image = NDArray[Any]

_CACHED_FRAMES = 2  # full frames, that is 8 of 8 bit or 4 of 16 bit
_THUMBNAIL_PX = 128 * 128
_RIM_PX = 8


class Sources(Protocol):
    """N sources (C, h, w) of one size, in [0, 1]."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, index: int, /) -> Tensor:
        """Source (C, h, w), float32, in [0, 1]."""
        ...


class Images(Protocol):
    """N images as they are stored, loaded when asked for."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, index: int, /) -> Image:
        """Image (h, w, C); uint8, uint16 or float32."""
        ...


def whole(sources: Sources) -> Tensor:
    """All sources at once, (N, C, h, w): for what cannot look at them one by one."""
    if isinstance(sources, Tensor):
        return sources
    return torch.stack([sources[index] for index in range(len(sources))])


def channels_last(source: Tensor) -> NDArray[np.float32]:
    """A source (C, h, w) as OpenCV takes it, (h, w, C)."""
    return np.ascontiguousarray(source.movedim(0, -1).cpu().numpy(), np.float32)


def luma_plane(source: Tensor) -> Plane:
    """Luma (h, w) by ITU-R BT.601 of a source (C, h, w), in [0, 1]."""
    return _luma(channels_last(source))


def _luma(image: Image) -> Plane:
    if image.shape[2] == 1:
        return np.asarray(image[..., 0], np.float32)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


@dataclass(frozen=True, eq=False)
class Still:
    """How every frame is brought to the place and the exposure of the reference frame.

    Attributes:
        registered: Warps, scores and flags of all N frames.
        gains: (N, C), what a registered frame is multiplied by.
    """

    registered: Registered
    gains: NDArray[np.float64]

    @property
    def kept(self) -> tuple[int, ...]:
        """Indices of the frames that could be registered."""
        return tuple(index for index, kept in enumerate(self.registered.kept) if kept)

    def unexposed(self) -> "Still":
        """The same registration for what has no exposure: an alpha channel."""
        return Still(self.registered, np.ones((len(self.gains), 1)))


def hold_still(
    images: Images, white: float, registration: Registration, exposure: ExposureMatch
) -> Still:
    """Register all frames and compare their exposures, each loaded once.

    Args:
        images: The N frames.
        white: Value of white in them.
        registration: How to register.
        exposure: How to compare exposures.

    Raises:
        ConfigError: if there is no frame with the index of the reference.
        AlignmentError: if fewer than two frames can be registered.
    """
    lumas = _Lumas(images, white)
    registered = register(lumas, registration)
    _check_registered(registered, registration)
    return Still(registered, lumas.gains(registered, exposure))


def _check_registered(registered: Registered, registration: Registration) -> None:
    if sum(registered.kept) > 1:
        return
    worst = min(registered.after)
    raise AlignmentError(
        f"the frames could not be registered: score {worst:.2f}, at least {registration.floor:g} "
        "is needed; are they of one scene? --align none takes them as they are"
    )


class _Lumas:
    """Luma of frame after frame; keeps a thumbnail of each for the comparison of exposures."""

    def __init__(self, images: Images, white: float) -> None:
        self._images = images
        self._white = np.float32(white)
        self._thumbnails: dict[int, NDArray[np.float32]] = {}
        self._factor = 1

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int, /) -> Plane:
        image = self._images[index]
        h, w, channels = image.shape
        self._factor = max(1, round((h * w / _THUMBNAIL_PX) ** 0.5))
        size = (max(1, w // self._factor), max(1, h // self._factor))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        self._thumbnails[index] = small.reshape(*size[::-1], channels) / self._white
        luma = _luma(image)
        return luma / self._white if self._white != 1 else luma

    def gains(self, registered: Registered, exposure: ExposureMatch) -> NDArray[np.float64]:
        """Gains (N, C) to the reference; 1 for frames that could not be registered."""
        reference = self._thumbnails[registered.reference]
        gains = np.ones((len(self), reference.shape[2]))
        for index, small in self._thumbnails.items():
            if index != registered.reference and registered.kept[index]:
                warp = _reduced(registered.warps[index], self._factor)
                size = reference.shape[:2]
                moved = np.asarray(warp_image(small, warp, size), np.float32)
                gains[index] = exposure(moved, reference, inside(warp, size))
        return gains


def _reduced(warp: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """The same motion of images that are ``factor`` times smaller."""
    shift = (factor - 1) / 2
    enlarge = np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1]])
    reduced: NDArray[np.float64] = np.linalg.inv(enlarge) @ warp @ enlarge
    return reduced


class Stack:
    """The frames that could be registered, as ``Sources``.

    Where a frame does not cover the view of the reference, the reference stands in for it.

    Args:
        images: All N frames.
        white: Value of white in them.
        still: How to bring them to the reference.
    """

    def __init__(self, images: Images, white: float, still: Still) -> None:
        self._images = images
        self._white = white
        self._still = still
        self._cache: OrderedDict[int, Image] = OrderedDict()
        self._covered: dict[int, NDArray[np.bool_] | None] = {}

    def __len__(self) -> int:
        return len(self._still.kept)

    def __getitem__(self, index: int, /) -> Tensor:
        """Frame (C, h, w), float32, in [0, 1]."""
        frame = self._still.kept[index]
        image = self._registered(frame).astype(np.float32)
        self._expose(image, frame)
        self._stand_in(image, frame)
        return torch.from_numpy(image).movedim(-1, 0)

    def _stand_in(self, image: NDArray[np.float32], frame: int) -> None:
        """Put the reference where a frame does not cover the view, with a soft rim.

        A hard one would be detail of its own for the focus measure.
        """
        covered = self._inside(frame)
        if covered is None:
            return
        near = cv2.blur(covered.astype(np.float32), (2 * _RIM_PX + 1,) * 2)
        share = (2 * near - 1).clip(0, 1)[..., None]
        bare = share[..., 0] < 1
        reference = self._registered(self.reference)[bare].astype(np.float32)
        self._expose(reference, self.reference)
        image[bare] = share[bare] * image[bare] + (1 - share[bare]) * reference

    @property
    def reference(self) -> int:
        """Index of the reference among all N frames."""
        return self._still.registered.reference

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels (h, w) of the reference that every frame covers."""
        valid = np.ones(self._registered(self.reference).shape[:2], bool)
        for frame in self._still.kept:
            covered = self._inside(frame)
            if covered is not None:
                valid &= covered
        return valid

    def _inside(self, frame: int) -> NDArray[np.bool_] | None:
        """Where a frame covers the view, (h, w); None is everywhere."""
        if frame not in self._covered:
            warp = self._still.registered.warps[frame]
            still = np.array_equal(warp, np.eye(3))
            h, w = self._registered(self.reference).shape[:2]
            self._covered[frame] = None if still else inside(warp, (h, w))
        return self._covered[frame]

    def _expose(self, pixels: NDArray[np.float32], frame: int) -> NDArray[np.float32]:
        """Pixels (..., C) of a frame, in place, from its file's range to [0, 1] with its gain."""
        gain = self._still.gains[frame]
        if self._white != 1 or (gain != 1).any():
            pixels *= np.asarray(gain / self._white, np.float32)
        return pixels if (gain <= 1).all() else np.minimum(pixels, 1, out=pixels)

    def _registered(self, frame: int) -> Image:
        """Registered frame (h, w, C) at the depth of its file; the last few are kept."""
        if frame in self._cache:
            self._cache.move_to_end(frame)
            return self._cache[frame]
        image = self._images[frame]
        size = image.shape[:2] if not self._cache else next(iter(self._cache.values())).shape[:2]
        image = warp_image(image, self._still.registered.warps[frame], size)
        self._cache[frame] = image
        if len(self._cache) > max(1, _CACHED_FRAMES * 4 // image.itemsize):
            oldest = next(index for index in self._cache if index != self.reference)
            del self._cache[oldest]
        return image
