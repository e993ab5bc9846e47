"""The stages of a pair, each in its module: prepare (CPU), reconstruct (GPU), publish (CPU).

Every stage returns its value and the facts that go into the row; ``run_stage`` is the only place
that catches everything. Errors travel as values, so that one pair never stops another.
"""

import logging
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch

from dfp_batch.errors import Category, DeviceMemoryError, DfpError

log = logging.getLogger(__name__)

_SHORT_OF_MEMORY = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)


class Stage(StrEnum):
    """Stages of a pair, in their order."""

    PREPARE = "prepare"
    RECONSTRUCT = "reconstruct"
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
        finished: Whether the pair is done with this stage, since its result was there already.
    """

    stage: Stage
    started_at: float
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    value_bytes: int = 0
    finished: bool = False


def facts_of(reports: Iterable[Report]) -> dict[str, Any]:
    """What the stages of an attempt have found out, and how long they took."""
    facts: dict[str, Any] = {}
    peaks = [0]
    for report in reports:
        facts |= {f"t_{report.stage}_s": report.seconds} | report.facts
        peaks.append(report.facts.get("peak_rss_bytes") or 0)
    return facts | {"peak_rss_bytes": max(peaks)}


def run_stage(
    stage: Stage, label: str, work: Callable[[], tuple[Any, dict[str, Any]]]
) -> tuple[Report, Any]:
    """Run one stage of one pair and turn whatever it raises into a report.

    Args:
        stage: Which one.
        label: Names the pair in the worker's log.
        work: Returns the value for the next stage and the facts for the row; no value from a stage
            other than the last says that the pair is done.

    Returns:
        The report, and the value or None.
    """
    started_at, clock = time.time(), time.perf_counter()
    value, failure = None, None
    facts: dict[str, Any] = {}
    forget_peak()
    try:
        value, facts = work()
    except Exception as error:
        failure = as_failure(error)
        log.warning("%s of %s failed", stage, label, exc_info=error)
    facts = {**facts, "node": platform.node(), "peak_rss_bytes": peak_rss_bytes()}
    seconds, held = time.perf_counter() - clock, getattr(value, "nbytes", 0)
    finished = failure is None and value is None
    return Report(stage, started_at, seconds, facts, failure, held, finished), value


def as_failure(error: Exception) -> Failure:
    """Category, type and one line of any exception a stage can raise."""
    if isinstance(error, torch.OutOfMemoryError) or _is_short_of_memory(error):
        error = DeviceMemoryError(f"the device has too little memory: {_one_line(error)}")
    if isinstance(error, DfpError):
        return Failure(error.category, type(error).__name__, _one_line(error))
    category: Category = "resource" if isinstance(error, MemoryError) else "crash"
    return Failure(category, type(error).__name__, _one_line(error) or type(error).__name__)


def _is_short_of_memory(error: Exception) -> bool:
    """Of a device, where not torch but CUDA or one of its libraries says so."""
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _SHORT_OF_MEMORY)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def forget_peak() -> None:
    """Begin to look for the most memory anew, where the system can: on Linux."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_rss_bytes() -> int:
    """Most memory of this process since ``forget_peak``; elsewhere than on Linux since it began."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
    if peaks:
        return peaks[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
