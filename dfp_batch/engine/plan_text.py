"""A plan in about a dozen lines, for people."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import psutil

from dfp_batch.config.run_config import RunConfig
from dfp_batch.degradation.kernel_estimation import ArchiveKernel
from dfp_batch.engine.costs import CostModel
from dfp_batch.engine.plan import Costs, Machines, Plan, Range, Sample

_SHOWN = 5
_HOUR_S, _MINUTE_S = 3600, 60
_LONG_H = 2 / 60  # from here on minutes
_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_NOT_IN_IT = (
    "starting Ray (half a minute), stores slower than this disk, retries, other work on these cores"
)


def lines(plan: Plan, command: str) -> list[str]:
    """The plan; ``command`` is what comes next."""
    said = [
        ("manifest", f"{plan.manifest_url}: {_count(plan.sample.pairs, 'pair')}, all rows usable")
    ]
    said += [("sample", text) for text in _sample_lines(plan.sample)]
    if plan.model is not None and plan.costs is not None:
        said += _cost_lines(plan.sample, plan.model, plan.costs, plan.machines)
    said += [("kernel", text) for text in _kernel_lines(plan.run, plan.sample)]
    said.append(("steps", " > ".join(_steps(plan.run))))
    said.append(("next", command))
    return [f"{_heading(said, k):<9} {text}" for k, (_, text) in enumerate(said)]


def _heading(said: list[tuple[str, str]], k: int) -> str:
    """Only the first of several lines under one heading shows it."""
    return "" if k and said[k - 1][0] == said[k][0] else said[k][0]


def _sample_lines(sample: Sample) -> Iterator[str]:
    failed = len(sample.problems)
    good = f"{_count(len(sample.looked), 'pair')} can be done as far as headers tell"
    if not failed:
        most = (
            ""
            if sample.size == sample.pairs
            else f"; at most {sample.failing.high:.0f} of all fail"
        )
        yield good + most
        return
    yield f"{good}, {failed} would fail: {_failing(sample)}"
    for what, count in Counter(problem.what for problem in sample.problems).most_common():
        yield f"{count} {what}"
    for problem in sample.problems[:_SHOWN]:
        yield f"{problem.pair_id}: {problem.message}"
    if failed > _SHOWN:
        yield f"and {failed - _SHOWN} more; --json names all"


def _failing(sample: Sample) -> str:
    found = sample.failing
    if sample.size == sample.pairs:
        return "these are all pairs"
    return f"about {found.mid:.0f} ({found.low:.0f} to {found.high:.0f}) of {sample.pairs:,}"


def _kernel_lines(run: RunConfig, sample: Sample) -> Iterator[str]:
    """What ``--kernel auto`` is going to look for."""
    if not isinstance(run.fusion.kernel, ArchiveKernel) or run.fusion.scale == 1:
        return
    yield "estimated from a sample of the pairs before the run, for each camera that tells its own"
    named = sorted(sample.cameras.items(), key=lambda one: -one[1])
    for name, count in named[:_SHOWN]:
        yield f"{name or 'by camera, lens and aperture of EXIF data'}: {_count(count, 'pair')}"
    if len(named) > _SHOWN:
        yield f"and {len(named) - _SHOWN} more cameras; --json names all"


def _cost_lines(
    sample: Sample, model: CostModel, costs: Costs, machines: Machines
) -> Iterator[tuple[str, str]]:
    yield "pairs", _pairs(sample)
    where = model.cpu if model.device == "cpu" else f"{model.device}, {model.cpu}"
    kind = f"pairs of {model.kind}"
    yield "model", f"measured on {model.measured_at[:10]} on {where}, one thread, {kind}"
    shares = ", ".join(f"{stage} {share:.0%}" for stage, share in costs.shares.items())
    yield "work", f"{_hours(costs.cpu_hours, 'CPU-')}: {shares}"
    if machines.gpus and costs.gpu_hours is None:
        yield (
            "",
            "without reconstruct: GPU-hours are known only where there is a GPU; run this there",
        )
    elif costs.gpu_hours is not None:
        yield "", _hours(costs.gpu_hours, "GPU-")
    if costs.wall_hours is not None:
        yield "time", f"{_hours(costs.wall_hours, '')} on {_machines(machines)}"
    yield "memory", _memory(costs, machines, sample.pairs)
    yield "store", f"reads {_bytes(costs.read_bytes)}, writes {_bytes(costs.written_bytes)}"
    yield "not in it", _NOT_IN_IT


def _pairs(sample: Sample) -> str:
    frames = np.array([one.frames for one in sample.looked])
    mp = np.array([one.frame_mp for one in sample.looked])
    few = f"{frames.min()}" if frames.min() == frames.max() else f"{frames.min()} to {frames.max()}"
    size = f"{mp.min():.2g} to {mp.max():.2g} MP (mean {mp.mean():.2g})"
    others = len(sample.looked) - sample.like_that
    unlike = f"; {others} of another kind, reckoned as if they were" if others else ""
    return f"{few} frames of {size}{unlike}"


def _hours(hours: Range, prefix: str) -> str:
    """``about 3.2 CPU-hours (2.5 to 4.1)``, or minutes, or seconds."""
    if hours.mid >= 1:
        unit, factor = "hours", 1.0
    elif hours.mid >= _LONG_H:
        unit, factor = "minutes", _HOUR_S / _MINUTE_S
    else:
        unit, factor = "seconds", float(_HOUR_S)
    low, mid, high = (f"{value * factor:.2g}" for value in (hours.low, hours.mid, hours.high))
    return f"about {mid} {prefix}{unit} ({low} to {high})"


def _machines(machines: Machines) -> str:
    gpus = f" and {_count(machines.gpus, 'GPU')}" if machines.gpus else ""
    return f"{_count(machines.cpus, 'CPU')}{gpus}{' of this machine' if machines.is_here else ''}"


def _memory(costs: Costs, machines: Machines, pairs: int) -> str:
    largest = costs.peak_pair
    at_once = min(machines.cpus, pairs)
    low, high = costs.peak_bytes
    total = at_once * high
    text = (
        f"{_size(low)} to {_size(high)} for the largest pair sampled ({largest.pair_id}: "
        f"{largest.frames} frames of {largest.frame_mp:.2g} MP)"
    )
    if not machines.is_here:
        return f"{text}, up to {_size(total)} for {at_once} at once"
    there = psutil.virtual_memory().total
    short = "" if total < there else ": too little, pairs will be tried with fewer neighbours"
    return f"{text}, up to {_size(total)} for {at_once} at once of {_size(there)} here{short}"


def _bytes(amount: Range) -> str:
    return f"about {_size(amount.mid)} ({_size(amount.low)} to {_size(amount.high)})"


def _size(amount: float) -> str:
    unit, factor = next((one for one in _UNITS if amount >= one[1]), ("bytes", 1.0))
    return f"{amount / factor:.3g} {unit}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _steps(run: RunConfig) -> list[str]:
    """What is done to every pair, first to last."""
    values = run.values()
    how = run.fusion.align.model if run.align_from is None else "as that run did"
    steps = ["read", f"register ({how})", "expose"]
    steps += [f"{name} ({values[f'{name}.use']})" for name in ("focus", "refinement", "merge")]
    if run.fusion.scale > 1:
        steps.append(f"enlarge x{run.fusion.scale} ({values['reconstruction.use']})")
    form = "png or tiff" if run.output.format == "auto" else run.output.format
    return [*steps, "measure", f"write {form}"]
