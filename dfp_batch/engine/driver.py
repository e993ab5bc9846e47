"""The driver: reads the manifest, takes the run, moves every pair, leaves the summary."""

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from dfp_batch.archive.cuts import Cut
from dfp_batch.config.run_config import RunConfig, config_of, renamed
from dfp_batch.engine.archive_kernel import with_archive_kernel
from dfp_batch.engine.breaker import Breaker
from dfp_batch.engine.executor import Executor
from dfp_batch.engine.floor_sample import FIRST, CompareFloor, is_compared
from dfp_batch.engine.intake import first_pairs, pairs_of
from dfp_batch.engine.isolated import Cluster, IsolatedExecutor
from dfp_batch.engine.progress import PATIENCE, Patience
from dfp_batch.engine.scheduler import Scheduler, Todo
from dfp_batch.engine.signals import Signals, stop_signals
from dfp_batch.engine.telemetry import Telemetry
from dfp_batch.engine.verify import verify
from dfp_batch.errors import (
    ConfigError,
    ExecutorLostError,
    RunHeldError,
    RunStoppedError,
    StorageError,
)
from dfp_batch.io import credentials, storage, urls
from dfp_batch.runs import access
from dfp_batch.runs.attempts import PairRecord, deaths, read_attempts, visible
from dfp_batch.runs.compaction import compact_session
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.run_directory import differences, read_pairs
from dfp_batch.runs.status import Counts, RunStatus

POLL_S = 1.0
STILL_S = 30.0
LOSSES = 3  # of Ray, without a row in between
SHOWN_CHANGES = 3


@dataclass(frozen=True)
class Submission:
    """What the user asked for.

    Attributes:
        manifest_url: Parquet manifest, or a folder that is looked through when the run begins.
        output_url: Run directory.
        config: What to compute; a run that was asked for the same goes on as it began.
        append: Parquet manifest or folder of further pairs, which the run has from now on.
        limit: Only the first pairs of the run; None is all.
        address: Of a Ray cluster; None starts Ray on this machine.
        gpus_per_pair: GPUs, or share of one, for each pair; None is one where there are GPUs as
            the run begins.
        max_failure_rate: Of finished pairs, beyond which the run stops.
        takeover: Take the run even from a driver that seems alive.
        retry_quarantined: Try pairs again whose process died twice.
        until: When the run is to stop, with a time zone; None is when it is done.
        verify: Read all results again before, and do anew what is missing or changed.
        compare_floor: Which pairs are compared with the classical floor.
        cut: How a folder is cut into stacks; None is by names.
        anonymous: Read sources without credentials, also in later sessions.
        notify: URL that is told how the session has ended.
        patience: With processes that do not answer.
    """

    manifest_url: str
    output_url: str
    config: RunConfig
    append: str | None = None
    limit: int | None = None
    address: str | None = None
    gpus_per_pair: float | None = None
    max_failure_rate: float = 0.2
    takeover: bool = False
    retry_quarantined: bool = False
    until: datetime | None = None
    verify: bool = False
    compare_floor: CompareFloor = "sample"
    cut: Cut | None = None
    anonymous: bool = False
    notify: str | None = None
    patience: Patience = PATIENCE

    def with_known_kernel(
        self, pairs: Sequence[Pair], noted: Callable[[str], None]
    ) -> "Submission":
        """With what ``--kernel auto`` stands for in this run."""
        known = with_archive_kernel(self.config, self.output_url, pairs, noted)
        return replace(self, config=known)


@dataclass(frozen=True)
class Observer:
    """What the driver tells the one who watches.

    Attributes:
        connected: Called once with the URL of the dashboard, or "".
        moved: Called about once a second with the counts.
        noted: Called with a line of text when there is something to say.
    """

    connected: Callable[[str], None]
    moved: Callable[[Counts], None]
    noted: Callable[[str], None] = lambda _: None


def submit(submission: Submission, observer: Observer) -> RunStatus:
    """Run what is left of a run, to the end or to a reason to stop.

    Raises:
        ManifestError, ConfigError, RunHeldError: before anything runs.
        RunStoppedError: in the middle; the same submission goes on from there.
    """
    url, how = submission.output_url, submission.cut
    access.open_run(url, submission.anonymous, submission.config.align_from)
    pairs = first_pairs(submission.manifest_url, how, url, observer.noted)
    more = pairs_of(submission.append, how) if submission.append else []
    with (
        stop_signals() as signals,
        _opened(submission, pairs, observer, signals) as ledger,
    ):
        submission = _as_begun(submission, ledger, observer)
        if submission.append:
            observer.noted(f"{ledger.append_pairs(more, submission.append)} pairs appended")
        everything = read_pairs(url, known=pairs)
        submission = submission.with_known_kernel(everything, observer.noted)
        work_off(submission, everything[: submission.limit], ledger, observer, signals)
    return summarised(url)


