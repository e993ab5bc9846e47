"""What a pair costs here: seconds, memory and traffic of each stage, measured and kept.

A few procedural pairs of the archive's kind are done from end to end, each stage in a process of
its own with one thread. What was measured is kept in the user's cache until something changes.
"""

import hashlib
import json
import os
import pickle
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.optimize import nnls

import dfp_batch
from dfp_batch.config.run_config import RunConfig
from dfp_batch.core.contracts import Reconstruction
from dfp_batch.engine.attempt import Job, perform
from dfp_batch.engine.checks import truths
from dfp_batch.engine.executor import Work
from dfp_batch.engine.processes import fresh, use_one_thread
from dfp_batch.engine.progress import UNWATCHED
from dfp_batch.engine.stages import Stage
from dfp_batch.errors import ConfigError, ObjectMissingError
from dfp_batch.io import codec, storage
from dfp_batch.merging.row_bands import MOST_PX
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.placement import accelerator_of
from dfp_batch.pipeline.steps import choose_device
from dfp_batch.runs.manifest import Pair
from dfp_batch.synthetic import Scene, SceneSet, SceneSpec

KEPT = timedelta(days=30)
_WARM_UP = (2, 64)
POINTS = ((2, 224), (5, 224), (2, 320), (2, 448))  # frames, side of a source in px; ascending
_ITERATIONS = 15  # that are measured of a composition with many
_LEAST_IMAGES = 4  # in float32 and output size; measured for `fast`, a pair of 12 MP at x2
_IMAGES_BEYOND = 1  # likewise, of what lies beyond a band of rows; a pair of 50 MP: .9
_PX = 1e6
_LARGEST_MP = POINTS[-1][1] ** 2 / _PX

Point = tuple[int, float, float]  # frames, megapixels of one, value


@dataclass(frozen=True)
class Kind:
    """What pairs are like, their size apart.

    Attributes:
        extension: Of the files: png, jpg, tiff or webp.
        channels: 1 or 3.
        dtype: Of a sample: uint8, uint16 or float32.
        truths: Images at output size that a pair is measured with, 0 to 3.
    """

    extension: str
    channels: int
    dtype: str
    truths: int

    def __str__(self) -> str:
        colour = "grey" if self.channels == 1 else "colour"
        known = f", {self.truths} reference{'s' * (self.truths > 1)}" if self.truths else ""
        return f"{self.extension}, {colour}, {self.dtype}{known}"


@dataclass(frozen=True)
class Line:
    """``fixed + per_mp * MP + per_frame_mp * N * MP`` for N frames of MP megapixels each.

    Memory may grow more slowly from some size on, where images are worked on in bands of rows.

    Attributes:
        fixed: Of every pair.
        per_mp: Of a megapixel of a source, however many there are.
        per_frame_mp: Of a megapixel of every source.
        error: Largest deviation of what was measured, as a share of the value.
        band_mp: Megapixels of a source up to which ``per_mp`` holds; None: of all.
        per_mp_beyond: Of a megapixel more, in place of it.
    """

    fixed: float
    per_mp: float
    per_frame_mp: float
    error: float
    band_mp: float | None = None
    per_mp_beyond: float = 0.0

    def __call__(self, frames: int, mp: float) -> float:
        """Value for so many frames of so many megapixels each."""
        within = mp if self.band_mp is None else min(mp, self.band_mp)
        of_size = self.per_mp * within + self.per_mp_beyond * (mp - within)
        return self.fixed + of_size + self.per_frame_mp * frames * mp

    @classmethod
    def fit(cls, points: Sequence[Point]) -> "Line":
        """Least squares of the relative errors, nothing below 0."""
        frames, mp, value = np.array(points, np.float64).T
        terms = np.stack([np.ones_like(mp), mp, frames * mp], 1) / value[:, None]
        (fixed, per_mp, per_frame_mp), _ = nnls(terms, np.ones_like(value))
        off = terms @ [fixed, per_mp, per_frame_mp] - 1
        return cls(float(fixed), float(per_mp), float(per_frame_mp), float(np.abs(off).max()))


@dataclass(frozen=True)
class CostModel:
    """What was measured, of one composition and one kind of pairs.

    Attributes:
        measured_at: Date and time, ISO 8601.
        cpu: Name of the CPU.
        device: Name of the GPU that reconstructed, or "cpu".
        kind: Of the pairs.
        seconds: By stage: of one CPU, or for reconstruct of the GPU if there was one.
        peak_bytes: By stage: most memory of its process.
        reads: How often the files of the sources are read.
        written_share: Bytes written per byte of the decoded output.
    """

    measured_at: str
    cpu: str
    device: str
    kind: Kind
    seconds: dict[Stage, Line]
    peak_bytes: dict[Stage, Line]
    reads: float
    written_share: float

    @property
    def age(self) -> timedelta:
        """Since it was measured."""
        return datetime.now(UTC) - datetime.fromisoformat(self.measured_at)


