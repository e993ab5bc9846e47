"""Scale without a cluster: a million pairs through the driver, on 1,000 nodes that are simulated.

Usage: python jobs/benchmark_engine.py [--rows 1000000] [--folder DIR] [--profile]

Manifest, ledger and scheduler are the real ones, on the local disk; only the executor is not: it
knows how long a stage takes, by a clock that jumps from one end of a stage to the next, and leaves
rows with all columns. Every phase has a process of its own. Prints a table, then JSON.

======  ======================================================================================
Phase   What it does
======  ======================================================================================
begin   What ``submit`` does, from nothing; half of the pairs, then it stops as with ``--until``.
status  ``RunStatus.read`` of that half.
resume  ``submit`` again, to the end, and parts put together.
ended   ``RunStatus.read`` of the whole.
======  ======================================================================================

``first_s`` is wall time until the first stage is handed over, ``first_cpu_s`` the CPU time of it;
``ms_per_pair`` the driver's CPU time (threads included) from there to the last row, per pair;
``peak_gb`` the largest resident memory of the process. ``fill`` is from the first stage until all
GPUs are busy, ``drain`` from the last pair begun to the last row: ``virtual_s`` by the clock of the
cluster, ``cpu_s`` of the driver. Parts are written by the clock on the wall, which is slower: they
hold more rows than those of a real cluster would.
"""

import argparse
import cProfile
import heapq
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from dfp_batch.config.run_config import run_config
from dfp_batch.engine.breaker import Breaker
from dfp_batch.engine.driver import POLL_S, what_is_left
from dfp_batch.engine.executor import Completion, Work
from dfp_batch.engine.progress import Pulse
from dfp_batch.engine.scheduler import Scheduler, Todo
from dfp_batch.engine.stages import Report, Stage
from dfp_batch.engine.telemetry import Figures
from dfp_batch.errors import RunStoppedError
from dfp_batch.runs.attempts import METRIC_COLUMNS, PairRecord, parts
from dfp_batch.runs.compaction import compact_session
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import read_manifest
from dfp_batch.runs.run_directory import read_pairs
from dfp_batch.runs.status import Counts, RunStatus

NODES, CPUS_PER_NODE, GPUS = 1000, 16, 1000
MEMORY_BYTES = NODES * 16 * 10**9
PAIR_BYTES = 200 * 10**6
SECONDS = {Stage.PREPARE: 20.0, Stage.RECONSTRUCT: 30.0, Stage.PUBLISH: 20.0}
PHASES = ("begin", "status", "resume", "ended")
BARS = {"first_s": 30.0, "ms_per_pair": 2.0, "peak_gb": 2.0, "status_s": 5.0}
RESUME_S = 60.0
_PER_ROW_GROUP = 100_000
_PUBLISHED: Mapping[str, Any] = {
    "output_url": "s3://results/run/outputs/some-pair/fused.png",
    "output_sha256": "0" * 64,
    "output_bytes": 10**7,
    "width_px": 4000,
    "height_px": 3000,
    "bit_depth": 8,
    "n_sources": 2,
    "source_versions": ["1000000 etag:0123456789abcdef0123456789abcdef"] * 2,
    "align_flags": ["ok"] * 2,
    "device": "NVIDIA H100",
    **dict.fromkeys(METRIC_COLUMNS, 1.5),
}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", help="for the run; a temporary one when absent")
    parser.add_argument("--profile", action="store_true", help="leave PHASE.prof in the folder")
    parser.add_argument("--phase", choices=PHASES, help="one phase in this process")
    options = parser.parse_args()
    if options.phase:
        print(json.dumps(_measured(options.phase, Path(options.folder), options.profile)))
        return
    with nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder), options.rows)
        report = {phase: _in_new_process(phase, folder, options.profile) for phase in PHASES}
    _print_table(report)
    print(json.dumps({"rows": options.rows, **report}, indent=1))


