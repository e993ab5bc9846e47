"""The second stage, for an accelerator: reconstruct, and before that what only it can do."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch.core.contracts import OnIteration, ignore_progress
from dfp_batch.core.decision import winners
from dfp_batch.core.degradation import Kernel
from dfp_batch.engine.prepare import Prepared
from dfp_batch.networks.precision import compute_dtype
from dfp_batch.pipeline import fusion
from dfp_batch.pipeline.fusion import FusionConfig, Merged, choose_device, merge


@dataclass(frozen=True)
class Reconstructed:
    """The fused image and where it comes from.

    Attributes:
        fused: (C, H, W), float32, in [0, 1].
        labels: Index among all frames of the source of every pixel, (h, w).
        consistency: Mean |D(X) - u| of the fused image X, in [0, 1].
        kernel: Of D.
    """

    fused: NDArray[np.float32]
    labels: NDArray[np.uint8]
    consistency: float
    kernel: Kernel

    @property
    def nbytes(self) -> int:
        """Memory of image and labels."""
        return self.fused.nbytes + self.labels.nbytes


def reconstruct(
    prepared: Prepared,
    config: FusionConfig,
    on_iteration: OnIteration = ignore_progress,
    relief: int = 0,
) -> tuple[Reconstructed, dict[str, Any]]:
    """Make the image, after a refinement that fits a network.

    Args:
        prepared: By the stage before.
        config: What to compute.
        on_iteration: As in ``fuse``.
        relief: As in ``merge``.

    Raises:
        DivergedError: if the optimisation left the finite numbers.
        DeviceMemoryError: as ``run_stage`` translates it.
    """
    where = choose_device(None)
    merged, labels = _merged(prepared, config, where, on_iteration, relief)
    solution = fusion.reconstruct(merged, config, where, on_iteration, relief)
    loss = solution.loss.double().cpu()
    facts = {
        "kernel": str(solution.kernel.kernel),
        "kernel_sigma_px": _number(solution.kernel.sigma_px),
        "kernel_error_px": _number(solution.kernel.error_px),
        "iterations": len(loss),
        "stop_reason": solution.stop_reason,
        "loss_first": float(loss[0]) if len(loss) else None,
        "loss_last": float(loss[-1]) if len(loss) else None,
        "blind_gain_db": _number(solution.blind_gain_db),
        "used_floor": solution.blind_gain_db < 0,
        "peak_gpu_bytes": solution.peak_bytes,
        "precision": str(compute_dtype(config.precision, where)).removeprefix("torch."),
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu",
    }
    kernel = solution.kernel.kernel
    return Reconstructed(solution.fused.cpu().numpy(), labels, solution.consistency, kernel), facts


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _merged(
    prepared: Prepared,
    config: FusionConfig,
    where: torch.device,
    on_iteration: OnIteration,
    relief: int,
) -> tuple[Merged, NDArray[np.uint8]]:
    # Copies, since what comes out of the object store cannot be written to.
    sources = torch.from_numpy(prepared.sources.copy())
    if prepared.decision is None:
        decision = torch.ones_like(sources[:, :1])
    else:
        decision = torch.from_numpy(prepared.decision.copy())
    if prepared.labels is not None:
        return Merged(sources, decision, decision), prepared.labels
    merged = merge(sources.to(where), decision, config, where, on_iteration, relief)
    index = winners(merged.decision).cpu().numpy()
    return merged, np.take(np.array(prepared.kept, np.uint8), index)
