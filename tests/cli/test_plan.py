"""``dfp-batch plan`` and ``manifest``: before anything runs."""

import json
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from command_line import run
from conftest import texture, write_image
from dfp_batch.config.run_config import run_config
from dfp_batch.engine.stages import Stage


def test_manifest_names_what_it_cannot_pair(tmp_path):
    for name in ("x_10_A", "x_10_B", "x_2_A", "x_2_B", "alone_A"):
        write_image(f"{tmp_path}/{name}.png", texture(20, 20))
    done = run("manifest", str(tmp_path), "--output", f"{tmp_path}/m.parquet")
    assert done.returncode == 0
    assert "2 pairs" in done.stdout
    assert "alone_A.png" in done.stderr
    assert pq.read_table(tmp_path / "m.parquet")["pair_id"].to_pylist() == ["x_2", "x_10"]


@pytest.fixture
def known_costs(tmp_path, monkeypatch):
    """A machine that has been measured before, with classical at scale 2, on small PNGs."""
    from dfp_batch.engine import costs  # noqa: PLC0415 - imports torch

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run, kind = run_config("classical", None, {"scale": 2}), costs.Kind("png", 3, "uint8", 0)
    lines = dict.fromkeys(Stage, costs.Line(1.0, 1.0, 1.0, 0.1))
    today = datetime.now(UTC).isoformat(timespec="seconds")
    model = costs.CostModel(today, "a CPU", "cpu", kind, lines, lines, 3.0, 0.7)
    monkeypatch.setattr(costs, "measure", lambda *_: model)
    costs.cost_model(run, kind, uses_gpu=False)
    return today[:10]


def test_plan_says_what_would_be_done_and_computes_nothing(make_archive, tmp_path, known_costs):
    manifest = make_archive(3)
    options = ["--scale", "2", "--preset", "classical"]
    done = run("plan", manifest, *options, "--cpus", "4", "--gpus", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"measured on {known_costs} on a CPU" in done.stdout
    assert "on 4 CPUs" in done.stdout
    assert done.stdout.endswith(f"dfp-batch submit {manifest} {' '.join(options)}\n")
    assert not list(tmp_path.glob("manifest-*"))
    found = json.loads(run("plan", manifest, *options, "--gpus", "0", "--json").stdout)
    assert (found["pairs"], found["sampled"], found["problems"]) == (3, 3, [])
    assert found["costs"]["cpu_hours"]["mid"] == pytest.approx(9 / 3600, rel=0.01)


def test_a_folder_is_planned_as_it_is_submitted(make_archive, tmp_path, known_costs):
    make_archive(3)
    options = ["--scale", "2", "--preset", "classical", "--every", "2"]
    done = run("plan", tmp_path, *options, "--gpus", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"dfp-batch submit {tmp_path} {' '.join(options)}\n")


def test_plan_exits_with_3_if_pairs_would_fail(make_archive, tmp_path):
    manifest = make_archive(1)
    (tmp_path / "p00_B.png").unlink()
    done = run("plan", manifest)
    assert done.returncode == 3
    assert "1 would fail" in done.stdout and "p00_B.png" in done.stdout


def test_plan_exits_with_2_for_a_bad_manifest(tmp_path):
    done = run("plan", f"{tmp_path}/none.parquet")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