_MODELS = TypeAdapter(dict[str, CostModel])


def cost_model(
    run: RunConfig,
    kind: Kind,
    uses_gpu: bool,
    again: bool = False,
    announce: Callable[[], None] = lambda: None,
) -> CostModel:
    """What was measured before, or else is measured now.

    Args:
        run: What to compute.
        kind: Of the pairs.
        uses_gpu: Whether the GPU of this machine reconstructs.
        again: Measure in any case.
        announce: Called before something is measured, which takes a while.

    Raises:
        ConfigError: if the composition fails on procedural pairs.
        StorageError: if the cache cannot be written.
    """
    device = torch.cuda.get_device_name() if uses_gpu else "cpu"
    run = replace(run, align_from=None)  # it names other pairs
    url, key = _cache_url(), _key(run, kind, device)
    models = _read_models(url)
    model = models.get(key)
    if model is None or again or model.age > KEPT:
        announce()
        model = measure(run, kind, device)
        young = {name: one for name, one in _read_models(url).items() if one.age <= KEPT}
        storage.write_bytes(url, _MODELS.dump_json({**young, key: model}, indent=1))
    return model


def _cache_url() -> str:
    folder = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return str(Path(folder) / "dfp-batch" / "model.json")


def _read_models(url: str) -> dict[str, CostModel]:
    """What is kept; nothing if another version has written it."""
    try:
        return _MODELS.validate_json(storage.read_bytes(url))
    except (ObjectMissingError, ValidationError):
        return {}


