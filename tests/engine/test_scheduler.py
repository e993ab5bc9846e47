"""The state machine on a fake executor: failure tables, windows, backoff, breakers."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.engine.scheduler import (
    ATTEMPTS,
    WINDOW,
    Breaker,
    Completion,
    Scheduler,
)
from dfp_batch.engine.stages import Failure, Report, Stage
from dfp_batch.errors import RunStoppedError
from dfp_batch.manifest import Pair


class FakeExecutor:
    """Runs nothing; ``table[pair_id][attempt - 1]`` is None or (stage, category) of a failure."""

    def __init__(self, table, slots=1, tasks=2, seed=0, memory_bytes=10**9):
        self.table = table
        self.slots, self.tasks = slots, tasks
        self.rng = random.Random(seed)
        self.running = []
        self.started = []
        self.now = 0.0
        self.most = Counter()
        self.prepared = self.most_prepared = 0
        self.memory_bytes = memory_bytes
        self.in_flight = []

    def capacity(self, stage):
        return self.slots if stage is Stage.OPTIMISE else self.tasks

    def start(self, stage, item):
        self.running.append((stage, item))
        self.started.append((stage, item.pair.pair_id, item.attempt))
        now = sum(running is stage for running, _ in self.running)
        self.most[stage] = max(self.most[stage], now)
        self.prepared += {Stage.PREPARE: 1, Stage.OPTIMISE: -1, Stage.PUBLISH: 0}[stage]
        self.most_prepared = max(self.most_prepared, self.prepared)
        self.in_flight.append(len(self.running))
        if stage is not Stage.PREPARE:
            assert item.handles[Stage.PREPARE] == f"prepare {item.pair.pair_id} {item.attempt}"

    def wait(self, timeout_s):
        if not self.running:
            self.now += timeout_s
            return []
        self.rng.shuffle(self.running)
        count = self.rng.randint(1, len(self.running))
        ended, self.running = self.running[:count], self.running[count:]
        return [self.end(stage, item) for stage, item in ended]

    def end(self, stage, item):
        outcomes = self.table.get(item.pair.pair_id, [])
        outcome = outcomes[item.attempt - 1] if item.attempt <= len(outcomes) else None
        failure = None
        if outcome and outcome[0] is stage:
            failure = Failure(outcome[1], "Injected", f"{outcome[1]} at {stage}")
            self.prepared -= stage is Stage.PREPARE
        report = Report(stage, self.now, 1.0, {f"seen_{stage}": 1}, failure, 0 if failure else 100)
        return Completion(item, report, f"{stage} {item.pair.pair_id} {item.attempt}")


def pairs(count):
    return [Pair(f"p{k}", ("a", "b")) for k in range(count)]


def run(count, table, breaker=None, deaths=0, **options):
    executor = FakeExecutor(table, **options)
    records = []
    scheduler = Scheduler(
        [(pair, deaths) for pair in pairs(count)],
        executor,
        records.append,
        lambda: executor.now,
        random.Random(0),
        breaker or Breaker(max_failure_rate=1.0),
    )
    steps = 0
    while not scheduler.done:
        scheduler.step(1.0)
        steps += 1
        assert steps < 100 * (count + 1), "the scheduler does not come to an end"
    return records, executor


def outcomes(records, pair_id):
    return [(r.attempt, r.status, r.category) for r in records if r.pair_id == pair_id]


P, O, U = Stage.PREPARE, Stage.OPTIMISE, Stage.PUBLISH  # noqa: E741


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([], [(1, "ok", None)]),
        ([(P, "input")], [(1, "error", "input")]),
        ([(P, "transient")], [(1, "error", "transient"), (2, "ok", None)]),
        (
            [(U, "transient")] * 3,
            [(k, "error", "transient") for k in (1, 2, 3)] + [(4, "ok", None)],
        ),
        ([(U, "transient")] * 9, [(k, "error", "transient") for k in (1, 2, 3, 4)]),
        ([(O, "resource")] * 9, [(k, "error", "resource") for k in (1, 2, 3)]),
        ([(O, "crash")], [(1, "error", "crash"), (2, "ok", None)]),
        ([(O, "crash")] * 9, [(1, "error", "crash"), (2, "quarantined", "crash")]),
        ([(P, "crash"), (U, "crash")], [(1, "error", "crash"), (2, "quarantined", "crash")]),
        (
            [(P, "transient"), (O, "crash"), (O, "transient")],
            [
                (1, "error", "transient"),
                (2, "error", "crash"),
                (3, "error", "transient"),
                (4, "ok", None),
            ],
        ),
    ],
)
def test_failure_table(attempts, expected):
    records, _ = run(3, {"p1": attempts})
    assert outcomes(records, "p1") == expected
    assert outcomes(records, "p0") == outcomes(records, "p2") == [(1, "ok", None)]


def test_earlier_deaths_count():
    records, _ = run(1, {"p0": [(O, "crash")]}, deaths=1)
    assert outcomes(records, "p0") == [(1, "quarantined", "crash")]


def test_a_fatal_failure_stops_the_run_after_its_row():
    executor = FakeExecutor({"p0": [(P, "fatal")]})
    records = []
    scheduler = Scheduler(
        [(pair, 0) for pair in pairs(5)],
        executor,
        records.append,
        lambda: executor.now,
        random.Random(0),
        Breaker(),
    )
    with pytest.raises(RunStoppedError, match="stopped at pair 'p0': fatal at prepare"):
        while not scheduler.done:
            scheduler.step(1.0)
    assert outcomes(records, "p0") == [(1, "error", "fatal")]


failures = st.one_of(
    st.none(),
    st.tuples(
        st.sampled_from(list(Stage)), st.sampled_from(["input", "transient", "resource", "crash"])
    ),
)


@settings(deadline=None, max_examples=80)
@given(
    tables=st.lists(st.lists(failures, max_size=5), min_size=1, max_size=12),
    slots=st.integers(1, 3),
    tasks=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_every_pair_ends_exactly_once_within_its_limits(tables, slots, tasks, seed):
    table = {f"p{k}": outcome for k, outcome in enumerate(tables)}
    records, executor = run(len(tables), table, slots=slots, tasks=tasks, seed=seed)
    for k in range(len(tables)):
        mine = [record for record in records if record.pair_id == f"p{k}"]
        assert [record.attempt for record in mine] == list(range(1, len(mine) + 1))
        assert all(record.status == "error" for record in mine[:-1])
        assert sum(record.category == "crash" for record in mine) <= 2
        assert len(mine) <= sum(ATTEMPTS.values())
    assert executor.most[Stage.OPTIMISE] <= slots
    assert max(executor.most[Stage.PREPARE], executor.most[Stage.PUBLISH]) <= tasks
    assert executor.most_prepared <= WINDOW * slots


def test_a_slot_never_idles_while_pairs_are_left():
    _, executor = run(40, {}, slots=2, tasks=4)
    assert executor.most[Stage.OPTIMISE] == 2


def test_no_attempt_is_repeated_and_stages_keep_their_order():
    _, executor = run(20, {"p3": [(U, "transient")]}, slots=2)
    assert len(executor.started) == len(set(executor.started))
    mine = [(stage, attempt) for stage, pair_id, attempt in executor.started if pair_id == "p3"]
    assert mine == [(P, 1), (O, 1), (U, 1), (P, 2), (O, 2), (U, 2)]


def test_backoff_grows_and_lets_others_go_first():
    records, executor = run(2, {"p0": [(P, "transient")] * 3}, tasks=1)
    assert records[-1].pair_id == "p0"
    assert executor.now > 0


def test_the_record_joins_the_facts_of_its_stages():
    records, _ = run(1, {"p0": [(O, "transient")]})
    failed, done = records
    assert failed.stage == "optimise"
    assert set(done.facts) > {"seen_prepare", "seen_optimise", "seen_publish", "t_publish_s"}
    assert "seen_publish" not in failed.facts


def test_breaker_stops_at_the_failure_rate():
    breaker = Breaker(max_failure_rate=0.2)
    table = {f"p{k}": [(P, "input")] for k in range(0, 100, 3)}
    with pytest.raises(RunStoppedError, match=r"of 5\d pairs failed, more than 20%"):
        run(100, table, breaker)


def test_breaker_allows_a_few_bad_inputs_at_the_start():
    table = {f"p{k}": [(P, "input")] for k in range(30)}
    records, _ = run(49, table, Breaker(max_failure_rate=0.2))
    assert Counter(record.status for record in records) == {"error": 30, "ok": 19}


def test_breaker_stops_when_all_fail_alike_for_a_reason_of_ours():
    table = {f"p{k}": [(O, "crash")] * 2 for k in range(40)}
    with pytest.raises(RunStoppedError, match=r"20 pairs in a row failed alike.*Injected"):
        run(40, table, Breaker(max_failure_rate=1.0))


def test_many_pairs_stay_in_a_small_window():
    records, executor = run(20_000, {}, slots=4, tasks=8)
    assert len(records) == 20_000
    assert executor.most_prepared <= WINDOW * 4


def test_little_memory_lets_fewer_pairs_in_but_always_one():
    _, roomy = run(60, {}, slots=4, tasks=8)
    records, tight = run(60, {}, slots=4, tasks=8, memory_bytes=0)
    assert len(records) == 60
    once_sizes_are_known = slice(60, None)
    assert max(roomy.in_flight[once_sizes_are_known]) > 2
    assert max(tight.in_flight[once_sizes_are_known]) == 1


def test_failed_attempts_give_their_memory_back():
    table = {f"p{k}": [(U, "transient")] * 3 for k in range(10)}
    records, _ = run(10, table, memory_bytes=300)
    assert sum(record.status == "ok" for record in records) == 10
