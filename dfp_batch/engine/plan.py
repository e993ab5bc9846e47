"""A dry run: what of an archive would fail, and what the rest would cost. It computes no pair.

A sample of the pairs is looked at by the headers of its files; what pairs of such sizes cost is
known from :mod:`dfp_batch.engine.costs`; the archive is as many times the sample.
"""

import math
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.stats import beta

from dfp_batch.archive.cuts import Cut
from dfp_batch.config.run_config import RunConfig
from dfp_batch.engine.costs import CostModel, Kind
from dfp_batch.engine.headers import Looked, Problem, look
from dfp_batch.engine.intake import pairs_of
from dfp_batch.engine.stages import Stage
from dfp_batch.errors import ConfigError
from dfp_batch.runs.manifest import Pair

_AT_ONCE = 16  # pairs whose headers are read; mostly waiting for the store
_CONFIDENCE = 0.95
_DEVIATIONS = 2.0  # about as likely
_LEAST_ERROR = 0.25  # of the model; runs under Ray took 5 to 30 % more than what it said
_COMPRESSION_ERROR = 0.5  # photographs compress as they like
_TRUTH_READS = 2
_REUSED = 1.5  # memory of a process that has done other pairs; 1.1 to 1.4 measured
_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "TIFF": "tiff", "WebP": "webp"}
_DTYPES = ("uint8", "uint16")  # others are measured as floats


@dataclass(frozen=True)
class Range:
    """An estimate, and between what it probably lies."""

    low: float
    mid: float
    high: float

    @classmethod
    def about(cls, mid: float, error: float) -> "Range":
        """From ``mid / (1 + error)`` to ``mid * (1 + error)``."""
        return cls(mid / (1 + error), mid, mid * (1 + error))

    def times(self, factor: float) -> "Range":
        """All three of them."""
        return Range(self.low * factor, self.mid * factor, self.high * factor)


@dataclass(frozen=True)
class Machines:
    """What the run would have.

    Attributes:
        cpus: Pairs that are prepared and published at once, and reconstructed without a GPU.
        gpus: Pairs that are reconstructed at once; 0 is on CPUs.
        is_here: Whether they are those of this machine.
        has_gpu: Whether this machine has a GPU, so that its share can be measured.
    """

    cpus: int
    gpus: int
    is_here: bool
    has_gpu: bool

    @classmethod
    def of(cls, cpus: int | None, gpus: int | None) -> "Machines":
        """Those that are given, or else there are here."""
        here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        devices = torch.cuda.device_count()
        found = (here or 1 if cpus is None else cpus, devices if gpus is None else gpus)
        return cls(*found, is_here=cpus is None and gpus is None, has_gpu=devices > 0)