def _opened(
    submission: Submission, pairs: list[Pair], observer: Observer, signals: Signals
) -> Ledger:
    """The session of a submission; what is there is verified before, if asked for."""
    run = (submission.output_url, submission.config, pairs, submission.takeover)
    if submission.verify:
        said_at = time.monotonic()

        def moved(done: int, total: int) -> None:
            nonlocal said_at
            signals.check()
            if time.monotonic() - said_at > STILL_S:
                said_at = time.monotonic()
                observer.noted(f"verified: {done} of {total}")

        with Ledger.open(*run) as ledger:  # of its own: the next one does what it requeues
            found = verify(ledger, with_sources=False, moved=moved)
        for line in found.lines():
            observer.noted(line)
    return Ledger.open(*run)


def work_off(
    submission: Submission,
    chosen: list[Pair],
    ledger: Ledger,
    observer: Observer,
    signals: Signals,
) -> None:
    """Run what is left of the chosen pairs.

    Raises:
        RunStoppedError: in the middle.
    """
    _run(_Session(submission, ledger, observer, signals, chosen))
    try:
        compact_session(ledger)
    except StorageError as error:  # the run is done, and its rows are there
        observer.noted(f"results/ stays as it is, in many files: {error}")


def summarised(url: str) -> RunStatus:
    """The status of a run, which is left as its summary."""
    status = RunStatus.read(url)
    summary = json.dumps(status.to_json(), indent=1).encode()
    storage.write_bytes(urls.join(url, "summary.json"), summary)
    return status


def _as_begun(submission: Submission, ledger: Ledger, observer: Observer) -> Submission:
    """With the configuration of the run, whatever the defaults are today."""
    changed = differences(renamed(ledger.values), submission.config.values())
    if not changed:
        return submission
    more = f"; and {len(changed) - SHOWN_CHANGES} more" if len(changed) > SHOWN_CHANGES else ""
    observer.noted(
        "goes on with the configuration of run.json, not with today's defaults: "
        f"{'; '.join(changed[:SHOWN_CHANGES])}{more}"
    )
    return replace(submission, config=config_of(ledger.values))


def what_is_left(
    url: str, pairs: list[Pair], epoch: int, retry_quarantined: bool
) -> tuple[list[Todo], Counts]:
    """Pairs without an ``ok`` row, those that failed before last; quarantined ones if asked for."""
    attempts = read_attempts(url, ["category"])
    rows = visible(attempts)
    status = dict(zip(rows["pair_id"].to_pylist(), rows["status"].to_pylist(), strict=True))
    states = Counter(status.get(pair.pair_id) for pair in pairs)
    counts = Counts(len(pairs), ok=states["ok"])
    finished = {"ok"} if retry_quarantined else {"ok", "quarantined"}
    counts.quarantined = 0 if retry_quarantined else states["quarantined"]
    died = deaths(attempts)
    todo = [
        Todo(pair, died.get(pair.pair_id, 0), pair.pair_id in status, adopt=epoch > 1)
        for pair in pairs
        if status.get(pair.pair_id) not in finished
    ]
    return sorted(todo, key=lambda one: one.tried), counts


@contextmanager
def _executor(session: "_Session") -> Iterator[Executor]:
    """Ray in a process of its own, unless this process has joined a cluster already."""
    submission, observer = session.submission, session.observer
    run, url, gpus = submission.config, submission.output_url, submission.gpus_per_pair
    if _is_joined():
        from dfp_batch.engine.ray_executor import RayExecutor  # noqa: PLC0415 - it is loaded

        observer.connected("")
        with closing(RayExecutor(run, url, gpus, submission.patience)) as joined:
            yield joined
        return
    anonymous = credentials.uses_no_credentials()
    cluster = Cluster(run, url, submission.address, gpus, submission.patience, anonymous)
    with IsolatedExecutor(cluster, lambda: session.signals.name) as isolated:
        observer.connected(isolated.dashboard_url)
        yield isolated


