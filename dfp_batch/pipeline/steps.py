"""The one sequence of the method, which ``fuse`` and the stages of the engine share.

::

    frames -> [register, warp] -> Sources -> focus -> refinement -> merge -> Merged
    Merged -> kernel -> self-check -> reconstruction, in rows -> Enlargement

``merge`` and ``reconstruct`` are its two halves: they may run at different places. Every half draws
its randomness anew from the seed, so the result does not depend on where the cut is.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dfp_batch.alignment.device_stack import DeviceStack
from dfp_batch.alignment.stack import Stack
from dfp_batch.alignment.stack_alignment import StackAlignment
from dfp_batch.core.allocator import MUCH, give_back
from dfp_batch.core.contracts import (
    Compute,
    Images,
    OnIteration,
    Reconstruction,
    Refinement,
    Solution,
    Sources,
    StopReason,
    ignore_progress,
)
from dfp_batch.core.decision import certainty, confidence, weighted, winners
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.tiling import Slab, with_neighbours
from dfp_batch.core.view import complete_, hide_
from dfp_batch.degradation.kernel_estimation import KernelEstimate, known_kernel
from dfp_batch.errors import ConfigError
from dfp_batch.merging.seams import BAND_PX
from dfp_batch.networks.precision import number_formats
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.round_trip import reach_of
from dfp_batch.reconstruction.self_check import cross_scale_gain_db
from dfp_batch.refinement.near_first import NearFirst

FLOOR = BackProjection()  # the enlargement that is always safe
_MOST_HALVINGS = 2  # of tiles: with halos, smaller ones take hardly less


@dataclass(frozen=True)
class Workplace:
    """Where steps run, and who hears of it.

    Attributes:
        device: Of the sources and of everything that is made of them.
        on_iteration: Called with (stage, iteration, total).
        relief: How often memory was short; the tiles are the smaller.
    """

    device: torch.device
    on_iteration: OnIteration = ignore_progress
    relief: int = 0

    def compute(self, config: FusionConfig) -> Compute:
        """How to compute here, with the randomness of a configuration drawn anew."""
        generator = torch.Generator(self.device).manual_seed(config.seed)
        formats = number_formats(config.precision, self.device)
        halvings = min(self.relief, _MOST_HALVINGS)
        return Compute(generator, formats.dtype, self.on_iteration, halvings, formats.int8)


@dataclass(frozen=True, eq=False)
class Merged:
    """Sources whose decision is made.

    Attributes:
        sources: (N, C, h, w), or (1, C, h, w) where they were merged to one, in [0, 1].
        weights: Decision for these, (N or 1, 1, h, w), sums to 1 over N.
        decision: (N, 1, h, w), sums to 1 over N.
        confidence: Of the measured focus, (1, 1, h, w), in [0, 1].
    """

    sources: Tensor
    weights: Tensor
    decision: Tensor
    confidence: Tensor

    @classmethod
    def of_one(cls, image: Tensor) -> "Merged":
        """An image (1, C, h, w) that was merged before; what it was decided by is not known."""
        ones = torch.ones_like(image[:, :1])
        return cls(image, ones, ones, ones)


@dataclass(frozen=True, eq=False)
class Enlargement:
    """What comes of merged sources beside the image; fields as in ``FusionResult``."""

    loss: Tensor
    stop_reason: StopReason
    peak_bytes: int
    consistency: float
    blind_gain_db: float
    kernel: KernelEstimate


def sources_on(
    device: torch.device, images: Images, white: float, alignment: StackAlignment
) -> Sources:
    """The registered frames of a stack, to be looked at on a device."""
    if device.type == "cpu":
        return Stack(images, white, alignment)
    return DeviceStack(images, white, alignment, device)


def merge(sources: Sources, config: FusionConfig, place: Workplace) -> Merged:
    """Measure the focus, refine the decision and merge the sources.

    Args:
        sources: N sources (C, h, w), in [0, 1], on the device.
        config: What to compute.
        place: Where.

    Raises:
        ConfigError: if the merge gives back all sources and has not said so.
    """
    compute = place.compute(config)
    with _reproducible(place.device):
        with torch.no_grad():
            measured = config.focus(sources)
            hide_(measured, sources, certainty=1.0)
            sure = confidence(measured)
            certain = _certain(sure[0], config)
            is_partial = hide_(measured, sources, certain)
            best = winners(complete_(measured, sources)) if is_partial else None
        give_back()
        decision = _refinement(config)(sources, measured, compute)
        if is_partial:
            hide_(decision, sources, certain)
            complete_(decision, sources, best)
        del best
        sources.forget()
        give_back()
        merged = config.merge(sources, decision, certain, compute)
    give_back()
    is_one = len(merged) < len(sources)
    if not (is_one or config.merge.needs_all):
        raise ConfigError(
            f"merge: {type(config.merge).__name__} gave back all {len(merged)} sources; one that "
            "does must say so by needs_all"
        )
    weights = torch.ones_like(merged[:, :1]) if is_one else decision
    return Merged(merged, weights, decision, sure)


def _refinement(config: FusionConfig) -> Refinement:
    """The one of a configuration, told which end is near."""
    if config.near == "none":
        return config.refinement
    return NearFirst(config.refinement, config.near)


def _certain(sure: Tensor, config: FusionConfig) -> Tensor:
    """How far a decision of this confidence is to be believed, both (1, h, w)."""
    return certainty(sure, BAND_PX) if config.focus.decides else torch.ones_like(sure)


def reconstruct(
    merged: Merged, config: FusionConfig, place: Workplace
) -> tuple[Tensor, Enlargement]:
    """Make the image (C, scale * h, scale * w), float32, in [0, 1].

    Args:
        merged: On any device.
        config: What to compute.
        place: Where.

    Raises:
        DivergedError: if the optimisation left the finite numbers.
    """
    rows: list[Tensor] = []
    made = reconstruct_rows(merged, config, place, rows.append)
    return (rows[0] if len(rows) == 1 else torch.cat(rows, 1)), made


def reconstruct_rows(
    merged: Merged, config: FusionConfig, place: Workplace, receive: Callable[[Tensor], object]
) -> Enlargement:
    """As ``reconstruct``, for images that are never to be held as a whole.

    Args:
        merged: On any device.
        config: What to compute.
        place: Where.
        receive: Gets the image from top to bottom, (C, rows, scale * w) at a time.

    Raises:
        DivergedError: if the optimisation left the finite numbers.
    """
    compute, device = place.compute(config), place.device
    with _reproducible(device):
        sources, weights = merged.sources.to(device), merged.weights.to(device)
        low = weighted(sources, weights)
        kernel = known_kernel(config.kernel, low, config.scale)
        degrade = Degradation(config.scale, kernel.kernel)
        maker, gain_db = _chosen(low, config, degrade, compute)
        told: list[Solution] = []
        parts = _images(maker.in_rows(sources, weights, degrade, compute), told)
        height, reach_px = config.scale * low.shape[-2], config.scale * reach_of(degrade)
        off = low.new_zeros((), dtype=torch.float64)
        for slab in with_neighbours(parts, height, reach_px):
            off += _inconsistency(slab, low, degrade)
            receive(slab.image[0, :, slab.own])
            give_back(MUCH)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    whole, consistency = Solution.joined(told), float(off) / low.numel()
    return Enlargement(whole.losses, whole.stop_reason, peak, consistency, gain_db, kernel)


def _images(solutions: Iterator[Solution], told: list[Solution]) -> Iterator[Tensor]:
    """The images; what else the solutions say is left in a list, with a column of each image."""
    for solution in solutions:
        told.append(replace(solution, image=solution.image[:, :1, :, :1].clone()))
        yield solution.image


@torch.no_grad()
def _inconsistency(slab: Slab, low: Tensor, degrade: Degradation) -> Tensor:
    """Sum of |D(X) - u| over the own rows of a slab of X."""
    scale, last = degrade.scale, slab.first + slab.image.shape[-2]
    known = low[..., slab.first // scale : last // scale, :]
    off = (degrade(slab.image) - known).abs_()
    return off[..., slab.own.start // scale : slab.own.stop // scale, :].sum(dtype=torch.float64)


def _chosen(
    low: Tensor, config: FusionConfig, degrade: Degradation, compute: Compute
) -> tuple[Reconstruction, float]:
    """What enlarges: back projection, where that is found to be better; and the gain over that.

    The gain is nan if it was not asked for.
    """
    if config.policy == "always":
        return config.reconstruction, math.nan
    candidate = config.reconstruction.checked_by
    gain_db = cross_scale_gain_db(candidate, FLOOR, low, degrade, compute)
    return (FLOOR if gain_db < 0 else config.reconstruction), gain_db


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
