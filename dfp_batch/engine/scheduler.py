"""The state machine of a run: which pair does what next. No Ray, no clock of its own.

::

    pending -> preparing -> prepared -> optimising -> optimised -> publishing -> row
       ^                                                              |
       '------ waiting (backoff) <----- any stage failed, worth another try

At most ``WINDOW`` prepared pairs per optimising slot are held, and no new ones beyond a number of
bytes, so the accelerator never waits and memory stays bounded however long the manifest is.
"""

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dfp_batch.engine.stages import Failure, Report, Stage
from dfp_batch.errors import Category, RunStoppedError
from dfp_batch.ledger import PairRecord, Status
from dfp_batch.manifest import Pair

WINDOW = 2
LETHAL_DEATHS = 2
ATTEMPTS: Mapping[Category, int] = {
    "input": 1,
    "transient": 4,
    "resource": 3,
    "crash": LETHAL_DEATHS,
    "timeout": 2,
    "fatal": 1,
}
BACKOFF_S, BACKOFF_LIMIT_S = 1.0, 60.0


@dataclass(eq=False)
class Item:
    """One pair on its way through the stages.

    Attributes:
        pair: What to do.
        deaths: How often its process died, in this and earlier sessions.
        attempt: Counted from 1 in this session.
        failures: Of this session, by category.
        handles: Values of the stages it has passed, opaque to the scheduler.
        reports: Of the stages of this attempt.
        held_bytes: Memory of the handles.
    """

    pair: Pair
    deaths: int = 0
    attempt: int = 1
    failures: Counter[Category] = field(default_factory=Counter)
    handles: dict[Stage, object] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    held_bytes: int = 0

    def again(self) -> "Item":
        """The next attempt, from the first stage."""
        return Item(self.pair, self.deaths, self.attempt + 1, self.failures)


@dataclass(frozen=True)
class Completion:
    """A stage of an item ended, well or not; ``handle`` is its value, for the next stage."""

    item: Item
    report: Report
    handle: object = None


class Executor(Protocol):
    """Runs stages somewhere."""

    def capacity(self, stage: Stage) -> int:
        """How many items may be in this stage at once, >= 1."""
        ...

    def start(self, stage: Stage, item: Item) -> None:
        """Begin a stage; its end comes out of ``wait``."""
        ...

    @property
    def memory_bytes(self) -> int:
        """How much the values between the stages may take together."""
        ...

    def wait(self, timeout_s: float) -> list[Completion]:
        """What has ended since, after at most ``timeout_s``."""
        ...


@dataclass
class Breaker:
    """Stops a run that is only burning money.

    Attributes:
        max_failure_rate: Of all finished pairs, looked at from ``AFTER`` pairs on.
    """

    max_failure_rate: float = 0.2
    finished: int = 0
    failed: int = 0
    alike: int = 0
    last: tuple[str, str] | None = None

    AFTER = 50
    ALIKE = 20

    def note(self, failure: Failure | None) -> None:
        """Count one finished pair.

        Raises:
            RunStoppedError: if too many failed, or too many in a row for one reason of ours.
        """
        self.finished += 1
        self.failed += failure is not None
        # Bad input is the archive's own matter and says nothing about the next pair.
        ours = failure if failure and failure.category != "input" else None
        kind = (ours.category, ours.error_type) if ours else None
        self.alike = 1 + self.alike * (kind == self.last) if kind else 0
        self.last = kind
        if self.finished >= self.AFTER and self.failed > self.max_failure_rate * self.finished:
            raise RunStoppedError(
                f"stopped: {self.failed} of {self.finished} pairs failed, more than "
                f"{self.max_failure_rate:.0%}; see the last errors, or raise --max-failure-rate"
            )
        if ours and self.alike >= self.ALIKE:
            raise RunStoppedError(
                f"stopped: {self.alike} pairs in a row failed alike; the last with "
                f"{ours.error_type} ({ours.category}): {ours.message}"
            )


