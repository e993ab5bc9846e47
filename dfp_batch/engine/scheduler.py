"""The state machine of a run: which pair does what next. No Ray, no clock of its own.

::

    pending -> preparing -> prepared -> reconstructing -> reconstructed -> publishing -> row
       ^           |                                                  |
       |           '--> row, where an earlier attempt had left the result
       '------ waiting (backoff) <----- any stage failed, worth another try

Prepared pairs are held, two per reconstructing slot or one per CPU, whichever is more, and no new
ones beyond a number of bytes: so a slot hardly waits, however long a pair takes to prepare, and
memory stays bounded, however long the manifest is. What takes too long is ended
(:mod:`dfp_batch.engine.watch`). When the run has to stop, what is in flight comes to its end first.
"""

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from dfp_batch.engine.breaker import Breaker
from dfp_batch.engine.executor import Completion, Executor, Work
from dfp_batch.engine.progress import PATIENCE, Patience
from dfp_batch.engine.stages import Failure, Report, Stage, facts_of
from dfp_batch.engine.watch import Watch
from dfp_batch.errors import Category, RunStoppedError
from dfp_batch.runs.attempts import PairRecord, Status
from dfp_batch.runs.lease import UnderWay
from dfp_batch.runs.manifest import Pair

WINDOW = 2
LETHAL_DEATHS = 2
LETHAL_TIMEOUTS = 2
ATTEMPTS: Mapping[Category, int] = {
    "input": 1,
    "transient": 4,
    "resource": 4,
    "crash": LETHAL_DEATHS,
    "timeout": LETHAL_TIMEOUTS,
    "fatal": 1,
}
BACKOFF_S, BACKOFF_LIMIT_S = 1.0, 60.0
SHOWN = 8  # of the stages that are under way, to whoever watches
_REMEMBERED = 100  # durations of pairs


@dataclass(slots=True)  # a session begins with a million
class Todo:
    """A pair that a session is to do.

    Attributes:
        pair: What to do.
        deaths: How often its process died in earlier sessions.
        tried: Whether it failed in an earlier session.
        adopt: Whether an earlier session may have left its result without a row.
        attempts: Made already in this session, before Ray was lost.
        compare_floor: Whether its result is compared with the classical floor.
    """

    pair: Pair
    deaths: int = 0
    tried: bool = False
    adopt: bool = False
    attempts: int = 0
    compare_floor: bool = True


@dataclass(eq=False)
class Item:
    """One pair on its way through the stages.

    Attributes:
        todo: The pair and its past.
        number: Of this attempt, unique in the session.
        deaths: How often its process died, in this and earlier sessions.
        attempt: Counted from 1 in this session.
        failures: Of this session, by category.
        reports: Of the stages of this attempt.
        held_bytes: Memory of the values its stages have left.
    """

    todo: Todo
    number: int
    deaths: int
    attempt: int = 1
    failures: Counter[Category] = field(default_factory=Counter)
    reports: list[Report] = field(default_factory=list)
    held_bytes: int = 0

    @property
    def pair(self) -> Pair:
        """What to do."""
        return self.todo.pair

    def work(self, stage: Stage) -> Work:
        """For the executor."""
        adopt = self.todo.adopt or self.attempt > 1
        relief, compare = self.failures["resource"], self.todo.compare_floor
        first = self.attempt == 1
        return Work(self.number, stage, self.pair, relief, adopt, compare, first, self.facts)

    @property
    def facts(self) -> dict[str, Any]:
        """What the stages of this attempt have found out, and how long they took."""
        return facts_of(self.reports)


