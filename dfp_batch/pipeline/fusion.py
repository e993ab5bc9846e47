"""The front door: ``fuse(sources, config) -> FusionResult``."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration
from dfp_batch.alignment.stack import Stack
from dfp_batch.alignment.stack_alignment import StackAlignment, align_stack
from dfp_batch.core.contracts import (
    Compute,
    FocusMeasure,
    Merge,
    OnIteration,
    Precision,
    Reconstruction,
    Refinement,
    Sources,
    ignore_progress,
)
from dfp_batch.core.decision import confidence
from dfp_batch.core.degradation import Degradation, Kernel
from dfp_batch.core.sources import channels_last
from dfp_batch.degradation.kernel_estimation import EstimatedKernel, KernelEstimate, known_kernel
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.errors import ConfigError, ImageError
from dfp_batch.focus.double_reblur import DoubleReblur
from dfp_batch.focus.multi_scale_laplacian import MultiScaleLaplacian
from dfp_batch.focus.sum_modified_laplacian import SumModifiedLaplacian
from dfp_batch.merging.defocus_spread import DefocusSpreadCorrection
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.merging.unmerged import Unmerged
from dfp_batch.networks.precision import compute_dtype
from dfp_batch.reconstruction.adapted_prior import AdaptedPrior
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.deep_fusion_prior import DeepFusionPrior
from dfp_batch.reconstruction.learned_prior import LearnedPrior
from dfp_batch.reconstruction.losses import consistency
from dfp_batch.reconstruction.self_check import cross_scale_gain_db
from dfp_batch.refinement.chain import Chain
from dfp_batch.refinement.confidence_voting import ConfidenceVoting
from dfp_batch.refinement.decision_embedding import DecisionEmbedding
from dfp_batch.refinement.guided_filter import GuidedFilter
from dfp_batch.refinement.potts import Potts

SMALLEST_PX = 16
PRECISIONS = ("auto", "fp32", "bf16")
_MOST_HALVINGS = 2  # of tiles: with halos, smaller ones take hardly less
POLICIES = ("always", "best-of")
FLOOR = BackProjection()  # the enlargement that is always safe


@dataclass(frozen=True)
class FusionConfig:
    """What to compute: replaceable parts, the scale, the seed and the precision.

    The default parts are the paper's, which takes its sources as registered; ``preset`` gives other
    named compositions.

    Attributes:
        focus: Sources -> decision.
        refinement: Sources, decision -> decision.
        merge: Sources, decision -> one image at their size, or all of them as they are.
        reconstruction: That, decision -> fused image.
        align: How the frames are registered before.
        exposure: How their exposure and white balance are matched before.
        kernel: Blur that made the sources from the image that is looked for; unused at scale 1.
        policy: "best-of" replaces a result by back projection where that restores the item better
            from itself, degraded once more; "always" takes what comes.
        scale: Enlargement, 1 (fusion only), 2, 3 or 4.
        seed: Of all randomness; same seed, device and precision give the same image.
        precision: Of convolutions: "fp32", "bf16", or "auto" = bf16 where a short measurement, once
            per process, finds it clearly faster on the device, else fp32.

    Raises:
        ConfigError: for a field out of its range.
    """

    focus: FocusMeasure = field(default_factory=DoubleReblur)
    refinement: Refinement = field(default_factory=DecisionEmbedding)
    merge: Merge = field(default_factory=Unmerged)
    reconstruction: Reconstruction = field(default_factory=DeepFusionPrior)
    align: Registration = field(default_factory=lambda: Registration("none"))
    exposure: ExposureMatch = field(default_factory=lambda: ExposureMatch("none"))
    kernel: Kernel = field(default_factory=Lanczos2)
    policy: Literal["always", "best-of"] = "always"
    scale: int = 2
    seed: int = 0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        Degradation(
            self.scale, Lanczos2() if isinstance(self.kernel, EstimatedKernel) else self.kernel
        )
        if self.policy not in POLICIES:
            raise ConfigError(f"policy must be always or best-of, got {self.policy!r}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision must be auto, fp32 or bf16, got {self.precision!r}")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be in [0, 2^63), got {self.seed}")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "FusionConfig":  # noqa: ANN401
        """A named composition with some fields changed: ``FusionConfig.preset("paper", scale=4)``.

        Raises:
            ConfigError: if there is no such preset.
        """
        if name not in list(PRESETS):  # a list, because a file may hold an unhashable name
            raise ConfigError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
        return cls(**(PRESETS[name] | changes))


_STEADY: dict[str, Any] = {"align": Registration(), "exposure": ExposureMatch()}
_SHARP: dict[str, Any] = {
    "focus": MultiScaleLaplacian(),
    "refinement": Potts(),
    "merge": DefocusSpreadCorrection(),
    "policy": "best-of",
    **_STEADY,
}
PRESETS: dict[str, dict[str, Any]] = {
    "balanced": {**_SHARP, "reconstruction": LearnedPrior("large")},
    "fast": {**_SHARP, "reconstruction": LearnedPrior()},
    "best": {**_SHARP, "reconstruction": AdaptedPrior()},
    "classical": {
        "focus": SumModifiedLaplacian(),
        "refinement": Chain(ConfidenceVoting(), GuidedFilter()),
        "merge": SeamPyramid(free_steps=1),
        "reconstruction": FLOOR,
        **_STEADY,
    },
    "paper": {},
}
DEFAULT_PRESET = "balanced"


@dataclass(frozen=True)
class FusionResult:
    """What ``fuse`` returns.

    Attributes:
        fused: (C, scale * h, scale * w), float32, in [0, 1], on the device of the computation.
        decision: (N, 1, h, w), float32, sums to 1 over N.
        confidence: Of the measured focus, (1, 1, h, w), in [0, 1]; 0 where nothing is in focus.
        alignment: How the frames were registered and exposed.
        loss: Objective before each iteration, (iterations,), float32; empty if there were none.
        stop_reason: Why the iterations ended: "plateau" when they no longer gained, else
            "iterations".
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
    stop_reason: str
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
    images = [channels_last(source) for source in as_stack(sources)]
    alignment = align_stack(images, 1.0, config.align, config.exposure)
    stack = Stack(images, 1.0, alignment)
    measured = measure_focus(stack, config)
    sure = confidence(measured)
    where = choose_device(device)
    merged = merge(stack, measured, config, where, on_iteration)
    solution = reconstruct(merged, config, where, on_iteration)
    return FusionResult(
        solution.fused,
        merged.decision,
        sure,
        alignment,
        solution.loss,
        solution.stop_reason,
        solution.peak_bytes,
        solution.consistency,
        solution.blind_gain_db,
        solution.kernel,
    )


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


