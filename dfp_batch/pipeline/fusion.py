"""The front door: ``fuse(sources, config) -> FusionResult``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.alignment.drafts import Drafts
from dfp_batch.alignment.stack_alignment import StackAlignment, align_stack
from dfp_batch.core.contracts import OnIteration, StopReason, ignore_progress
from dfp_batch.core.filters import as_array
from dfp_batch.degradation.kernel_estimation import KernelEstimate
from dfp_batch.pipeline import steps
from dfp_batch.pipeline.checked_sources import as_stack
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.placement import accelerator_of, placement
from dfp_batch.pipeline.presets import DEFAULT_PRESET
from dfp_batch.pipeline.steps import Workplace

SHOWN_PX = 1024  # of the longer side, in a notebook


@dataclass(frozen=True, repr=False)
class FusionResult:
    """What ``fuse`` returns; a notebook shows the image.

    Attributes:
        fused: (C, scale * h, scale * w), float32, in [0, 1], on the device of the computation.
        decision: For the frames that were registered, ``alignment.kept``: (N, 1, h, w), float32,
            sums to 1 over N.
        confidence: Of the measured focus, (1, 1, h, w), in [0, 1]; 0 where nothing is in focus.
        alignment: How the frames were registered and exposed.
        loss: Objective before each iteration, (iterations,), float32; empty if there were none.
        stop_reason: Why the iterations ended: "plateau" when they no longer gained, "skipped" where
            the item was found unfit for them, else "iterations".
        peak_bytes: Most device memory in use at once; 0 on a CPU, where it is not measured.
        consistency: Mean |D(X) - u| against the merged sources u, in [0, 1].
        blind_gain_db: What the reconstruction gains over back projection on the item itself,
            degraded once more; nan where that was not asked for, or the image is too small. Below 0
            the policy "best-of" takes back projection.
        kernel: That was used, and how sure it is where it was estimated.
    """

    fused: Tensor
    decision: Tensor
    confidence: Tensor
    alignment: StackAlignment
    loss: Tensor
    stop_reason: StopReason
    peak_bytes: int
    consistency: float
    blind_gain_db: float
    kernel: KernelEstimate

    def to_array(self, dtype: type[np.uint8 | np.uint16 | np.float32] = np.uint8) -> NDArray[Any]:
        """Image (H, W, 3) or (H, W): integers over the range of ``dtype``, float32 in [0, 1]."""
        image = self.fused.movedim(0, -1).cpu().numpy()
        image = image[..., 0] if image.shape[-1] == 1 else image
        if not issubclass(dtype, np.integer):
            return np.asarray(image, dtype)
        return np.asarray(np.rint(image * np.iinfo(dtype).max), dtype)

    def __repr__(self) -> str:
        channels, height, width = self.fused.shape
        kind = "grey" if channels == 1 else "RGB"
        return (
            f"FusionResult({width}x{height} px, {kind}, of {len(self.decision)} frames, "
            f"on {self.fused.device})"
        )

    def _repr_png_(self) -> bytes:
        """The image for a notebook, at most 1024 px on a side."""
        height, width = self.fused.shape[-2:]
        factor = min(1.0, SHOWN_PX / max(height, width))
        size = (max(1, round(factor * width)), max(1, round(factor * height)))
        image = self.to_array()[..., ::-1] if len(self.fused) > 1 else self.to_array()
        image = image if factor == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return bytes(cv2.imencode(".png", image)[1])


def fuse(
    sources: Tensor | Sequence[NDArray[Any]],
    config: FusionConfig | None = None,
    device: str | torch.device | None = None,
    on_iteration: OnIteration = ignore_progress,
) -> FusionResult:
    """One sharp, enlarged image from N sources that are in focus at different depths.

    Args:
        sources: N >= 2 images of one size and kind, at least 16 px on each side: arrays (h, w) or
            (h, w, 3), RGB, uint8, uint16 or float in [0, 1]; or a tensor (N, C, h, w), C = 1 or 3,
            in [0, 1].
        config: What to compute; None is the default preset at scale 2.
        device: "cpu", "cuda", ...; None is CUDA if there is one, else the CPU.
        on_iteration: Called with (stage, iteration, total).

    Raises:
        ImageError: if the sources are not what is described above.
        AlignmentError: if they could not be registered.
        DivergedError: if the optimisation left the finite numbers.
    """
    config = config or FusionConfig.preset(DEFAULT_PRESET)
    where = steps.choose_device(device)
    images = [as_array(source) for source in as_stack(sources)]
    drafts = Drafts(images)
    alignment = align_stack(drafts, 1.0, config.align, config.exposure)
    h, w, channels = images[0].shape
    if config.spots == "mend":
        alignment = alignment.with_spots(drafts, 1.0, (h, w))
    plan = placement(config, len(images), (h, w, channels), accelerator_of(where))
    beside = where if plan.hands_over_frames else torch.device("cpu")
    stack = steps.sources_on(beside, alignment.mended(drafts), 1.0, alignment)
    merged = steps.merge(stack, config, Workplace(beside, on_iteration))
    fused, made = steps.reconstruct(merged, config, Workplace(where, on_iteration))
    return FusionResult(
        fused=fused,
        decision=merged.decision.float(),
        confidence=merged.confidence,
        alignment=alignment,
        loss=made.loss,
        stop_reason=made.stop_reason,
        peak_bytes=made.peak_bytes,
        consistency=made.consistency,
        blind_gain_db=made.blind_gain_db,
        kernel=made.kernel,
    )
