"""What was measured, for people and for programs."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from rich.table import Table

import dfp_batch
from dfp_batch.benchmark.measurement import Measured
from dfp_batch.engine.costs import cpu_name

_PACKAGES = ("torch", "numpy", "opencv-python-headless")
_MB = 1e6
_SHOWN_S = 0.05  # of a step


def to_json(
    measured: Mapping[str, Measured], stack: Mapping[str, Any], threads: int
) -> dict[str, Any]:
    """All that was measured, where, and of what.

    Args:
        measured: By name.
        stack: Of which frames.
        threads: Of each.
    """
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "capability": torch.backends.cpu.get_cpu_capability(),
        },
        "versions": {
            "dfp-batch": dfp_batch.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
        },
        "threads": threads,
        "stack": dict(stack),
        "results": {name: _row(one) for name, one in measured.items()},
        "core_s_over": {name: _ratios(name, measured) for name in measured},
    }


def _row(one: Measured) -> dict[str, Any]:
    row: dict[str, Any] = {
        "core_s": _spread([cost.core_s for cost in one.costs]),
        "wall_s": _spread([cost.wall_s for cost in one.costs]),
        "peak_mb": round(one.peak_bytes / _MB),
        "start_s": round(one.start_s, 2),
    }
    if one.steps is not None:
        row["steps_core_s"] = {name: round(s, 3) for name, s in one.steps.seconds.items()}
        row["counts"] = {
            "calls": dict(one.steps.calls),
            "decodes_per_frame": round(one.steps.decodes_per_frame, 2),
            "read_bytes": one.steps.read_bytes,
            "gflop": round(one.steps.flops / 1e9, 1),
        }
    return row


def _spread(samples: Sequence[float]) -> dict[str, Any]:
    """Median and interquartile range."""
    low, middle, high = (
        statistics.quantiles(samples, n=4, method="inclusive")
        if len(samples) > 1
        else [samples[0]] * 3
    )
    rounded = [round(sample, 3) for sample in samples]
    return {"median": round(middle, 3), "iqr": round(high - low, 3), "samples": rounded}


def _ratios(name: str, measured: Mapping[str, Measured]) -> dict[str, float]:
    """Median over the rounds of the processor time of one over that of each other."""
    own = measured[name].costs
    return {
        other: round(statistics.median(a.core_s / b.core_s for a, b in pairs), 2)
        for other, one in measured.items()
        if other != name and (pairs := list(zip(own, one.costs, strict=True)))
    }


def tables(found: Mapping[str, Any]) -> list[Table]:
    """The same, for people."""
    results, first = found["results"], next(iter(found["results"]))
    whole = Table("", "core-s", "iqr", "wall-s", "peak MB", "start s", f"over {first}")
    steps = Table("core-s of a step")
    for name, row in results.items():
        over = found["core_s_over"][name].get(first)
        whole.add_row(
            name,
            f"{row['core_s']['median']:.2f}",
            f"{row['core_s']['iqr']:.2f}",
            f"{row['wall_s']['median']:.2f}",
            f"{row['peak_mb']}",
            f"{row['start_s']:.1f}" if "counts" in row else "within",
            "" if over is None else f"{over:.2f}",
        )
    ours = {name: row for name, row in results.items() if "counts" in row}
    for name in ours:
        steps.add_column(name, justify="right")
    for step in dict.fromkeys(step for row in ours.values() for step in row["steps_core_s"]):
        seconds = [row["steps_core_s"].get(step, 0.0) for row in ours.values()]
        if max(seconds) >= _SHOWN_S:
            steps.add_row(step, *(f"{value:.2f}" for value in seconds))
    for title, key in (("decodes of a frame", "decodes_per_frame"), ("GFLOP", "gflop")):
        steps.add_row(title, *(f"{row['counts'][key]:.1f}" for row in ours.values()))
    return [whole, steps] if ours else [whole]
