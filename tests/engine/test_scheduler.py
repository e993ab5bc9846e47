"""The state machine on a fake executor: failure tables, windows, backoff, breakers."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.engine.breaker import Breaker
from dfp_batch.engine.progress import Patience
from dfp_batch.engine.scheduler import ATTEMPTS, WINDOW, Scheduler, Todo
from dfp_batch.engine.stages import Stage
from dfp_batch.errors import RunStoppedError
from dfp_batch.runs.manifest import Pair
from fake_executor import FakeExecutor, TimedExecutor

SILENCE_S, GRACE_S = Patience().silence_s, Patience().grace_s


def pairs(count):
    return [Pair(f"p{k}", ("a", "b")) for k in range(count)]


def drive(todo, executor, breaker=None):
    """All records, and why the scheduler stopped early, if it did."""
    records = []
    scheduler = Scheduler(
        todo,
        executor,
        records.append,
        lambda: executor.now,
        random.Random(0),
        breaker or Breaker(max_failure_rate=1.0),
    )
    steps = 0
    try:
        while not scheduler.done:
            scheduler.step(1.0)
            steps += 1
            assert steps < 1000 * (len(todo) + 1), "the scheduler does not come to an end"
    except RunStoppedError as stop:
        assert scheduler.in_flight == 0, "what is in flight ends before"
        return records, str(stop)
    return records, None


def run(count, table, breaker=None, deaths=0, **options):
    executor = FakeExecutor(table, **options)
    todo = [Todo(pair, deaths) for pair in pairs(count)]
    records, stopped = drive(todo, executor, breaker)
    if stopped:
        raise RunStoppedError(stopped)
    assert not executor.values, "nothing is held at the end"
    return records, executor


def outcomes(records, pair_id):
    return [(r.attempt, r.status, r.category) for r in records if r.pair_id == pair_id]


P, O, U = Stage.PREPARE, Stage.RECONSTRUCT, Stage.PUBLISH  # noqa: E741


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
        ([(O, "resource")] * 9, [(k, "error", "resource") for k in (1, 2, 3, 4)]),
        ([(O, "hang")], [(1, "error", "timeout"), (2, "ok", None)]),
        ([(P, "hang")] * 9, [(1, "error", "timeout"), (2, "quarantined", "timeout")]),
        ([(O, "freeze")], [(1, "error", "timeout"), (2, "ok", None)]),
        ([(U, "lost")], [(1, "error", "timeout"), (2, "ok", None)]),
        ([(O, "stuck")], [(1, "ok", None)]),
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


def test_a_fatal_failure_stops_the_run_after_what_is_in_flight():
    executor = FakeExecutor({"p0": [(P, "fatal")]}, slots=2)
    records, stopped = drive([Todo(pair) for pair in pairs(5)], executor)
    assert "stopped at pair 'p0': fatal at prepare" in stopped
    assert outcomes(records, "p0") == [(1, "error", "fatal")]
    begun = {pair_id for _, pair_id, _ in executor.started}
    assert {record.pair_id for record in records} == begun
    assert len(begun) < 5


def test_a_stage_that_is_over_its_limit_is_asked_first():
    records, executor = run(2, {"p0": [(O, "hang")]})
    assert "took longer than the 100 s" in records[0].error_message or any(
        "took longer than the 100 s" in (record.error_message or "") for record in records
    )
    assert not executor.killed
    assert 100 < executor.now < 100 + GRACE_S


def test_silence_ends_a_stage_long_before_its_limit():
    records, executor = run(1, {"p0": [(O, "freeze")]})
    assert "no sign of life for" in records[0].error_message
    assert executor.now < SILENCE_S + GRACE_S


def test_what_cannot_even_be_killed_is_given_up():
    records, executor = run(1, {"p0": [(O, "lost")]})
    assert [record.status for record in records] == ["error", "ok"]
    assert executor.now < SILENCE_S + 2 * GRACE_S + 5


def test_a_process_that_does_not_answer_costs_the_pair_no_attempt():
    records, executor = run(1, {"p0": [(P, "stuck")]})
    assert outcomes(records, "p0") == [(1, "ok", None)]
    assert SILENCE_S < executor.now < SILENCE_S + GRACE_S


def test_waiting_for_room_is_no_fault_however_long():
    records, _ = run(6, {f"p{k}": [(P, "stuck")] for k in range(6)}, tasks=3)
    assert Counter(record.status for record in records) == {"ok": 6}


failures = st.one_of(
    st.none(),
    st.tuples(
        st.sampled_from(list(Stage)),
        st.sampled_from(
            ["input", "transient", "resource", "crash", "hang", "freeze", "lost", "stuck"]
        ),
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
    assert executor.most[Stage.RECONSTRUCT] <= slots
    assert max(executor.most[Stage.PREPARE], executor.most[Stage.PUBLISH]) <= tasks
    assert executor.most_prepared <= max(WINDOW * slots, tasks)


@pytest.mark.parametrize(("slots", "tasks"), [(1, 8), (2, 16), (4, 4)])
def test_a_slot_hardly_idles_however_long_a_pair_takes_to_prepare(slots, tasks):
    """Preparing takes seven times as long: one GPU needs eight CPUs, and gets them all."""
    seconds = {P: 7.0 * min(1, tasks / (8 * slots)), O: 1.0, U: 0.1}
    executor = TimedExecutor(seconds, slots, tasks)
    records, _ = drive([Todo(pair) for pair in pairs(200)], executor)
    assert len(records) == 200
    at_first_s = seconds[P]
    idle_s = slots * (executor.now - at_first_s) - executor.busy_s[O]
    assert idle_s < 0.1 * executor.busy_s[O]


def test_no_more_pairs_are_prepared_than_slots_or_cpus_need():
    for slots, tasks in ((1, 2), (1, 8), (4, 2)):
        _, executor = run(40, {}, slots=slots, tasks=tasks)
        assert executor.most[Stage.RECONSTRUCT] == slots
        assert executor.most_prepared <= max(WINDOW * slots, tasks)


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
    assert failed.stage == "reconstruct"
    assert set(done.facts) > {"seen_prepare", "seen_reconstruct", "seen_publish", "t_publish_s"}
    assert "seen_publish" not in failed.facts


def test_breaker_stops_at_the_failure_rate():
    breaker = Breaker(max_failure_rate=0.2)
    table = {f"p{k}": [(P, "crash")] * 2 for k in range(0, 100, 3)}
    with pytest.raises(RunStoppedError, match=r"\d\d pairs failed, .* more than 20%"):
        run(100, table, breaker)


def test_bad_input_never_opens_the_breaker():
    table = {f"p{k}": [(P, "input")] for k in range(90)}
    records, _ = run(100, table, Breaker(max_failure_rate=0.2))
    assert Counter(record.status for record in records) == {"error": 90, "ok": 10}


def test_what_failed_before_does_not_open_the_breaker():
    executor = FakeExecutor({f"p{k}": [(P, "crash")] * 2 for k in range(60)})
    todo = [Todo(pair, tried=True) for pair in pairs(60)]
    records, stopped = drive(todo, executor, Breaker(max_failure_rate=0.2))
    assert stopped is None
    assert {record.pair_id for record in records} == {f"p{k}" for k in range(60)}


fates = st.sampled_from(["good"] * 4 + ["input", "crash", "transient", "fatal", "hang"])


@settings(deadline=None, max_examples=40)
@given(st.lists(fates, min_size=1, max_size=150), st.integers(1, 3), st.integers(0, 1000))
def test_the_same_command_goes_on_until_every_good_pair_is_done(fates, slots, seed):
    """Whatever fails for ever, and however often the run is stopped for it."""
    archive = [Pair(f"p{k}", ("a", "b")) for k in range(len(fates))]
    table = {f"p{k}": [(P, fate)] * 9 for k, fate in enumerate(fates) if fate != "good"}
    status = {}
    for _ in range(len(fates) + 1):
        todo = [
            Todo(pair, tried=pair.pair_id in status)
            for pair in archive
            if status.get(pair.pair_id) not in ("ok", "quarantined")
        ]
        executor = FakeExecutor(table, slots=slots, tasks=4, seed=seed)
        records, stopped = drive(sorted(todo, key=lambda one: one.tried), executor, Breaker(0.2))
        status |= {record.pair_id: record.status for record in records}
        if stopped is None:
            break
    good = {f"p{k}" for k, fate in enumerate(fates) if fate == "good"}
    assert good == {pair_id for pair_id, state in status.items() if state == "ok"}


def test_breaker_stops_when_all_fail_alike_for_a_reason_of_ours():
    table = {f"p{k}": [(O, "crash")] * 2 for k in range(40)}
    with pytest.raises(RunStoppedError, match=r"20 pairs in a row failed alike.*Injected"):
        run(40, table, Breaker(max_failure_rate=1.0))


def test_a_run_that_is_told_to_stop_ends_what_it_has_begun():
    executor = FakeExecutor({}, slots=2)
    records = []
    scheduler = Scheduler(
        [Todo(pair) for pair in pairs(50)],
        executor,
        records.append,
        lambda: executor.now,
        random.Random(0),
        Breaker(),
    )
    while len(records) < 10:
        scheduler.step(1.0)
    begun = {pair_id for _, pair_id, _ in executor.started}
    scheduler.stop("the time is up")
    with pytest.raises(RunStoppedError, match="the time is up"):
        while True:
            scheduler.step(1.0)
    assert {record.pair_id for record in records} == begun


def test_many_pairs_stay_in_a_small_window():
    records, executor = run(4_000, {}, slots=4, tasks=8)
    assert len(records) == 4_000
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
