"""How the frames of a stack are brought to the place and the exposure of the reference."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dfp_batch.alignment.drafts import Grey, drafts_of
from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.geometry import reduced_motion
from dfp_batch.alignment.registration import Registration, RegistrationResult, register
from dfp_batch.alignment.sensor_spots import Mended, Spot, find_spots
from dfp_batch.alignment.warp import inside, is_identity, warp_image
from dfp_batch.core.contracts import Images
from dfp_batch.core.image import Plane
from dfp_batch.errors import AlignmentError


@dataclass(frozen=True, eq=False)
class StackAlignment:
    """How every frame is brought to the place and the exposure of the reference frame.

    Attributes:
        registered: Warps, scores and flags of all N frames.
        gains: (N, C), what a registered frame is multiplied by.
        spots: What is filled in in every frame before.
    """

    registered: RegistrationResult
    gains: NDArray[np.float64]
    spots: tuple[Spot, ...] = ()

    @property
    def kept(self) -> tuple[int, ...]:
        """Indices of the frames that could be registered."""
        return tuple(index for index, kept in enumerate(self.registered.kept) if kept)

    def covered(self, frame: int, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Where a frame covers the view of the reference, (h, w) = ``size``; None: everywhere."""
        warp = self.registered.warps[frame]
        covered = None if is_identity(warp) else inside(warp, size)
        return None if covered is None or covered.all() else covered

    def valid(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Pixels (h, w) of the reference, of ``size``, that every frame covers."""
        valid = np.ones(size, bool)
        for frame in self.kept:
            covered = self.covered(frame, size)
            if covered is not None:
                valid &= covered
        return valid

    def with_spots(self, images: Images, white: float, size: tuple[int, int]) -> "StackAlignment":
        """The same with the dust and the hot pixels that are found in the N frames of a size."""
        return replace(self, spots=find_spots(images, white, self.registered, size))

    def mended(self, images: Images) -> Images:
        """The N frames without those."""
        return Mended(drafts_of(images).images, self.spots) if self.spots else images

    def unexposed(self) -> "StackAlignment":
        """The same registration for what has no exposure: an alpha channel."""
        return StackAlignment(self.registered, np.ones((len(self.gains), 1)))


def align_stack(
    images: Images, white: float, registration: Registration, exposure: ExposureMatch
) -> StackAlignment:
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
    return StackAlignment(registered, lumas.gains(registered, exposure))


def gains_of(
    images: Images, white: float, registered: RegistrationResult, exposure: ExposureMatch
) -> NDArray[np.float64]:
    """Gains (N, C) to the reference of other images of the same frames, each loaded once.

    Args:
        images: N images.
        white: Value of white in them.
        registered: How the frames are registered.
        exposure: How to compare exposures.
    """
    lumas = _Lumas(images, white)
    for index in range(len(images)):
        lumas.look_at(index)
    return lumas.gains(registered, exposure)


def _check_registered(registered: RegistrationResult, registration: Registration) -> None:
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
        self._drafts = drafts_of(images)
        self._white = np.float32(white)
        self._thumbnails: dict[int, NDArray[np.float16]] = {}  # there are many
        self._size = (1, 1)

    def __len__(self) -> int:
        return len(self._drafts)

    def __getitem__(self, index: int, /) -> Plane:
        luma = np.asarray(self.look_at(index), np.float32)
        return luma / self._white if self._white != 1 else luma

    def look_at(self, index: int) -> Grey:
        """Keep the thumbnail of a frame, and give its luma."""
        look = self._drafts.look(index)
        self._size = look.grey.shape[0], look.grey.shape[1]
        self._thumbnails[index] = (look.thumbnail / self._white).astype(np.float16)
        return look.grey

    def gains(self, registered: RegistrationResult, exposure: ExposureMatch) -> NDArray[np.float64]:
        """Gains (N, C) to the reference; 1 for frames that could not be registered."""
        reference = self._thumbnail(registered.reference)
        gains = np.ones((len(self), reference.shape[2]))
        for index in self._thumbnails:
            if index != registered.reference and registered.kept[index]:
                size = reference.shape[:2]
                warp = reduced_motion(registered.warps[index], self._size, size)
                small = self._thumbnail(index)
                moved = np.asarray(warp_image(small, warp, size), np.float32)
                gains[index] = exposure(moved, reference, inside(warp, size))
        return gains

    def _thumbnail(self, index: int) -> NDArray[np.float32]:
        """Of a frame, (h, w, C), in [0, 1]."""
        return self._thumbnails[index].astype(np.float32)
