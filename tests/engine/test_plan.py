"""Plans from a model that is given: samples, extrapolation, hours, words."""

import dataclasses

import pytest

from dfp_batch.config.run_config import RunConfig, run_config
from dfp_batch.engine import plan_text
from dfp_batch.engine.costs import CostModel, Line
from dfp_batch.engine.headers import Looked, Problem
from dfp_batch.engine.plan import Machines, Sample, make_plan, predict
from dfp_batch.engine.stages import Stage
from dfp_batch.errors import ConfigError, ManifestError
from dfp_batch.io import codec, storage
from dfp_batch.runs.manifest import read_manifest
from stage_parts import CLASSICAL

RUN = RunConfig("classical", CLASSICAL)
HERE = Machines(2, 0, is_here=True, has_gpu=False)
SECONDS = {
    Stage.PREPARE: Line(0, 0, 900, 0.1),
    Stage.RECONSTRUCT: Line(0, 3600, 0, 0.2),
    Stage.PUBLISH: Line(1800, 0, 0, 0.1),
}
PEAKS = dict.fromkeys(Stage, Line(1e9, 2e9, 0, 0.0))


def model_of(kind, uses_gpu):
    device = "a GPU" if uses_gpu else "cpu"
    return CostModel("2026-02-03T04:05:06+00:00", "a CPU", device, kind, SECONDS, PEAKS, 3.0, 0.5)


def looked(name="x", side=1000, frames=2, source_bytes=10**6):
    header = codec.Header("PNG", side, side, 3, False, "uint8", 8)
    return Looked(name, frames, header, source_bytes)


def predicted(sample, machines=HERE):
    model = model_of(sample.kind, machines.gpus > 0 and machines.has_gpu)
    return predict(sample, model, machines, scale=2)


def test_the_archive_costs_what_its_pairs_cost():
    sample = Sample(2, (looked("small"), looked("large", 2000, 3)), ())
    costs = predicted(sample)
    small_h, large_h = 0.5 + 1 + 0.5, 3 + 4 + 0.5
    assert costs.cpu_hours.mid == pytest.approx(small_h + large_h)
    assert costs.wall_hours.mid == pytest.approx(large_h)  # no faster than its largest pair
    assert costs.read_bytes.mid == pytest.approx(3 * 2e6)
    assert costs.written_bytes.mid == pytest.approx(0.5 * 4 * 3 * (1e6 + 4e6))
    assert costs.peak_pair.pair_id == "large"
    assert costs.peak_bytes[0] == pytest.approx(9e9)
    assert sum(costs.shares.values()) == pytest.approx(1)


def test_a_sample_stands_for_the_archive_less_what_fails():
    problem = Problem("bad", "cannot be read", "gone")
    costs = predicted(Sample(1000, (looked(),) * 3, (problem,)))
    assert costs.cpu_hours.mid == pytest.approx(750 * 2)
    assert costs.wall_hours.mid == pytest.approx(750)


def test_a_small_sample_of_unequal_pairs_is_less_sure():
    few = predicted(Sample(1000, (looked(), looked(side=3000)), ()))
    many = predicted(Sample(1000, (looked(), looked(side=3000)) * 32, ()))
    whole = predicted(Sample(64, (looked(), looked(side=3000)) * 32, ()))
    spreads = [costs.cpu_hours.high / costs.cpu_hours.mid for costs in (few, many, whole)]
    assert spreads == sorted(spreads, reverse=True)
    assert 1.2 < spreads[-1] < 1.3  # of the model alone


def test_gpus_share_the_work_where_there_are_any_to_measure():
    machines = Machines(4, 2, is_here=True, has_gpu=True)
    costs = predicted(Sample(100, (looked(),) * 100, ()), machines)
    assert costs.gpu_hours.mid == pytest.approx(100)
    assert costs.cpu_hours.mid == pytest.approx(100)
    assert costs.wall_hours.mid == pytest.approx(50)


def test_hours_of_a_gpu_that_is_not_here_are_not_predicted():
    machines = Machines(4, 2, is_here=False, has_gpu=False)
    costs = predicted(Sample(100, (looked(),) * 100, ()), machines)
    assert costs.gpu_hours is costs.wall_hours is None
    assert costs.cpu_hours.mid == pytest.approx(100)
    assert set(costs.shares) == {Stage.PREPARE, Stage.PUBLISH}


def test_what_fails_is_extrapolated_with_its_range():
    problem = Problem("bad", "cannot be read", "gone")
    failing = Sample(1000, (looked(),) * 62, (problem,) * 2).failing
    assert failing.mid == pytest.approx(1000 * 2 / 64)
    assert 2 <= failing.low < failing.mid < failing.high < 120
    assert Sample(1000, (looked(),) * 64, ()).failing.high == pytest.approx(56, abs=1)
    whole = Sample(64, (looked(),) * 62, (problem,) * 2).failing
    assert (whole.low, whole.mid, whole.high) == (2, 2, 2)