@dataclass(frozen=True)
class Merged:
    """Sources whose decision is made.

    Attributes:
        sources: (N, C, h, w), or (1, C, h, w) where they were merged to one, in [0, 1].
        weights: Decision for these, (N or 1, 1, h, w), sums to 1 over N.
        decision: (N, 1, h, w), sums to 1 over N.
    """

    sources: Tensor
    weights: Tensor
    decision: Tensor


@dataclass(frozen=True)
class Solution:
    """What a reconstruction gives; fields as in ``FusionResult``."""

    fused: Tensor
    loss: Tensor
    stop_reason: str
    peak_bytes: int
    consistency: float
    blind_gain_db: float
    kernel: KernelEstimate


def measure_focus(stack: Sources, config: FusionConfig) -> Tensor:
    """Decision (N, 1, h, w) of N sources (C, h, w) by the focus measure alone."""
    with torch.no_grad():
        return config.focus(stack)


def is_light(config: FusionConfig) -> bool:
    """Whether ``merge`` is work for a CPU, without a network to fit."""
    return not getattr(config.refinement, "iterative", False)


def merge(
    stack: Sources,
    decision: Tensor,
    config: FusionConfig,
    device: torch.device,
    on_iteration: OnIteration = ignore_progress,
    relief: int = 0,
) -> Merged:
    """Refine the decision and merge the sources.

    Args:
        stack: N sources (C, h, w), in [0, 1].
        decision: As measured, (N, 1, h, w), sums to 1 over N; it may be overwritten.
        config: What to compute.
        device: Where.
        on_iteration: As in ``fuse``.
        relief: How often memory was short; the tiles are the smaller.
    """
    compute = _compute(config, device, on_iteration, relief)
    with _reproducible(device):
        decision = config.refinement(stack, decision.to(device), compute)
        with compute.autocast():
            merged = _merge(config.merge, stack, decision, compute)
    single = len(merged) < len(stack)
    return Merged(merged, torch.ones_like(merged[:, :1]) if single else decision, decision)


def _merge(method: Merge, stack: Sources, decision: Tensor, compute: Compute) -> Tensor:
    if isinstance(method, DefocusSpreadCorrection):
        return method.in_smaller_tiles(stack, decision, compute.halvings)
    return method(stack, decision)


def reconstruct(
    merged: Merged,
    config: FusionConfig,
    device: torch.device,
    on_iteration: OnIteration = ignore_progress,
    relief: int = 0,
) -> Solution:
    """Make the image: the work for the accelerator; arguments as for ``merge``.

    Raises:
        DivergedError: if the optimisation left the finite numbers.
    """
    compute = _compute(config, device, on_iteration, relief)
    with _reproducible(device):
        sources, weights = merged.sources.to(device), merged.weights.to(device)
        low = (weights * sources).sum(0, keepdim=True)
        kernel = known_kernel(config.kernel, low, config.scale)
        degrade = Degradation(config.scale, kernel.kernel)
        fused, loss = config.reconstruction(sources, weights, degrade, compute)
        gain_db = _blind_gain_db(low, config, degrade, compute)
        if gain_db < 0:
            fused, _ = FLOOR(sources, weights, degrade, compute)
        with torch.no_grad():
            residual = consistency(degrade(fused), sources, weights)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    planned = getattr(config.reconstruction, "iterations", len(loss))
    reason = "plateau" if 0 < len(loss) < planned else "iterations"
    return Solution(fused[0], loss, reason, peak, float(residual), gain_db, kernel)


def _blind_gain_db(
    low: Tensor, config: FusionConfig, degrade: Degradation, compute: Compute
) -> float:
    if config.policy == "always":
        return math.nan
    candidate = getattr(config.reconstruction, "judged", config.reconstruction)
    return cross_scale_gain_db(candidate, FLOOR, low, degrade, compute)


def _compute(
    config: FusionConfig, device: torch.device, on_iteration: OnIteration, relief: int
) -> Compute:
    generator = torch.Generator(device).manual_seed(config.seed)
    dtype = compute_dtype(config.precision, device)
    return Compute(generator, dtype, on_iteration, min(relief, _MOST_HALVINGS))


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device asked for; None is CUDA if there is one, else the CPU."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


@contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """Deterministic CUDA kernels where there are any; the CPU kernels used here all are."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.are_deterministic_algorithms_enabled()
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
