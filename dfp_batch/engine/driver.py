"""The driver: reads the manifest, takes the run, moves every pair, leaves the summary."""

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import ray

from dfp_batch import storage
from dfp_batch.config import RunConfig
from dfp_batch.engine.cluster import connect
from dfp_batch.engine.ray_executor import RayExecutor, Slots
from dfp_batch.engine.scheduler import Breaker, Scheduler
from dfp_batch.errors import RunStoppedError
from dfp_batch.ledger import Ledger, PairRecord, deaths, read_attempts, visible
from dfp_batch.manifest import Pair, read_manifest
from dfp_batch.telemetry import Counts, RunStatus

POLL_S = 1.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Submission:
    """What the user asked for.

    Attributes:
        manifest_url: Parquet manifest.
        output_url: Run directory.
        config: What to compute.
        limit: Only the first pairs of the manifest; None is all.
        address: Of a Ray cluster; None starts Ray on this machine.
        gpus_per_pair: Share of a GPU for each pair; without GPUs it has no effect.
        max_failure_rate: Of finished pairs, beyond which the run stops.
        takeover: Take the run even from a driver that seems alive.
        retry_quarantined: Try pairs again whose process died twice.
    """

    manifest_url: str
    output_url: str
    config: RunConfig
    limit: int | None = None
    address: str | None = None
    gpus_per_pair: float = 1.0
    max_failure_rate: float = 0.2
    takeover: bool = False
    retry_quarantined: bool = False


@dataclass(frozen=True)
class Observer:
    """What the driver tells the one who watches.

    Attributes:
        connected: Called once with the URL of the dashboard, or "".
        moved: Called about once a second with the counts.
    """

    connected: Callable[[str], None]
    moved: Callable[[Counts], None]


def submit(submission: Submission, observer: Observer) -> RunStatus:
    """Run what is left of a run, to the end or to a reason to stop.

    Raises:
        ManifestError, ConfigError, RunHeldError: before anything runs.
        RunStoppedError: in the middle; the same submission goes on from there.
    """
    pairs = read_manifest(submission.manifest_url)
    url = submission.output_url
    with Ledger.open(url, submission.config, pairs, submission.takeover) as ledger:
        chosen = pairs[: submission.limit]
        left = what_is_left(url, chosen, submission.retry_quarantined)
        if left:
            with _stop_signals() as signals, _cluster(submission, observer, signals) as executor:
                _drive(submission, left, len(chosen), ledger, executor, observer, signals)
    status = RunStatus.read(url)
    summary = json.dumps(status.to_json(), indent=1).encode()
    storage.write_bytes(storage.join(url, "summary.json"), summary)
    return status


def what_is_left(url: str, pairs: list[Pair], retry_quarantined: bool) -> list[tuple[Pair, int]]:
    """Pairs without an ``ok`` row, with their numbers of deaths; quarantined ones if asked for."""
    attempts = read_attempts(url)
    rows = visible(attempts)
    status = dict(zip(rows["pair_id"].to_pylist(), rows["status"].to_pylist(), strict=True))
    finished = {"ok"} if retry_quarantined else {"ok", "quarantined"}
    died = deaths(attempts)
    return [
        (pair, died.get(pair.pair_id, 0))
        for pair in pairs
        if status.get(pair.pair_id) not in finished
    ]


@dataclass
class _Signals:
    """Name of the signal that asked the driver to stop, or ""."""

    name: str = ""

    def listen(self) -> None:
        for number in _STOP_SIGNALS:
            signal.signal(number, self.ask)

    def ask(self, number: int, _: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)  # the second one ends the process at once


@contextmanager
def _stop_signals() -> Iterator[_Signals]:
    asked = _Signals()
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    asked.listen()
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _cluster(
    submission: Submission, observer: Observer, signals: _Signals
) -> Iterator[RayExecutor]:
    with connect(submission.address) as connection:
        observer.connected(connection.url)
        signals.listen()  # Ray has put a handler of its own in place
        resources = ray.cluster_resources()
        slots = Slots.plan(
            int(resources.get("CPU", 0)), resources.get("GPU", 0), submission.gpus_per_pair
        )
        executor = RayExecutor(submission.config, submission.output_url, slots)
        try:
            yield executor
        finally:
            executor.close()


def _drive(
    submission: Submission,
    left: list[tuple[Pair, int]],
    total: int,
    ledger: Ledger,
    executor: RayExecutor,
    observer: Observer,
    signals: _Signals,
) -> None:
    counts = Counts(total, ok=total - len(left))

    def record(row: PairRecord) -> None:
        ledger.append(row)
        counts.note(row)

    breaker = Breaker(submission.max_failure_rate)
    scheduler = Scheduler(left, executor, record, time.time, random.Random(), breaker)
    while not scheduler.done:
        if signals.name:
            raise RunStoppedError(f"stopped by {signals.name}; the same command goes on from here")
        scheduler.step(POLL_S)
        counts.running = scheduler.in_flight
        observer.moved(counts)
        ledger.tick(scheduler.in_flight)