def write_rows(folder: Path, rows: int) -> None:
    """A manifest of pairs in an object store, which nobody will open."""
    schema = pa.schema([("pair_id", pa.string()), ("sources", pa.list_(pa.string()))])
    folder.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(folder / "manifest.parquet", schema) as writer:
        for begin in range(0, rows, _PER_ROW_GROUP):
            numbers = range(begin, min(rows, begin + _PER_ROW_GROUP))
            ids = [f"scene-{number:07d}" for number in numbers]
            ends = ("near.tif", "far.tif")
            urls = [[f"s3://archive/2026/{name}/{end}" for end in ends] for name in ids]
            writer.write_table(pa.table([ids, urls], schema))


def _in_new_process(phase: str, folder: str, profile: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--phase", phase, "--folder", folder]
    command += ["--profile"] * profile
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _measured(phase: str, folder: Path, profile: bool) -> dict[str, Any]:
    work = {"begin": _begin, "status": _status, "resume": _resume, "ended": _status}[phase]
    profiler = cProfile.Profile() if profile else None
    with profiler or nullcontext():
        report = work(folder)
    if profiler:
        profiler.dump_stats(folder / f"{phase}.prof")
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**report, "peak_gb": round(peak_bytes / 1e9, 2)}


def _begin(folder: Path) -> dict[str, Any]:
    return _session(folder, 0.5)


def _resume(folder: Path) -> dict[str, Any]:
    return _session(folder, 1.0)


def _status(folder: Path) -> dict[str, Any]:
    start, before = time.perf_counter(), time.process_time()
    status = RunStatus.read(_run(folder))
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - before
    told = {"ok": status.ok, "pending": status.pending, "total": status.total}
    took = {"status_s": round(seconds, 2), "status_cpu_s": round(cpu_s, 2)}
    return {**took, **told, "parts": len(parts(_run(folder)))}


def _run(folder: Path) -> str:
    return str(folder / "run")


# A session


class VirtualCluster:
    """Runs nothing: a stage ends when its time has come, by a clock that jumps to it.

    Attributes:
        now: Seconds since the epoch of Unix.
        busy: Stages that run.
        begun: Attempts that have begun.
        first_at: When the first did, on this machine (``time.perf_counter``).
    """

    memory_bytes = MEMORY_BYTES

    def __init__(self, now: float) -> None:
        self.now = now
        self._rng = random.Random(0)
        self._ends: list[tuple[float, int]] = []
        self._running: dict[int, tuple[Stage, float]] = {}
        self._pulses: dict[int, Pulse] = {}
        self.busy: Counter[Stage] = Counter()
        self.begun = 0
        self.first_at = 0.0

    def capacity(self, stage: Stage) -> int:
        """As many as there are GPUs or CPUs."""
        return GPUS if stage is Stage.RECONSTRUCT else NODES * CPUS_PER_NODE

    def explain(self) -> str:
        """For a message to people."""
        return f"{NODES} nodes"

    def start(self, work: Work) -> None:
        """It begins at once."""
        self.first_at = self.first_at or time.perf_counter()
        self.busy[work.stage] += 1
        self.begun += work.stage is Stage.PREPARE
        self._running[work.number] = (work.stage, self.now)
        seconds = SECONDS[work.stage] * self._rng.uniform(0.5, 1.5)
        ends_at = self.now + seconds
        self._pulses[work.number] = Pulse(self.now, ends_at, 3600.0)
        heapq.heappush(self._ends, (ends_at, work.number))

    def wait(self, timeout_s: float) -> list[Completion]:
        """Jump to the next end, if it is not too far."""
        next_end = self._ends[0][0] if self._ends else self.now + timeout_s
        self.now = max(self.now, min(next_end, self.now + timeout_s))
        return list(self._ended())

    def _ended(self) -> Iterator[Completion]:
        while self._ends and self._ends[0][0] <= self.now:
            _, number = heapq.heappop(self._ends)
            stage, began_at = self._running.pop(number)
            self.busy[stage] -= 1
            del self._pulses[number]
            facts = {"node": "node", "peak_rss_bytes": 10**9}
            facts |= _PUBLISHED if stage is Stage.PUBLISH else {}
            held = 0 if stage is Stage.PUBLISH else PAIR_BYTES
            seconds = self.now - began_at
            yield Completion(number, Report(stage, began_at, seconds, facts, value_bytes=held))

    def pulses(self) -> Mapping[int, Pulse]:
        """Everything is alive, and will be until its end."""
        return self._pulses

    def cancel(self, number: int) -> None:
        """Nothing is ever overdue."""

    def kill(self, number: int) -> None:
        """Nor frozen."""

    def drop(self, number: int) -> None:
        """It holds nothing."""

    def show(self, figures: Figures) -> None:
        """To nobody."""