class Scheduler:
    """Moves every pair through its stages and hands a record of every attempt to ``record``.

    Args:
        todo: In the order they should run.
        executor: Runs the stages.
        record: Takes the row of an attempt.
        clock: Seconds since the epoch of Unix.
        rng: For the jitter of the backoff.
        breaker: Says when too much fails.
        patience: With processes that do not answer.
    """

    def __init__(
        self,
        todo: Iterable[Todo],
        executor: Executor,
        record: Callable[[PairRecord], None],
        clock: Callable[[], float],
        rng: random.Random,
        breaker: Breaker,
        patience: Patience = PATIENCE,
    ) -> None:
        self._todo = deque(todo)
        self._executor = executor
        self._record = record
        self._clock = clock
        self._rng = rng
        self._breaker = breaker
        self._watch = Watch(executor, patience, clock)
        self._numbers = count(1)
        self._again: deque[Item] = deque()
        self._later: list[tuple[float, int, Item]] = []
        self._ready: dict[Stage, deque[Item]] = {Stage.RECONSTRUCT: deque(), Stage.PUBLISH: deque()}
        self._running: dict[int, Item] = {}
        self._busy: Counter[Stage] = Counter()
        self._held_bytes = self._largest_bytes = 0
        self._stop: str | None = None
        self._took: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def in_flight(self) -> int:
        """Pairs that have begun an attempt and not ended it."""
        return len(self._running) + sum(map(len, self._ready.values()))

    @property
    def in_stages(self) -> Mapping[Stage, int]:
        """Pairs in each stage, those that wait for room on the cluster among them."""
        return {stage: self._busy[stage] for stage in Stage}

    @property
    def under_way(self) -> list[UnderWay]:
        """Some of the stages that have begun, the oldest first."""
        return [
            UnderWay(str(stage), self._running[number].pair.pair_id, since)
            for number, stage, since in self._watch.under_way()[:SHOWN]
        ]

    @property
    def done(self) -> bool:
        """Nothing runs, nothing waits, nothing is left."""
        return not (self.in_flight or self._later or self._again or self._todo)

    @property
    def still_s(self) -> float:
        """How long nothing has begun or ended."""
        return self._watch.still_s

    @property
    def typical_s(self) -> float:
        """From start to end of a pair: nine in ten of the last took less; 0 before the first."""
        took = sorted(self._took)
        return took[len(took) * 9 // 10] if took else 0.0

    @property
    def unbegun(self) -> int:
        """Stages that wait for room on the cluster."""
        return len(self._running) - self._watch.begun

    @property
    def begun(self) -> int:
        """Stages that are under way."""
        return self._watch.begun

    def stop(self, reason: str) -> None:
        """Begin no further pair; ``step`` raises once those in flight have ended."""
        self._stop = self._stop or reason

    def step(self, timeout_s: float) -> None:
        """Start what fits and deal with what has ended.

        Raises:
            RunStoppedError: after a fatal failure, when the breaker has opened, or after ``stop``.
            ExecutorLostError: if nothing can be run any more.
        """
        self._start_what_fits()
        for completion in self._executor.wait(timeout_s):
            self._end_stage(completion)
        for completion in self._watch.look():
            self._end_stage(completion)
        self._start_what_fits()
        if self._stop and not self.in_flight:
            raise RunStoppedError(self._stop)

    def _start_what_fits(self) -> None:
        for stage in (Stage.PUBLISH, Stage.RECONSTRUCT):
            while self._ready[stage] and self._has_room(stage):
                self._start(stage, self._ready[stage].popleft())
        while self._wants_to_prepare() and (item := self._next()) is not None:
            self._start(Stage.PREPARE, item)

    def _has_room(self, stage: Stage) -> bool:
        return self._busy[stage] < self._executor.capacity(stage)

    def _wants_to_prepare(self) -> bool:
        if self._stop:
            return False
        held = self._busy[Stage.PREPARE] + len(self._ready[Stage.RECONSTRUCT])
        slots, cpus = map(self._executor.capacity, (Stage.RECONSTRUCT, Stage.PREPARE))
        window = max(WINDOW * slots, cpus)
        # A store that cannot keep up must not pile up finished images either.
        clogged = len(self._ready[Stage.PUBLISH]) >= window
        # The size of a pair is known once it is prepared; before, it counts as the largest so far.
        expected = self._held_bytes + (self._busy[Stage.PREPARE] + 1) * self._largest_bytes
        heavy = self.in_flight > 0 and expected > self._executor.memory_bytes
        return self._has_room(Stage.PREPARE) and held < window and not clogged and not heavy

    def _next(self) -> Item | None:
        while self._later and self._later[0][0] <= self._clock():
            self._again.append(heapq.heappop(self._later)[2])
        if self._todo:
            todo = self._todo.popleft()
            return Item(todo, next(self._numbers), todo.deaths, 1 + todo.attempts)
        return self._again.popleft() if self._again else None

    def _start(self, stage: Stage, item: Item, restarts: int = 0) -> None:
        self._busy[stage] += 1
        self._running[item.number] = item
        self._watch.start(item.number, stage, restarts)
        self._executor.start(item.work(stage))

    def _end_stage(self, completion: Completion) -> None:
        item, report = self._running.pop(completion.number), completion.report
        ended = self._watch.end(completion.number)
        self._busy[ended.stage] -= 1
        if report.failure is not None and ended.in_vain:
            self._start(ended.stage, item, ended.restarts + 1)
            return
        failure = report.failure and (ended.overdue or report.failure)
        item.reports.append(report)
        if failure is not None:
            self._fail(item, failure)
        elif report.finished or report.stage is Stage.PUBLISH:
            self._finish(item, "ok", None)
        else:
            self._pass_on(item, report)

    def _pass_on(self, item: Item, report: Report) -> None:
        item.held_bytes += report.value_bytes
        self._held_bytes += report.value_bytes
        if report.stage is Stage.PREPARE:
            self._largest_bytes = max(self._largest_bytes, report.value_bytes)
        following = Stage.RECONSTRUCT if report.stage is Stage.PREPARE else Stage.PUBLISH
        self._ready[following].append(item)

    def _fail(self, item: Item, failure: Failure) -> None:
        item.deaths += failure.category == "crash"
        item.failures[failure.category] += 1
        lethal = failure.category == "timeout" and item.failures["timeout"] >= LETHAL_TIMEOUTS
        quarantined = item.deaths >= LETHAL_DEATHS or lethal
        if not quarantined and item.failures[failure.category] < ATTEMPTS[failure.category]:
            self._write(item, "error", failure)
            self._put_off(item)
            return
        self._finish(item, "quarantined" if quarantined else "error", failure)
        if failure.category == "fatal":
            self.stop(f"stopped at pair {item.pair.pair_id!r}: {failure.message}")

    def _put_off(self, item: Item) -> None:
        """Another attempt, from the first stage, exponentially later with full jitter."""
        limit_s = min(BACKOFF_LIMIT_S, BACKOFF_S * 2**item.attempt)
        due = self._clock() + self._rng.uniform(0, limit_s)
        number = next(self._numbers)
        again = Item(item.todo, number, item.deaths, item.attempt + 1, item.failures)
        heapq.heappush(self._later, (due, number, again))

    def _finish(self, item: Item, status: Status, failure: Failure | None) -> None:
        self._write(item, status, failure)
        if not item.todo.tried:
            reason = self._breaker.note(failure)
            if reason:
                self.stop(reason)

    def _write(self, item: Item, status: Status, failure: Failure | None) -> None:
        """Hand over the row of an attempt, which ends here and holds nothing any more."""
        self._held_bytes -= item.held_bytes
        self._executor.drop(item.number)
        first, last = item.reports[0], item.reports[-1]
        if status == "ok":
            self._took.append(self._clock() - first.started_at)
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
                facts=item.facts,
            )
        )
