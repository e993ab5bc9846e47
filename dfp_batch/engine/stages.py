"""The three stages of a pair: prepare (CPU), optimise (accelerator), publish (CPU).

Every stage returns its value and the facts that go into the row; ``run_stage`` is the only place
that catches everything. Errors travel as values, so that one pair never stops another.
"""

import hashlib
import logging
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch import codec, metrics, storage
from dfp_batch.codec import Frame
from dfp_batch.errors import Category, DeviceMemoryError, DfpError, ImageError
from dfp_batch.ledger import METRICS
from dfp_batch.manifest import Pair, folder_name
from dfp_batch.method.image import luma
from dfp_batch.method.optimise import OnIteration, ignore_progress
from dfp_batch.method.pipeline import (
    SMALLEST_PX,
    FusionConfig,
    compute_dtype,
    fuse,
    measure_focus,
    reconstruct,
)

log = logging.getLogger(__name__)


class Stage(StrEnum):
    """Stages of a pair, in their order."""

    PREPARE = "prepare"
    OPTIMISE = "optimise"
    PUBLISH = "publish"


@dataclass(frozen=True)
class Failure:
    """Why a stage failed; what the engine does follows from the category."""

    category: Category
    error_type: str
    message: str


@dataclass(frozen=True)
class Report:
    """How a stage ended: small enough to travel inline.

    Attributes:
        stage: Which one.
        started_at: Seconds since the epoch of Unix.
        seconds: Duration.
        facts: Columns of the row.
        failure: None if it succeeded.
        value_bytes: Memory of the value it left for the next stage.
    """

    stage: Stage
    started_at: float
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    value_bytes: int = 0