class Scheduler:
    """Moves every pair through its stages and hands a record of every attempt to ``record``.

    Args:
        items: (pair, earlier deaths) in the order they should run.
        executor: Runs the stages.
        record: Takes the row of an attempt.
        clock: Seconds since the epoch of Unix.
        rng: For the jitter of the backoff.
        breaker: Stops the run when too much fails.
    """

    def __init__(
        self,
        items: Iterable[tuple[Pair, int]],
        executor: Executor,
        record: Callable[[PairRecord], None],
        clock: Callable[[], float],
        rng: random.Random,
        breaker: Breaker,
    ) -> None:
        self._todo = deque(items)
        self._executor = executor
        self._record = record
        self._clock = clock
        self._rng = rng
        self._breaker = breaker
        self._again: deque[Item] = deque()
        self._later: list[tuple[float, int, Item]] = []
        self._ready: dict[Stage, deque[Item]] = {Stage.OPTIMISE: deque(), Stage.PUBLISH: deque()}
        self._running: dict[Stage, int] = dict.fromkeys(Stage, 0)
        self._held_bytes = self._largest_bytes = 0
        self._tickets = 0

    @property
    def in_flight(self) -> int:
        """Pairs that have begun an attempt and not ended it."""
        return sum(self._running.values()) + sum(map(len, self._ready.values()))

    @property
    def done(self) -> bool:
        """Nothing runs, nothing waits, nothing is left."""
        return not (self.in_flight or self._later or self._again or self._todo)

    def step(self, timeout_s: float) -> None:
        """Start what fits and deal with what has ended.

        Raises:
            RunStoppedError: after a fatal failure or when the breaker opens.
        """
        self._start_what_fits()
        for completion in self._executor.wait(timeout_s):
            self._end_stage(completion)
        self._start_what_fits()

    def _start_what_fits(self) -> None:
        for stage in (Stage.PUBLISH, Stage.OPTIMISE):
            while self._ready[stage] and self._has_room(stage):
                self._start(stage, self._ready[stage].popleft())
        while self._wants_to_prepare() and (item := self._next()) is not None:
            self._start(Stage.PREPARE, item)

    def _has_room(self, stage: Stage) -> bool:
        return self._running[stage] < self._executor.capacity(stage)

    def _wants_to_prepare(self) -> bool:
        held = self._running[Stage.PREPARE] + len(self._ready[Stage.OPTIMISE])
        window = WINDOW * self._executor.capacity(Stage.OPTIMISE)
        # A store that cannot keep up must not pile up finished images either.
        clogged = len(self._ready[Stage.PUBLISH]) >= window
        # The size of a pair is known once it is prepared; before, it counts as the largest so far.
        expected = self._held_bytes + (self._running[Stage.PREPARE] + 1) * self._largest_bytes
        heavy = self.in_flight > 0 and expected > self._executor.memory_bytes
        return self._has_room(Stage.PREPARE) and held < window and not clogged and not heavy

    def _next(self) -> Item | None:
        while self._later and self._later[0][0] <= self._clock():
            self._again.append(heapq.heappop(self._later)[2])
        if self._todo:
            return Item(*self._todo.popleft())
        return self._again.popleft() if self._again else None

    def _start(self, stage: Stage, item: Item) -> None:
        self._running[stage] += 1
        self._executor.start(stage, item)

    def _end_stage(self, completion: Completion) -> None:
        item, report = completion.item, completion.report
        self._running[report.stage] -= 1
        item.reports.append(report)
        if report.failure is not None:
            self._fail(item, report.failure)
        elif report.stage is Stage.PUBLISH:
            self._finish(item, "ok", None)
        else:
            item.handles[report.stage] = completion.handle
            item.held_bytes += report.value_bytes
            self._held_bytes += report.value_bytes
            if report.stage is Stage.PREPARE:
                self._largest_bytes = max(self._largest_bytes, report.value_bytes)
            following = Stage.OPTIMISE if report.stage is Stage.PREPARE else Stage.PUBLISH
            self._ready[following].append(item)

    def _fail(self, item: Item, failure: Failure) -> None:
        item.handles.clear()
        item.deaths += failure.category == "crash"
        item.failures[failure.category] += 1
        quarantined = item.deaths >= LETHAL_DEATHS
        if not quarantined and item.failures[failure.category] < ATTEMPTS[failure.category]:
            self._write(item, "error", failure)
            self._tickets += 1
            due = self._clock() + self._backoff_s(item.attempt)
            heapq.heappush(self._later, (due, self._tickets, item.again()))
            return
        self._finish(item, "quarantined" if quarantined else "error", failure)
        if failure.category == "fatal":
            raise RunStoppedError(f"stopped at pair {item.pair.pair_id!r}: {failure.message}")

    def _backoff_s(self, attempt: int) -> float:
        """Exponential with full jitter."""
        return self._rng.uniform(0, min(BACKOFF_LIMIT_S, BACKOFF_S * 2**attempt))

    def _finish(self, item: Item, status: Status, failure: Failure | None) -> None:
        self._write(item, status, failure)
        self._breaker.note(failure)

    def _write(self, item: Item, status: Status, failure: Failure | None) -> None:
        """Hand over the row of an attempt, which ends here and holds nothing any more."""
        self._held_bytes -= item.held_bytes
        first, last = item.reports[0], item.reports[-1]
        facts: dict[str, Any] = {}
        for report in item.reports:
            facts |= report.facts | {f"t_{report.stage}_s": report.seconds}
        peaks = [report.facts.get("peak_rss_bytes", 0) for report in item.reports]
        self._record(
            PairRecord(
                pair_id=item.pair.pair_id,
                attempt=item.attempt,
                status=status,
                stage=last.stage,
                started_at=first.started_at,
                finished_at=self._clock(),
                category=failure.category if failure else None,
                error_type=failure.error_type if failure else None,
                error_message=failure.message if failure else None,
                facts=facts | {"peak_rss_bytes": max(peaks)},
            )
        )
