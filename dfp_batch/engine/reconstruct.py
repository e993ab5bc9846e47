"""The second stage, for an accelerator: merge, if that was left to it, and enlarge."""

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.core.contracts import OnIteration, ignore_progress
from dfp_batch.core.degradation import Kernel
from dfp_batch.engine.camera_kernels import CameraKernels
from dfp_batch.engine.merging import Maps, merge_frames
from dfp_batch.engine.prepare import Prepared, confidence_facts
from dfp_batch.io import codec
from dfp_batch.io.codec import Frame
from dfp_batch.io.codec.frame import Pixels
from dfp_batch.networks.precision import Formats, number_formats
from dfp_batch.pipeline import steps
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.steps import Enlargement, Merged, Workplace

_LOSSES = 100  # in a row of the ledger


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """The fused image and where it comes from.

    Attributes:
        pixels: (H, W, C), samples as those of the sources.
        maps: Of the decision.
        consistency: Mean |D(X) - u| of the fused image X, in [0, 1].
        kernel: Of D.
        channels: (H, W, 1) of each channel; empty where the fused image is all.
    """

    pixels: Pixels
    maps: Maps
    consistency: float
    kernel: Kernel
    channels: tuple[Pixels, ...] = ()

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        return self.maps.nbytes + sum(image.nbytes for image in (self.pixels, *self.channels))


def reconstruct(
    prepared: Prepared,
    config: FusionConfig,
    on_iteration: OnIteration = ignore_progress,
    relief: int = 0,
) -> tuple[Reconstructed, dict[str, Any]]:
    """Make the image.

    Args:
        prepared: By the stage before.
        config: What to compute.
        on_iteration: As in ``fuse``.
        relief: As in ``Workplace``.

    Raises:
        DivergedError: if the optimisation left the finite numbers.
        DeviceMemoryError: as ``run_stage`` translates it.
    """
    place = Workplace(steps.choose_device(None), on_iteration, relief)
    config = _with_kernel_of(prepared.camera, config)
    merged, maps = _merged(prepared, config, place)
    pixels, made = _made(merged, config, place, prepared.blank)
    facts = _facts(made, config, place.device) | confidence_facts(maps)
    kernel = made.kernel.kernel
    channels = _channels(prepared, replace(config, kernel=kernel), place)
    return Reconstructed(pixels, maps, made.consistency, kernel, channels), facts


def _made(
    merged: Merged, config: FusionConfig, place: Workplace, blank: Frame
) -> tuple[Pixels, Enlargement]:
    """The image, which is held as it will be stored: of whole numbers that is a quarter."""
    _, channels, h, w = merged.sources.shape
    pixels = np.empty((config.scale * h, config.scale * w, channels), blank.pixels.dtype)
    done = 0

    def receive(rows: Tensor) -> None:
        nonlocal done
        stored = as_stored(rows.cpu().numpy(), blank).pixels
        pixels[done : done + len(stored)] = stored
        done += len(stored)

    return pixels, steps.reconstruct_rows(merged, config, place, receive)


def as_stored(image: NDArray[np.float32], blank: Frame) -> Frame:
    """An image (C, H, W) in [0, 1] with samples like those of the sources."""
    return codec.from_unit(image, blank.pixels.dtype, blank.white, blank.span)


def _with_kernel_of(camera: str, config: FusionConfig) -> FusionConfig:
    """A composition with the kernel of a camera, if it has one for each."""
    if not isinstance(config.kernel, CameraKernels):
        return config
    return replace(config, kernel=config.kernel.of(camera))


def _channels(prepared: Prepared, config: FusionConfig, place: Workplace) -> tuple[Pixels, ...]:
    """Every channel enlarged by itself, with the kernel of the fused image."""
    given = () if prepared.channels is None else prepared.channels
    images = (Merged.of_one(_read_only(one)[None, None]) for one in given)
    return tuple(_made(image, config, place, prepared.blank)[0] for image in images)


def _merged(prepared: Prepared, config: FusionConfig, place: Workplace) -> tuple[Merged, Maps]:
    if prepared.aligned is not None:
        found = merge_frames(prepared.aligned, config, place)
        return found.merged, found.maps
    if prepared.merged is None or prepared.maps is None:
        raise ValueError("prepared must hold frames, or a merged image with its maps; got neither")
    return Merged.of_one(_read_only(prepared.merged)), prepared.maps


def _read_only(array: NDArray[np.float32]) -> Tensor:
    """Without a copy; PyTorch warns that what comes out of the object store cannot be written."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _facts(made: Enlargement, config: FusionConfig, device: torch.device) -> dict[str, Any]:
    loss = made.loss.double().cpu()
    is_gpu = device.type == "cuda"
    return {
        "kernel": str(made.kernel.kernel),
        "kernel_sigma_px": _number(made.kernel.sigma_px),
        "kernel_error_px": _number(made.kernel.error_px),
        "iterations": len(loss),
        "stop_reason": made.stop_reason,
        "loss_first": float(loss[0]) if len(loss) else None,
        "loss_last": float(loss[-1]) if len(loss) else None,
        "loss_curve": _curve(loss) if len(loss) else None,
        "blind_gain_db": _number(made.blind_gain_db),
        "used_floor": made.blind_gain_db < 0,
        "peak_gpu_bytes": made.peak_bytes,
        "precision": str(_formats(config, device)),
        "device": torch.cuda.get_device_name(device) if is_gpu else "cpu",
    }


def _curve(loss: Tensor) -> list[float]:
    """Some of the losses, evenly spaced from the first to the last."""
    places = torch.linspace(0, len(loss) - 1, min(len(loss), _LOSSES))
    return [float(loss[place]) for place in places.round().long()]


def _formats(config: FusionConfig, device: torch.device) -> Formats:
    """Number formats of the convolutions that enlarge: what is fitted to the item is in float."""
    formats = number_formats(config.precision, device)
    return formats._replace(int8=False) if config.reconstruction.iterations else formats


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