class _Gauge:
    """What is seen of a session from outside.

    Args:
        cluster: That it runs on.
    """

    def __init__(self, cluster: VirtualCluster) -> None:
        self._cluster = cluster
        self._began = self._now()
        self._last: tuple[float, float] | None = None
        self.seen: dict[str, Any] = {"most_in_flight": 0}

    def look(self, in_flight: int, is_ending: bool) -> None:
        """After every step; at the end no further pair begins."""
        self.seen["most_in_flight"] = max(self.seen["most_in_flight"], in_flight)
        if is_ending and self._last is None:
            self._last = self._now()
        if self._cluster.busy[Stage.RECONSTRUCT] == GPUS and "fill" not in self.seen:
            self.seen["fill"] = self._since(self._began)

    def end(self, pairs: int) -> dict[str, Any]:
        """After the last row."""
        whole = self._since(self._began)
        each = {"ms_per_pair": round(whole["cpu_s"] / pairs * 1e3, 3)}
        drain = self._since(self._last or self._began)
        return {"pairs": pairs, **each, **self.seen, "drain": drain, "all": whole}

    def _now(self) -> tuple[float, float]:
        return self._cluster.now, time.process_time()

    def _since(self, then: tuple[float, float]) -> dict[str, float]:
        virtual_s, cpu_s = (now - before for now, before in zip(self._now(), then, strict=True))
        return {"virtual_s": round(virtual_s, 1), "cpu_s": round(cpu_s, 2)}


def _session(folder: Path, share: float) -> dict[str, Any]:
    """As ``submit``, until a share of the pairs is done."""
    start, before, url = time.perf_counter(), time.process_time(), _run(folder)
    config = run_config("classical", None, {})
    pairs = read_manifest(str(folder / "manifest.parquet"))
    with Ledger.open(url, config, pairs) as ledger:
        pairs = read_pairs(url, known=pairs)
        todo, counts = what_is_left(url, pairs, ledger.epoch, retry_quarantined=False)
        del pairs
        cluster, first_cpu_s = VirtualCluster(time.time()), round(time.process_time() - before, 2)
        gauge, done_before = _Gauge(cluster), counts.ok
        _drive(cluster, todo, counts, ledger, gauge, round(share * counts.total))
        report = {"first_s": round(cluster.first_at - start, 2), "first_cpu_s": first_cpu_s}
        report |= gauge.end(counts.ok - done_before)
        report["parts"] = len(parts(url))
        start = time.perf_counter()
        compact_session(ledger)
    return {**report, "compact_s": round(time.perf_counter() - start, 2)}


def _drive(
    cluster: VirtualCluster,
    todo: list[Todo],
    counts: Counts,
    ledger: Ledger,
    gauge: "_Gauge",
    until: int,
) -> None:
    """As the driver does, until so many are done."""

    def record(row: PairRecord) -> None:
        ledger.append(row)
        counts.note(row)

    rng = random.Random(0)
    scheduler = Scheduler(todo, cluster, record, lambda: cluster.now, rng, Breaker())
    with suppress(RunStoppedError):
        while not scheduler.done:
            scheduler.step(POLL_S)
            enough = counts.ok >= until
            gauge.look(scheduler.in_flight, enough or cluster.begun == len(todo))
            ledger.tick(scheduler.in_flight)
            if enough:
                scheduler.stop("so many were asked for")
    ledger.flush()


def _print_table(report: dict[str, dict[str, Any]]) -> None:
    table = Table("phase", "what", "value", "bar")
    for phase, values in report.items():
        for name, value in values.items():
            bar = RESUME_S if (phase, name) == ("resume", "first_s") else BARS.get(name)
            text = json.dumps(value) if isinstance(value, dict) else str(value)
            table.add_row(phase, name, text, "" if bar is None else f"<= {bar:g}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