@dataclass(frozen=True)
class Sample:
    """What was looked at.

    Attributes:
        pairs: Of the manifest.
        looked: Pairs that can be done, as far as headers tell.
        problems: Those that would fail.
        cameras: Pairs of the manifest by the camera it names, "" for those without.
    """

    pairs: int
    looked: tuple[Looked, ...]
    problems: tuple[Problem, ...]
    cameras: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Pairs in the sample."""
        return len(self.looked) + len(self.problems)

    @property
    def failing(self) -> Range:
        """Pairs of the whole manifest that would fail: 95 % by Clopper and Pearson."""
        failed, size = len(self.problems), self.size
        if size == self.pairs:
            return Range(failed, failed, failed)
        tail = (1 - _CONFIDENCE) / 2
        low = beta.ppf(tail, failed, size - failed + 1) if failed else 0.0
        high = beta.ppf(1 - tail, failed + 1, size - failed) if failed < size else 1.0
        return Range(float(low), failed / size, float(high)).times(self.pairs)

    @property
    def kind(self) -> Kind:
        """What most of the pairs are like."""
        return Counter(map(_kind, self.looked)).most_common(1)[0][0]

    @property
    def like_that(self) -> int:
        """How many of the pairs are like most."""
        return Counter(map(_kind, self.looked))[self.kind]


@dataclass(frozen=True)
class Costs:
    """What a run would take.

    Attributes:
        cpu_hours: Of one CPU.
        shares: Of all hours by stage, in [0, 1].
        gpu_hours: Of one GPU; None without any, or where it cannot be predicted.
        wall_hours: From the first to the last pair; None where it cannot be predicted.
        read_bytes: From the store.
        written_bytes: To the store.
        peak_bytes: Of a process that does the largest pair of the sample: a fresh one, and one that
            has done others before, which does not give all of their memory back.
        peak_pair: That pair.
    """

    cpu_hours: Range
    shares: dict[Stage, float]
    gpu_hours: Range | None
    wall_hours: Range | None
    read_bytes: Range
    written_bytes: Range
    peak_bytes: tuple[float, float]
    peak_pair: Looked


@dataclass(frozen=True)
class Plan:
    """What would happen.

    Attributes:
        manifest_url: Of the archive.
        run: What would be computed.
        machines: What it would have.
        sample: What was looked at.
        model: What the costs follow from; None if no pair of the sample can be done.
        costs: Likewise.
    """

    manifest_url: str
    run: RunConfig
    machines: Machines
    sample: Sample
    model: CostModel | None
    costs: Costs | None

    def to_json(self) -> dict[str, Any]:
        """For ``--json``; hours, bytes."""
        sample, model = self.sample, self.model
        return {
            "manifest": self.manifest_url,
            "preset": self.run.preset,
            "fingerprint": self.run.fingerprint,
            "pairs": sample.pairs,
            "sampled": sample.size,
            "problems": [asdict(problem) for problem in sample.problems],
            "failing_pairs": asdict(sample.failing),
            "cameras": dict(sample.cameras),
            "cpus": self.machines.cpus,
            "gpus": self.machines.gpus,
            "model": model and {**asdict(model), "age_days": model.age.days},
            "costs": self.costs and asdict(self.costs),
        }


def make_plan(
    manifest_url: str,
    run: RunConfig,
    machines: Machines,
    sample: tuple[int, int],
    model_of: Callable[[Kind, bool], CostModel],
    how: Cut | None = None,
) -> Plan:
    """Look at a sample of an archive and reckon what all of it takes.

    Args:
        manifest_url: Parquet manifest, or a folder.
        run: What to compute.
        machines: What the run would have.
        sample: Pairs to look at, and the seed that chooses them.
        model_of: What pairs of a kind cost here; the second argument is whether a GPU does it.
        how: How a folder is cut into stacks; None is by names.

    Raises:
        ManifestError: if the manifest cannot be used.
        ConfigError: if the composition cannot be measured.
        StorageError: if nothing can be read.
    """
    seen = take_sample(pairs_of(manifest_url, how), run, *sample)
    if not seen.looked:
        return Plan(manifest_url, run, machines, seen, None, None)
    model = model_of(seen.kind, machines.gpus > 0 and machines.has_gpu)
    costs = predict(seen, model, machines, run.fusion.scale)
    return Plan(manifest_url, run, machines, seen, model, costs)


def take_sample(pairs: Sequence[Pair], run: RunConfig, size: int, seed: int) -> Sample:
    """Look at some of the pairs; the same seed takes the same ones.

    Raises:
        ConfigError: if the size is less than 1.
        StorageError: if nothing can be read.
    """
    if size < 1:
        raise ConfigError(f"--sample must be >= 1, got {size}")
    chosen = random.Random(seed).sample(pairs, min(size, len(pairs)))
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        seen = list(threads.map(lambda pair: look(pair, run), chosen))
    looked = tuple(one for one in seen if isinstance(one, Looked))
    problems = tuple(one for one in seen if isinstance(one, Problem))
    return Sample(len(pairs), looked, problems, Counter(pair.camera or "" for pair in pairs))


def predict(sample: Sample, model: CostModel, machines: Machines, scale: int) -> Costs:
    """The costs of the archive that the sample is taken from."""
    seconds = {stage: _values(sample, model.seconds[stage]) for stage in Stage}
    on_gpu = machines.gpus > 0
    known = not on_gpu or model.device != "cpu"
    cpu_stages = [stage for stage in Stage if not (on_gpu and stage is Stage.RECONSTRUCT)]
    per_pair_s = np.sum([seconds[stage] for stage in cpu_stages], axis=0)
    cpu_hours = _of_archive(per_pair_s / 3600, sample, _error(model, seconds, cpu_stages))
    gpu_hours = None
    if on_gpu and known:
        error = _error(model, seconds, [Stage.RECONSTRUCT])
        gpu_hours = _of_archive(seconds[Stage.RECONSTRUCT] / 3600, sample, error)
    longest_s = float(np.max(np.sum(list(seconds.values()), axis=0)))
    peaks = np.max([_values(sample, model.peak_bytes[stage]) for stage in Stage], axis=0)
    return Costs(
        cpu_hours=cpu_hours,
        shares=_shares({stage: seconds[stage] for stage in Stage if known or stage in cpu_stages}),
        gpu_hours=gpu_hours,
        wall_hours=_wall(machines, cpu_hours, gpu_hours, longest_s / 3600) if known else None,
        read_bytes=_of_archive(_read_bytes(sample, model), sample, _LEAST_ERROR),
        written_bytes=_of_archive(_written(sample, model, scale), sample, _COMPRESSION_ERROR),
        peak_bytes=(float(peaks.max()), _REUSED * float(peaks.max())),
        peak_pair=sample.looked[int(peaks.argmax())],
    )


def _kind(looked: Looked) -> Kind:
    """What is measured in place of a pair: formats that are not written count as PNG or TIFF."""
    head = looked.header
    dtype = head.dtype if head.dtype in _DTYPES else "float32"
    extension = _EXTENSIONS.get(head.format, "png")
    return Kind(extension if dtype in _DTYPES else "tiff", head.channels, dtype, looked.truths)


def _values(sample: Sample, line: Callable[[int, float], float]) -> Any:  # noqa: ANN401 - array
    return np.array([line(one.frames, one.frame_mp) * one.images for one in sample.looked])


def _error(model: CostModel, seconds: dict[Stage, Any], stages: Sequence[Stage]) -> float:
    """Relative error of the model for these stages together."""
    weights = [float(seconds[stage].sum()) for stage in stages]
    errors = [model.seconds[stage].error for stage in stages]
    return max(_LEAST_ERROR, float(np.average(errors, weights=weights)))


def _of_archive(per_pair: Any, sample: Sample, error: float) -> Range:  # noqa: ANN401 - array
    """Total of all pairs that can be done, from those of the sample."""
    failing = sample.failing
    missed = 1 - sample.size / sample.pairs  # nothing is unknown of what was seen
    spread = float(per_pair.std(ddof=1)) if len(per_pair) > 1 else float(per_pair[0])
    mean, count = float(per_pair.mean()), sample.pairs - failing.mid
    unsure = _DEVIATIONS * spread / math.sqrt(len(per_pair)) / mean * math.sqrt(missed)
    unsure = math.hypot(unsure, (failing.high - failing.low) / 2 / count)
    return Range.about(mean * count, math.hypot(error, unsure))


def _wall(machines: Machines, cpu_hours: Range, gpu_hours: Range | None, longest_h: float) -> Range:
    """Whichever has most to do, and no less than the longest pair."""
    found = cpu_hours.times(1 / machines.cpus)
    if gpu_hours is not None:
        on_gpu = gpu_hours.times(1 / machines.gpus)
        found = max(found, on_gpu, key=lambda one: one.mid)
    return Range(*(max(longest_h, hours) for hours in (found.low, found.mid, found.high)))


def _shares(seconds: dict[Stage, Any]) -> dict[Stage, float]:
    total = sum(float(values.sum()) for values in seconds.values())
    return {stage: float(values.sum()) / total for stage, values in seconds.items()}


def _read_bytes(sample: Sample, model: CostModel) -> Any:  # noqa: ANN401 - array
    return np.array(
        [model.reads * one.source_bytes + _TRUTH_READS * one.truth_bytes for one in sample.looked]
    )


def _written(sample: Sample, model: CostModel, scale: int) -> Any:  # noqa: ANN401 - array
    decoded = [
        1e6 * one.frame_mp * scale**2 * one.header.channels * np.dtype(one.header.dtype).itemsize
        for one in sample.looked
    ]
    return model.written_share * np.array(decoded)
