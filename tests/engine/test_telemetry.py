"""What a driver adds up, and that showing it never stops a run."""

import random
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from dfp_batch.engine import meters
from dfp_batch.engine.breaker import Breaker
from dfp_batch.engine.meters import COUNTERS, GAUGES, Meters
from dfp_batch.engine.scheduler import Scheduler, Todo
from dfp_batch.engine.stages import Stage
from dfp_batch.engine.telemetry import EVERY_S, Telemetry
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.status import Counts
from fake_executor import FakeExecutor


def record(status="ok", attempt=1, category=None, finished_at=10.0, **facts):
    return PairRecord("p", attempt, status, "publish", 0.0, finished_at, category, facts=facts)


def telemetry(total=10, **counts):
    return Telemetry("s3://a/run", Counts(total, **counts), 0.0)


def test_sums_of_a_session():
    here = telemetry()
    sizes = {"width_px": 70_000, "height_px": 70_000, "output_bytes": 7}
    here.note(record(t_prepare_s=1.0, t_reconstruct_s=2.0, t_publish_s=0.5, **sizes))
    here.note(record("error", category="transient", t_prepare_s=3.0, finished_at=12.0))
    here.note(record("error", 2, "transient", t_prepare_s=0.25, width_px=None, height_px=None))
    figures = here.last(20.0)
    assert figures.attempts == {("ok", ""): 1, ("error", "transient"): 2}
    assert figures.retries == 1
    assert figures.stage_ends == {Stage.PREPARE: 3, Stage.RECONSTRUCT: 1, Stage.PUBLISH: 1}
    assert figures.stage_seconds[Stage.PREPARE] == 4.25
    assert (figures.output_pixels, figures.output_bytes) == (4_900_000_000, 7)
    assert (figures.heartbeat_at, figures.ended_at) == (20.0, 20.0)


def test_pairs_of_all_states_are_those_of_the_run():
    here = telemetry(total=10, ok=3, failed=1, running=2, quarantined=1)
    pairs = here.last(1.0).pairs
    assert pairs == {"done": 3, "failed": 1, "quarantined": 1, "running": 2, "pending": 3}
    assert sum(pairs.values()) == 10


def test_the_time_left_knows_pixels_and_only_this_session():
    here = telemetry(total=12, ok=2)  # of an earlier session: it says nothing of their sizes
    assert here.last(0.0).remaining_s is None
    for at, side in ((10.0, 1000), (20.0, 3000)):
        here.note(record(finished_at=at, width_px=side, height_px=side))
        here.counts.ok += 1
    # 8 are left, of 5 MP each, at 0.5 MP/s
    assert here.last(20.0).remaining_s == pytest.approx(80.0)
    here.counts.ok = 12
    assert here.last(20.0).remaining_s is None


def test_figures_are_due_every_few_seconds():
    here = telemetry()
    times = [100.0, 100.1, 100.0 + EVERY_S, 100.1 + EVERY_S]
    due = [here.due(now, {Stage.PREPARE: 1}) for now in times]
    assert [figures is not None for figures in due] == [True, False, True, False]
    assert due[0].running == {Stage.PREPARE: 1}
    assert due[0].ended_at is None
    assert due[0].last_pair_at == 0.0, "as the session began"


class Looking(FakeExecutor):
    """Compares what the scheduler says with what it was given."""

    most_at_once = 0

    def wait(self, timeout_s):
        given = Counter(work.stage for work in self.running.values())
        assert self.scheduler.in_stages == {stage: given[stage] for stage in Stage}
        self.most_at_once = max(self.most_at_once, given.total())
        return super().wait(timeout_s)


def test_the_scheduler_knows_how_many_are_in_each_stage():
    todo = [Todo(Pair(f"p{k}", ("/a.png", "/b.png"))) for k in range(6)]
    executor = Looking({"p1": [(Stage.PREPARE, "input")]}, slots=1, tasks=2)
    rows, rng, breaker = [], random.Random(0), Breaker(1.0)
    clock = partial(getattr, executor, "now")
    executor.scheduler = Scheduler(todo, executor, rows.append, clock, rng, breaker)
    while not executor.scheduler.done:
        executor.scheduler.step(1.0)
    assert (len(rows), executor.most_at_once > 1) == (6, True)
    assert executor.scheduler.in_stages == dict.fromkeys(Stage, 0)


class Noted:
    """A metric that keeps what it is told."""

    def __init__(self, name, text, labels):
        self.values = {}
        self.labels = labels
        assert text.endswith(".")
        self.all[name] = self

    def set(self, value, labels):
        assert set(labels) == set(self.labels)
        self.values[frozenset(labels.items())] = value

    def inc(self, value, labels):
        before = self.values.get(frozenset(labels.items()), 0)
        self.set(before + value, labels)

    def total(self):
        return sum(self.values.values())


@pytest.fixture
def noted(monkeypatch):
    monkeypatch.setattr(Noted, "all", {}, raising=False)
    monkeypatch.setattr(meters, "Gauge", Noted)
    monkeypatch.setattr(meters, "Counter", Noted)
    return Noted.all


def test_counters_stand_at_the_sums_however_often_they_are_told(noted):
    here, shown = telemetry(), Meters()
    here.note(record(t_prepare_s=1.5, t_publish_s=1.0, output_bytes=5, width_px=4, height_px=5))
    for now in (1.0, 2.0, 3.0):
        shown.show(here.last(now), {"cpu": 2, "gpu": 0})
    here.note(record("error", 2, "input", t_prepare_s=1.0))
    shown.show(replace(here.last(4.0), remaining_s=9.0), {"cpu": 2, "gpu": 0})
    assert noted.keys() == GAUGES.keys() | COUNTERS.keys()
    assert noted["dfp_batch_attempts_total"].total() == 2
    assert noted["dfp_batch_stage_seconds_total"].total() == 3.5
    assert noted["dfp_batch_output_bytes_total"].total() == 5
    assert noted["dfp_batch_workers"].total() == 2
    assert noted["dfp_batch_heartbeat_timestamp_seconds"].total() == 4.0


def test_what_cannot_be_shown_stops_nothing(monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("no agent")

    monkeypatch.setattr(meters, "Gauge", broken)
    with caplog.at_level("DEBUG", logger="dfp_batch"):
        Meters().show(telemetry().last(1.0), {})
    assert "no agent" in caplog.text


def test_ray_takes_every_metric_with_its_labels(local_ray, caplog):
    here = telemetry()
    here.note(record("error", 2, "input", t_prepare_s=1.0, output_bytes=1, width_px=1, height_px=1))
    shown = Meters()
    with caplog.at_level("DEBUG", logger="dfp_batch"):
        shown.show(replace(here.last(1.0), remaining_s=1.0), {"cpu": 2, "gpu": 0})
    assert caplog.text == ""
    assert shown.names == GAUGES.keys() | COUNTERS.keys()