def _key(run: RunConfig, kind: Kind, device: str) -> str:
    what = [run.fingerprint, asdict(kind), device, cpu_name()]
    what += [dfp_batch.__version__, torch.__version__]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def cpu_name() -> str:
    """What Linux calls it; elsewhere what Python knows."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()


# Measuring


@dataclass(frozen=True)
class _Taken:
    """What one stage of one pair took."""

    seconds: float
    peak_bytes: int
    read_bytes: int
    written_bytes: int


def measure(run: RunConfig, kind: Kind, device: str) -> CostModel:
    """Do a few procedural pairs.

    Args:
        run: What to compute.
        kind: Of the pairs.
        device: "cpu" hides the GPU.

    Raises:
        ConfigError: if the composition fails on one of them.
    """
    fusion, repeats = shortened(run.fusion)
    run = replace(run, fusion=fusion)
    with tempfile.TemporaryDirectory() as folder:
        made = [_make_pair(folder, run, kind, *point) for point in (_WARM_UP, *POINTS)]
        source_bytes = sum(_stored_bytes(pair.sources) for pair in made)
        truth_bytes = sum(_stored_bytes(truths(pair)) for pair in made)
        accelerator = None if device == "cpu" else accelerator_of(choose_device(None))
        job = Job(run, f"{folder}/run", accelerator)
        taken: dict[Stage, list[_Taken]] = {}
        for stage in Stage:
            with fresh(1, _start_process, device) as process:
                taken[stage] = process.submit(_run_stage, stage, made, job, folder).result()
    read_bytes = sum(one.read_bytes for one in taken[Stage.PREPARE])
    written = sum(one.written_bytes for one in taken[Stage.PUBLISH])
    return CostModel(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu=cpu_name(),
        device=device,
        kind=kind,
        seconds={
            stage: _line(all_, _seconds, repeats if stage is Stage.RECONSTRUCT else 1)
            for stage, all_ in taken.items()
        },
        peak_bytes={
            stage: _memory_line(all_, run.fusion, kind.channels) for stage, all_ in taken.items()
        },
        reads=(read_bytes - truth_bytes) / source_bytes,
        written_share=written / _decoded_bytes(run, kind),
    )


def shortened(config: FusionConfig) -> tuple[FusionConfig, float]:
    """A composition with few iterations, and how often it makes up for the whole."""
    parts = {name: getattr(config, name) for name in ("refinement", "reconstruction")}
    counts = {name: part.iterations for name, part in parts.items()}
    total = sum(counts.values())
    if total <= _ITERATIONS:
        return config, 1.0
    fewer = {name: max(1, n * _ITERATIONS // total) for name, n in counts.items() if n}
    short: dict[str, Any] = {name: replace(parts[name], iterations=n) for name, n in fewer.items()}
    return replace(config, **short), total / sum(fewer.values())


def _make_pair(folder: str, run: RunConfig, kind: Kind, frames: int, side_px: int) -> Pair:
    """A pair whose frames have moved a little."""
    scale, name = run.fusion.scale, f"{frames}-{side_px}"
    spec = SceneSpec(frames=frames, shift_px=1.0, breathing=0.002)
    scene: Scene = SceneSet("procedural", spec, scale, side_px * scale, 1).scene(0)
    files = [_file(image, kind) for image in scene.sources]
    urls = [f"{folder}/{name}_{k}.{kind.extension}" for k in range(frames)]
    truth_urls = [f"{folder}/{name}_truth{k}.{kind.extension}" for k in range(kind.truths)]
    truth = _file(scene.truth, kind)
    for url, data in zip([*urls, *truth_urls], [*files, *[truth] * kind.truths], strict=True):
        storage.write_bytes(url, data)
    reference = truth_urls[0] if kind.truths in (1, 3) else None
    return Pair(name, tuple(urls), reference, tuple(truth_urls[-2:]) if kind.truths > 1 else None)


def _stored_bytes(paths: Iterable[str]) -> int:
    return sum(Path(path).stat().st_size for path in paths)


def _file(image: NDArray[np.float32], kind: Kind) -> bytes:
    """An image (3, h, w) in a file of this kind."""
    image = image if kind.channels == image.shape[0] else image.mean(0, keepdims=True)
    return codec.encode(codec.from_unit(image, np.dtype(kind.dtype)), kind.extension)


def _decoded_bytes(run: RunConfig, kind: Kind) -> float:
    """Of all results."""
    px = sum((run.fusion.scale * side) ** 2 for _, side in (_WARM_UP, *POINTS))
    return px * kind.channels * np.dtype(kind.dtype).itemsize


def _line(taken: Sequence[_Taken], value: Callable[[_Taken], float], repeats: float = 1) -> Line:
    """Fit what the pairs after the first, which warms the process up, have taken."""
    return Line.fit(
        [
            (frames, side * side / _PX, repeats * value(one))
            for (frames, side), one in zip(POINTS, taken[1:], strict=True)
        ]
    )


def _memory_line(taken: Sequence[_Taken], fusion: FusionConfig, channels: int) -> Line:
    """As ``_line``, where images are worked on as a whole; else what so small pairs cannot tell.

    Of those, the memory of a network grows until they fill its tiles, and no more: that is fixed.
    """
    line, image = _line(taken, _peak_bytes), 4 * fusion.scale**2 * channels * _PX
    if not _is_in_bands(fusion):
        return replace(line, per_mp=max(line.per_mp, _LEAST_IMAGES * image))
    in_tiles = max(0.0, line.per_mp - _LEAST_IMAGES * image) * _LARGEST_MP
    return replace(
        line,
        fixed=line.fixed + in_tiles,
        per_mp=_LEAST_IMAGES * image,
        band_mp=MOST_PX / _PX,
        per_mp_beyond=_IMAGES_BEYOND * image,
    )


def _is_in_bands(fusion: FusionConfig) -> bool:
    """Whether large images are merged in bands and enlarged in rows, as by all presets but paper.

    A merge of somebody else that makes them as a whole takes more than is said of it.
    """
    in_rows = type(fusion.reconstruction).in_rows is not Reconstruction.in_rows
    return in_rows and not (fusion.merge.needs_all or fusion.refinement.needs_all)


def _seconds(taken: _Taken) -> float:
    return taken.seconds


def _peak_bytes(taken: _Taken) -> float:
    return taken.peak_bytes


def _start_process(device: str) -> None:
    use_one_thread()
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _run_stage(stage: Stage, pairs: Sequence[Pair], job: Job, folder: str) -> list[_Taken]:
    """One stage of all pairs, one after the other."""
    works = [
        Work(number, stage, pair, compare_floor=False)  # as nearly all pairs of a run
        for number, pair in enumerate(pairs)
    ]
    return [_run_one(work, job, folder) for work in works]


def _run_one(work: Work, job: Job, folder: str) -> _Taken:
    """Seconds of the CPU, which a busy machine does not stretch, or of the clock for a GPU."""
    earlier = list(Stage)[: list(Stage).index(work.stage)]
    values = tuple(pickle.loads(_value_file(folder, work, stage).read_bytes()) for stage in earlier)
    before, cpu_s = replace(storage.TRAFFIC), time.process_time()
    report, value = perform(work, job, values, UNWATCHED)
    cpu_s = time.process_time() - cpu_s
    if report.failure is not None:
        raise ConfigError(
            f"this composition cannot be measured, {work.stage} fails on a procedural pair: "
            f"{report.failure.message}"
        )
    _value_file(folder, work, work.stage).write_bytes(pickle.dumps(value))
    on_gpu = work.stage is Stage.RECONSTRUCT and choose_device(None).type == "cuda"
    return _Taken(
        report.seconds if on_gpu else cpu_s,
        report.facts["peak_rss_bytes"],
        storage.TRAFFIC.read_bytes - before.read_bytes,
        storage.TRAFFIC.written_bytes - before.written_bytes,
    )


def _value_file(folder: str, work: Work, stage: Stage) -> Path:
    """What a stage of this pair has left, so that one pair at a time is in memory."""
    return Path(folder) / f"{stage}-{work.number}.pickle"