@dataclass
class _Session:
    """One driver on one run.

    Attributes:
        attempts: Made in this session, by pair.
        rows: Written in this session.
    """

    submission: Submission
    ledger: Ledger
    observer: Observer
    signals: Signals
    pairs: list[Pair]
    attempts: dict[str, int] = field(default_factory=dict)
    rows: int = 0

    def left(self) -> tuple[list[Todo], Counts]:
        """What is to do now."""
        submission, epoch = self.submission, self.ledger.epoch
        todo, counts = what_is_left(
            submission.output_url, self.pairs, epoch, submission.retry_quarantined
        )
        made = self.attempts
        for one in todo:
            if one.pair.pair_id in made:
                one.attempts, one.adopt = made[one.pair.pair_id], True
        self._choose_compared(todo)
        return todo, counts

    def _choose_compared(self, todo: list[Todo]) -> None:
        mode, seed = self.submission.compare_floor, self.submission.config.fusion.seed
        first = {pair.pair_id: place for place, pair in enumerate(self.pairs[:FIRST])}
        for one in todo:
            place = first.get(one.pair.pair_id, FIRST)
            one.compare_floor = is_compared(mode, place, one.pair.pair_id, seed)

    def record(self, row: PairRecord) -> None:
        """Take the row of an attempt."""
        self.ledger.append(row)
        self.attempts[row.pair_id] = row.attempt
        self.rows += 1


def _run(session: _Session) -> None:
    """Run what is left; where Ray is lost, with another one, as long as that gets anywhere."""
    losses, rows, lost = 0, 0, None
    while True:
        todo, counts = session.left()
        if not todo:
            return
        try:
            with _executor(session) as executor:
                _drive(session, todo, counts, executor)
            return
        except ExecutorLostError as error:
            losses = 1 if session.rows > rows else losses + 1
            rows, lost = session.rows, error
            if losses >= LOSSES or _is_joined():
                raise
            session.observer.noted(f"{error}; starting again")
        except ConfigError as error:
            if lost is None:
                raise
            raise RunStoppedError(f"{lost}, and {error}") from error


def _drive(session: _Session, todo: list[Todo], counts: Counts, executor: Executor) -> None:
    submission, ledger, observer = session.submission, session.ledger, session.observer

    telemetry = Telemetry(submission.output_url, counts, time.time())

    def record(row: PairRecord) -> None:
        session.record(row)
        counts.note(row)
        telemetry.note(row)

    breaker = Breaker(submission.max_failure_rate)
    rng, patience = random.Random(), submission.patience
    scheduler = Scheduler(todo, executor, record, time.time, rng, breaker, patience)
    said_at = 0.0
    try:
        while not scheduler.done:
            session.signals.check()
            _keep_time(scheduler, submission.until)
            scheduler.step(POLL_S)
            counts.running = scheduler.in_flight
            observer.moved(counts)
            ledger.tick(scheduler.in_flight, scheduler.under_way)
            if figures := telemetry.due(time.time(), scheduler.in_stages):
                executor.show(figures)
            if _is_still(scheduler) and time.monotonic() - said_at > STILL_S:
                said_at = time.monotonic()
                observer.noted(_still(scheduler, executor))
    except RunHeldError:
        ledger.close()  # who took over waits for it
        raise
    finally:
        with suppress(StorageError):  # tried again at the very end
            ledger.flush()  # before Ray is ended, which takes a while
        with suppress(ExecutorLostError):
            executor.show(telemetry.last(time.time()))


def _is_joined() -> bool:
    """Whether this process has joined a cluster itself."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _keep_time(scheduler: Scheduler, until: datetime | None) -> None:
    """Begin nothing that would not end in time, and end in time."""
    if until is None:
        return
    left_s = until.timestamp() - time.time()
    if left_s <= 0:
        raise RunStoppedError("stopped: the time is up; the same command goes on from here")
    if left_s < scheduler.typical_s:
        scheduler.stop(
            f"stopped: {left_s:.0f} s were left and a pair takes {scheduler.typical_s:.0f} s; the "
            "same command goes on from here"
        )


def _is_still(scheduler: Scheduler) -> bool:
    """Whether nothing gets on; a pair may take long as long as it gives signs of life."""
    return scheduler.still_s > STILL_S and scheduler.begun == 0


def _still(scheduler: Scheduler, executor: Executor) -> str:
    return (
        f"nothing has run for {scheduler.still_s:.0f} s: {scheduler.unbegun} pairs wait for room "
        f"on the cluster ({executor.explain()})"
    )
