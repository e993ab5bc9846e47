"""The model of costs: its line, what is kept, when it is measured again; one measurement."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from dfp_batch.config.run_config import RunConfig, run_config
from dfp_batch.engine import costs
from dfp_batch.engine.costs import CostModel, Kind, Line, cost_model
from dfp_batch.engine.stages import Stage
from dfp_batch.errors import ConfigError
from dfp_batch.pipeline.composition import FusionConfig

KIND = Kind("png", 3, "uint8", 0)
RUN = RunConfig("classical", FusionConfig.preset("classical", scale=2))


def model(seconds=1.0, age=timedelta(0)):
    line = Line(seconds, 0.0, 0.0, 0.0)
    lines = dict.fromkeys(Stage, line)
    when = (datetime.now(UTC) - age).isoformat(timespec="seconds")
    return CostModel(when, "a CPU", "cpu", KIND, lines, lines, 3.0, 0.7)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """What is measured in place of the real thing, in an empty cache; counts how often."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def measure(run, kind, device):
        calls.append((run.fingerprint, kind, device))
        return model(seconds=float(len(calls)))

    monkeypatch.setattr(costs, "measure", measure)
    return calls


def test_a_line_goes_through_points_that_lie_on_one():
    points = [(n, mp, 0.5 + 2 * mp + 3 * n * mp) for n, mp in [(2, 0.1), (5, 0.1), (2, 0.4)]]
    line = Line.fit(points)
    assert (line.fixed, line.per_mp, line.per_frame_mp) == pytest.approx((0.5, 2, 3))
    assert line.error == pytest.approx(0, abs=1e-9)
    assert line(4, 10.0) == pytest.approx(0.5 + 20 + 120)


def test_a_line_tells_how_far_off_it_is_and_never_falls():
    falling = Line.fit([(2, 0.1, 2.0), (2, 0.2, 1.0), (2, 0.4, 1.0)])
    assert min(falling.fixed, falling.per_mp, falling.per_frame_mp) >= 0
    assert falling.error > 0.1


def test_a_line_may_rise_more_slowly_from_some_size_on():
    line = Line(1.0, 2.0, 3.0, 0.0, band_mp=10.0, per_mp_beyond=0.5)
    assert line(4, 10.0) == 1 + 20 + 120
    assert line(4, 12.0) == 1 + 20 + 1 + 144


@pytest.mark.parametrize(
    ("preset", "bands"), [("classical", True), ("balanced", True), ("best", True), ("paper", False)]
)
def test_memory_beyond_a_band_is_that_of_the_result(preset, bands):
    taken = [costs._Taken(1.0, 3e8, 0, 0)] * 5
    line = costs._memory_line(taken, FusionConfig.preset(preset, scale=2), channels=3)
    assert line.per_mp == 4 * 48e6
    assert line(2, 34.0) - line(2, 24.0) == pytest.approx(480e6 if bands else 1920e6)


def test_memory_of_tiles_does_not_grow_with_what_is_larger_than_those_measured():
    sizes = [side * side / 1e6 for _, side in costs.POINTS]
    taken = [costs._Taken(1.0, 5e8 + 3e9 * mp, 0, 0) for mp in (0.0, *sizes)]
    line = costs._memory_line(taken, FusionConfig.preset("fast", scale=2), channels=3)
    assert line(2, sizes[-1]) == pytest.approx(5e8 + 3e9 * sizes[-1])
    assert line(2, 10.0) == pytest.approx(line(2, sizes[-1]) + 192e6 * (10 - sizes[-1]))


def test_what_was_measured_is_kept(measured):
    announced = []
    first = cost_model(RUN, KIND, False, announce=lambda: announced.append(1))
    assert cost_model(RUN, KIND, False) == first
    assert len(measured) == len(announced) == 1


@pytest.mark.parametrize(
    "other",
    [
        (RunConfig("fast", FusionConfig.preset("fast", scale=2)), KIND),
        (RUN, dataclasses.replace(KIND, channels=1)),
    ],
)
def test_another_composition_or_kind_is_measured_for_itself(measured, other):
    first = cost_model(RUN, KIND, False)
    assert cost_model(*other, False) != first
    assert cost_model(RUN, KIND, False) == first
    assert len(measured) == 2


def test_the_registration_of_another_run_changes_nothing(measured):
    cost_model(RUN, KIND, False)
    cost_model(dataclasses.replace(RUN, align_from="elsewhere"), KIND, False)
    assert len(measured) == 1


def test_it_is_measured_again_when_asked_for_or_old_or_unreadable(measured, monkeypatch, tmp_path):
    cost_model(RUN, KIND, False)
    cost_model(RUN, KIND, False, again=True)
    assert len(measured) == 2
    monkeypatch.setattr(costs, "KEPT", timedelta(seconds=-1))
    cost_model(RUN, KIND, False)
    assert len(measured) == 3
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "dfp-batch" / "model.json").write_text("not ours")
    monkeypatch.setattr(costs, "measure", lambda *_: model(7.0))
    assert cost_model(RUN, KIND, False).seconds[Stage.PREPARE].fixed == 7


def test_of_many_iterations_a_few_are_measured():
    paper = FusionConfig.preset("paper", scale=2)
    short, repeats = costs.shortened(paper)
    assert short.refinement.iterations * 2 == short.reconstruction.iterations == 10
    assert repeats == 100
    assert costs.shortened(FusionConfig.preset("balanced"))[1] == 1


def test_a_composition_that_fails_is_named(monkeypatch):
    monkeypatch.setattr(costs, "POINTS", costs.POINTS[:1])
    run = run_config("classical", None, {"align.reference": 7})
    with pytest.raises(ConfigError, match=r"cannot be measured, prepare fails .* align.reference"):
        costs.measure(run, KIND, "cpu")


@pytest.mark.slow
def test_a_real_measurement_finds_that_larger_pairs_cost_more():
    found = costs.measure(RUN, dataclasses.replace(KIND, truths=1), "cpu")
    for stage in Stage:
        assert 0 < found.seconds[stage](2, 0.1) < found.seconds[stage](2, 1.0)
        assert 1e7 < found.peak_bytes[stage](2, 0.1) < found.peak_bytes[stage](2, 1.0)
    assert found.reads >= 1
    assert 0 < found.written_share < 2
