"""The kernels that were found for a run: one of all its items, and one for each camera of several.

A camera is what the column ``camera`` of the manifest says; without it make, model, lens and
aperture of the EXIF data of the reference frame. Items that say nothing are one camera, too.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace

from dfp_batch.config.run_config import kernel_of
from dfp_batch.core.degradation import Kernel
from dfp_batch.degradation.kernel_estimation import EstimatedKernel
from dfp_batch.io.codec import Frame
from dfp_batch.io.codec.camera import camera_name
from dfp_batch.runs.manifest import Pair

_LEAST_ITEMS = 4  # that tell the kernel of a camera surely
_SHOWN = 8  # cameras


@dataclass(frozen=True)
class Found:
    """What some items tell of their kernel.

    Attributes:
        kernel: As the command line names it.
        sigma_px: Of a Gaussian that blurs like it, in pixels of the result; None if unknown.
        error_px: Expected error of that.
        items: That were looked at.
        frames: Of these, of which a kernel could be told.
    """

    kernel: str
    sigma_px: float | None
    error_px: float | None
    items: int
    frames: int

    @property
    def is_sure(self) -> bool:
        """Whether it is told by enough items."""
        return self.items >= _LEAST_ITEMS

    def or_sharper(self, whole: "Found") -> "Found":
        """With the kernel of all items if that is the sharper one and this one is not sure."""
        if self.is_sure:
            return self
        return replace(self, kernel=_sharpest([self.kernel, whole.kernel]))

    def __str__(self) -> str:
        """A line for people."""
        if self.sigma_px is None:
            return f"{self.kernel}; {self.items} items could not tell it"
        return (
            f"{self.kernel} (sigma {self.sigma_px:.2f} +- {self.error_px:.2f} px say "
            f"{self.frames} frames of {self.items} items)"
        )


@dataclass(frozen=True)
class FoundKernels:
    """What was found, as the run directory has it.

    Attributes:
        whole: Of all items that were looked at.
        cameras: Of each camera that tells its kernel, by its name; none if there is but one.
    """

    whole: Found
    cameras: Mapping[str, Found] = field(default_factory=dict)

    @classmethod
    def of_bytes(cls, data: bytes) -> "FoundKernels":
        """As ``to_bytes`` has written it, or an older version, which knew no cameras."""
        values = json.loads(data)
        cameras = {name: Found(**one) for name, one in values.pop("cameras", {}).items()}
        return cls(Found(**values), cameras)

    def to_bytes(self) -> bytes:
        """JSON."""
        cameras = {"cameras": {name: asdict(one) for name, one in self.cameras.items()}}
        return json.dumps(asdict(self.whole) | (cameras if self.cameras else {}), indent=1).encode()

    @property
    def kernel(self) -> Kernel:
        """What the run takes: one kernel, or one for each camera where they differ."""
        cameras = {name: one.kernel for name, one in self.cameras.items()}
        if set(cameras.values()) <= {self.other}:
            return kernel_of(self.other)
        return CameraKernels(cameras, self.other)

    @property
    def other(self) -> str:
        """Of other cameras: the sharpest, since one too strong costs more than one too weak."""
        sure = (one.kernel for one in self.cameras.values() if one.is_sure)
        return _sharpest([self.whole.kernel, *sure])

    def lines(self) -> Iterator[str]:
        """For people; of many cameras those of most items."""
        yield f"kernel of the archive: {self.whole}"
        most = sorted(self.cameras.items(), key=lambda one: -one[1].items)
        for name, found in most[:_SHOWN]:
            yield f"kernel of {name or 'sources without a camera'}: {found}"
        if len(most) > _SHOWN:
            yield f"and {len(most) - _SHOWN} more cameras, see kernel.json"
        if most:
            yield f"kernel of other cameras: {self.other}, the sharpest of these"


@dataclass(frozen=True)
class CameraKernels(EstimatedKernel):
    """Stands for the kernel of the camera that took an item.

    Attributes:
        cameras: Kernel of each by its name, as the command line names it.
        other: Of all other cameras.
    """

    cameras: Mapping[str, str]
    other: str

    def of(self, camera: str) -> Kernel:
        """The kernel of a camera."""
        return kernel_of(self.cameras.get(camera, self.other))

    def __str__(self) -> str:
        """The name of the command line."""
        return "auto"


def _sharpest(kernels: Iterable[str]) -> str:
    """That which blurs least of Lanczos2 and Gaussians."""
    return min(kernels, key=lambda name: getattr(kernel_of(name), "sigma_px", 0.0))


def camera_of(pair: Pair, reference: Frame) -> str:
    """Name of the camera that took a pair; "" if neither manifest nor EXIF data say it."""
    return pair.camera or camera_name(reference.metadata.exif)