@pytest.fixture
def plan(make_archive):
    def make(count=6, sample=(64, 0), machines=HERE, run=RUN, spoil=()):
        url = make_archive(count)
        for pair in spoil:
            storage.delete(read_manifest(url)[pair].sources[1])
        return make_plan(url, run, machines, sample, model_of)

    return make


def test_a_seed_takes_the_same_sample(plan):
    def ids(seed):
        return [one.pair_id for one in plan(20, (5, seed)).sample.looked]

    assert ids(0) == ids(0) != ids(1)
    assert len(set(ids(0))) == 5


def test_a_sample_of_nothing_is_refused(plan):
    with pytest.raises(ConfigError, match="--sample must be >= 1, got 0"):
        plan(sample=(0, 0))


def test_a_bad_manifest_is_refused(tmp_path):
    with pytest.raises(ManifestError):
        make_plan(f"{tmp_path}/none.parquet", RUN, HERE, (64, 0), model_of)


def test_the_words_say_what_when_and_what_next(plan):
    lines = plan_text.lines(plan(), "dfp-batch submit it")
    text = "\n".join(lines)
    assert "6 pairs, all rows usable" in text
    assert "measured on 2026-02-03 on a CPU, one thread" in text
    assert "CPU-hours" in text and "on 2 CPUs of this machine" in text
    assert "enlarge x2 (back-projection) > measure > write png" in text
    assert lines[-1].split(maxsplit=1) == ["next", "dfp-batch submit it"]
    assert len(lines) <= 13


def test_the_words_name_the_cameras_whose_kernels_are_looked_for(plan):
    made = plan(run=run_config("classical", None, {"kernel": "auto", "scale": 2}))
    cameras = {f"c{k}": 10 - k for k in range(6)} | {"": 40}
    made = dataclasses.replace(made, sample=dataclasses.replace(made.sample, cameras=cameras))
    lines = plan_text.lines(made, "")
    first = next(k for k, line in enumerate(lines) if line.startswith("kernel"))
    assert [line.strip() for line in lines[first + 1 : first + 7]] == [
        "by camera, lens and aperture of EXIF data: 40 pairs",
        *(f"c{k}: {10 - k} pairs" for k in range(4)),
        "and 2 more cameras; --json names all",
    ]
    assert made.to_json()["cameras"] == cameras
    assert "kernel" not in "".join(plan_text.lines(plan(), ""))


def test_the_words_name_what_fails(plan):
    made = plan(spoil=(1, 4))
    text = "\n".join(plan_text.lines(made, ""))
    assert "4 pairs can be done" in text and "2 would fail: these are all pairs" in text
    assert "2 cannot be read" in text
    assert "p01: " in text and "p01_B.png" in text
    assert {problem["pair_id"] for problem in made.to_json()["problems"]} == {"p01", "p04"}


def test_where_everything_fails_nothing_is_measured(plan):
    made = plan(2, spoil=(0, 1))
    assert made.model is made.costs is None
    assert "2 would fail" in "\n".join(plan_text.lines(made, ""))


def test_the_words_say_what_is_not_known_of_gpus(plan):
    made = plan(machines=Machines(8, 4, is_here=False, has_gpu=False))
    text = "\n".join(plan_text.lines(made, ""))
    assert "GPU-hours are known only where there is a GPU" in text
    assert "\ntime" not in text


def test_pairs_of_another_kind_are_counted(plan):
    made = plan()
    grey = dataclasses.replace(looked(), header=codec.Header("PNG", 9, 9, 1, False, "uint8", 8))
    sample = dataclasses.replace(made.sample, looked=(*made.sample.looked, grey))
    text = "\n".join(plan_text.lines(dataclasses.replace(made, sample=sample), ""))
    assert "1 of another kind" in text


@pytest.mark.parametrize(
    ("form", "dtype", "measured"),
    [
        ("JPEG", "uint8", "jpg, colour, uint8"),
        ("BMP", "uint8", "png, colour, uint8"),
        ("RAW", "uint16", "png, colour, uint16"),
        ("TIFF", "int16", "tiff, colour, float32"),
        ("OME-Zarr", "float32", "tiff, colour, float32"),
    ],
)
def test_formats_that_are_not_written_are_measured_as_others(form, dtype, measured):
    header = codec.Header(form, 1000, 1000, 3, False, dtype, 8)
    assert str(Sample(1, (Looked("x", 2, header, 1),), ()).kind) == measured


def test_channels_cost_as_many_images_and_what_is_decided_by():
    of_one = predicted(Sample(1, (looked(),), ()))
    several = dataclasses.replace(looked(), channels=3)
    assert predicted(Sample(1, (several,), ())).cpu_hours.mid == pytest.approx(
        4 * of_one.cpu_hours.mid
    )