@dataclass(frozen=True)
class Prepared:
    """Decoded sources and their measured decision.

    Attributes:
        sources: (N, h, w, C), uint8, uint16 or float32.
        decision: (N, 1, h, w), float32, sums to 1 over N.
    """

    sources: NDArray[Any]
    decision: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Memory of both."""
        return self.sources.nbytes + self.decision.nbytes


@dataclass(frozen=True)
class Optimised:
    """The fused image at the depth of the sources, and the decision it was made with.

    Attributes:
        fused: (H, W, C), dtype of the sources.
        source_map: (h, w), uint8: 0 where the first source was taken, 255 where the last was.
    """

    fused: NDArray[Any]
    source_map: NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        """Memory of both."""
        return self.fused.nbytes + self.source_map.nbytes


def as_tensor(sources: NDArray[Any]) -> torch.Tensor:
    """Sources (N, h, w, C) of any depth as (N, C, h, w), float32, in [0, 1]."""
    return torch.from_numpy(np.stack([codec.to_unit(Frame(pixels)) for pixels in sources]))


def run_stage(
    stage: Stage, label: str, work: Callable[[], tuple[Any, dict[str, Any]]]
) -> tuple[Report, Any]:
    """Run one stage of one pair and turn whatever it raises into a report.

    Args:
        stage: Which one.
        label: Names the pair in the worker's log.
        work: Returns the value for the next stage and the facts for the row.

    Returns:
        The report, and the value or None.
    """
    started_at, clock = time.time(), time.perf_counter()
    value, failure = None, None
    facts: dict[str, Any] = {}
    try:
        value, facts = work()
    except Exception as error:
        failure = as_failure(error)
        log.warning("%s of %s failed", stage, label, exc_info=error)
    facts = {**facts, "node": platform.node(), "peak_rss_bytes": _peak_rss_bytes()}
    seconds, held = time.perf_counter() - clock, getattr(value, "nbytes", 0)
    return Report(stage, started_at, seconds, facts, failure, held), value


def as_failure(error: Exception) -> Failure:
    """Category, type and one line of any exception a stage can raise."""
    if isinstance(error, torch.OutOfMemoryError):
        error = DeviceMemoryError(f"the device has too little memory: {_one_line(error)}")
    if isinstance(error, DfpError):
        return Failure(error.category, type(error).__name__, _one_line(error))
    category: Category = "resource" if isinstance(error, MemoryError) else "crash"
    return Failure(category, type(error).__name__, _one_line(error) or type(error).__name__)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _peak_rss_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def prepare(pair: Pair, config: FusionConfig) -> tuple[Prepared, dict[str, Any]]:
    """Read, decode and check the sources and measure their focus.

    Raises:
        ImageError: if a source or a reference is not what it must be.
        StorageError: if one cannot be read.
    """
    frames = read_sources(pair.sources)
    _check_size(pair.sources[0], frames[0])
    _check_truth(pair, frames[0], config.scale)
    sources = np.stack([frame.pixels for frame in frames])
    decision = measure_focus(as_tensor(sources), config)
    facts = {"n_sources": len(frames), "bit_depth": frames[0].bit_depth}
    return Prepared(sources, decision.numpy()), facts


def read_frame(url: str) -> Frame:
    """One image of the store.

    Raises:
        ImageError: if it cannot be decoded.
        StorageError: if it cannot be read.
    """
    return codec.decode(storage.read_bytes(url), url)


def read_sources(urls: Sequence[str]) -> list[Frame]:
    """The sources of one item.

    Raises:
        ImageError: if one cannot be decoded, or they differ in size, channels or depth.
        StorageError: if one cannot be read.
    """
    frames = [read_frame(url) for url in urls]
    for url, frame in zip(urls, frames, strict=True):
        if frame.kind != frames[0].kind:
            raise ImageError(
                f"sources differ: {urls[0]} is {frames[0].kind}, {url} is {frame.kind}; "
                "register, crop or convert them to one size and kind"
            )
    return frames


def _check_size(url: str, frame: Frame) -> None:
    if min(frame.pixels.shape[:2]) < SMALLEST_PX:
        raise ImageError(f"{url} is {frame.size}, each side must be at least {SMALLEST_PX} px")


def _check_truth(pair: Pair, source: Frame, scale: int) -> None:
    """A reference of the wrong size would be found out only after the costly part."""
    h, w, _ = source.pixels.shape
    for url in (*filter(None, [pair.reference]), *(pair.reference_sources or ())):
        truth = read_frame(url).pixels.shape
        if truth[:2] != (scale * h, scale * w):
            raise ImageError(
                f"reference {url} is {truth[1]}x{truth[0]} px, expected {scale * w}x{scale * h}: "
                f"scale {scale} times the sources"
            )


def optimise(
    prepared: Prepared, config: FusionConfig, on_iteration: OnIteration = ignore_progress
) -> tuple[Optimised, dict[str, Any]]:
    """Refine the decision and make the image.

    Raises:
        DivergedError: if the optimisation left the finite numbers.
        DeviceMemoryError: as ``run_stage`` translates it.
    """
    decision = torch.from_numpy(prepared.decision.copy())
    result = reconstruct(as_tensor(prepared.sources), decision, config, on_iteration=on_iteration)
    frame = codec.from_unit(result.fused.cpu().numpy(), prepared.sources.dtype)
    loss = result.loss.double().cpu()
    where = result.fused.device
    facts = {
        "iterations": len(loss),
        "stop_reason": result.stop_reason,
        "loss_first": float(loss[0]) if len(loss) else None,
        "loss_last": float(loss[-1]) if len(loss) else None,
        "peak_gpu_bytes": result.peak_bytes,
        "precision": str(compute_dtype(config.precision, where)).removeprefix("torch."),
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu",
    }
    return Optimised(frame.pixels, source_map(result.decision)), facts


def source_map(decision: torch.Tensor) -> NDArray[np.uint8]:
    """Which source each pixel came from, as grey: black the first, white the last.

    Args:
        decision: (N, 1, h, w), sums to 1 over N.

    Returns:
        (h, w), uint8; greys between where sources are mixed or where N > 2.
    """
    position = torch.linspace(0, 255, len(decision), device=decision.device)
    mean = torch.einsum("nhw,n->hw", decision[:, 0], position)
    return mean.round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def publish(
    pair: Pair, prepared: Prepared, optimised: Optimised, config: FusionConfig, run_url: str
) -> tuple[None, dict[str, Any]]:
    """Measure, encode and write; the files are whole before the row exists.

    Raises:
        StorageError: if something cannot be written.
    """
    frame = Frame(optimised.fused)
    measured = _measure_all(pair, prepared, frame, config)
    folder = storage.join(run_url, "outputs", folder_name(pair.pair_id))
    extension = codec.extension_for(frame)
    data = codec.encode(frame, extension)
    files = {
        "decision.png": codec.encode(Frame(optimised.source_map[..., None]), "png"),
        "preview.jpg": codec.encode(codec.thumbnail(frame), "jpg"),
        f"fused.{extension}": data,
    }
    for name, content in files.items():
        storage.write_bytes(storage.join(folder, name), content)
    height, width, _ = frame.pixels.shape
    return None, {
        "output_url": storage.join(folder, f"fused.{extension}"),
        "output_sha256": hashlib.sha256(data).hexdigest(),
        "width_px": width,
        "height_px": height,
        **measured,
    }


def _measure_all(
    pair: Pair, prepared: Prepared, frame: Frame, config: FusionConfig
) -> dict[str, float]:
    """Metrics of the result, and with the prefix ``floor_`` of the classical floor."""
    truth = _Truth.read(pair)
    floor_config = FusionConfig.preset(
        "classical", scale=config.scale, seed=config.seed, precision=config.precision
    )
    measured = truth.measure(frame)
    if config == floor_config:
        floor = measured
    else:
        fused = fuse(as_tensor(prepared.sources), floor_config, "cpu").fused
        floor = truth.measure(codec.from_unit(fused.numpy(), prepared.sources.dtype))
    return measured | {f"floor_{name}": value for name, value in floor.items()}


def _luma(frame: Frame) -> NDArray[np.float32]:
    """(H, W), in [0, 1]."""
    return luma(torch.from_numpy(codec.to_unit(frame))[None])[0, 0].numpy()


@dataclass(frozen=True)
class _Truth:
    """What only the metrics see: luma (H, W) in [0, 1] of the references a pair has."""

    reference: NDArray[np.float32] | None
    sources: tuple[NDArray[np.float32], ...]

    @classmethod
    def read(cls, pair: Pair) -> "_Truth":
        reference = _luma(read_frame(pair.reference)) if pair.reference else None
        return cls(reference, tuple(_luma(read_frame(url)) for url in pair.reference_sources or ()))

    def measure(self, frame: Frame) -> dict[str, float]:
        image = _luma(frame)
        measured = metrics.paper_metrics(image * 255)
        if self.reference is not None:
            measured["psnr_db"] = metrics.psnr_db(image, self.reference)
            measured["ssim"] = metrics.ssim(image, self.reference)
        if self.sources:
            first, second = (metrics.paper_metrics(source * 255) for source in self.sources)
            relative = metrics.relative_metrics(measured, (first, second))
            measured = measured | relative
        unknown = set(measured) - set(METRICS)
        if unknown:
            raise KeyError(f"metrics without a column: {sorted(unknown)}")
        return measured
