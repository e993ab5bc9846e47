"""The scripts in jobs/, run as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dfp_batch.networks.weights import load_defocus_spread, load_prior
from dfp_batch.reconstruction.learned_prior import LearnedPrior

JOBS = Path(__file__).parents[2] / "jobs"


TINY_SCENES = ("--scenes", "3", "--side", "80")
TINY_NETWORK = ("--batch", "4", "--patch", "12", "--width", "8", "--blocks", "1", "--log", "1")


def finished(script, *arguments):
    return subprocess.run(
        [sys.executable, str(JOBS / script), *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def run(script, *arguments):
    done = finished(script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_benchmark_times_both_precisions_and_counts_no_synchronisation():
    report = json.loads(run("benchmark.py", "--side", "32", "--rounds", "2", "--iterations", "1"))
    assert report["metadata"]["seed"] == 0
    for precision in ("fp32", "bf16"):
        result = report["results"][precision]
        assert result["ms_per_iteration"]["median"] > 0
        assert len(result["samples_ms"]) == 2
        assert result["host_syncs_per_iteration"] == 0


@pytest.mark.slow
def test_the_engine_benchmark_brings_every_pair_to_its_row_in_two_sessions(tmp_path):
    lines = run("benchmark_engine.py", "--rows", "60000", "--folder", str(tmp_path)).splitlines()
    report = json.loads("\n".join(lines[lines.index("{") :]))
    first, second = report["begin"], report["resume"]
    assert first["pairs"] + second["pairs"] == report["rows"] == 60_000
    assert 30_000 <= first["pairs"] < 60_000
    assert first["fill"]["virtual_s"] < first["all"]["virtual_s"]
    assert 1000 < first["most_in_flight"] <= 2 * 16_000 + 1_000  # one prepared pair per CPU
    assert (report["status"]["ok"], report["status"]["pending"]) == (
        first["pairs"],
        second["pairs"],
    )
    assert (report["ended"]["ok"], report["ended"]["pending"]) == (60_000, 0)


def train(folder, *arguments):
    tiny = (*TINY_SCENES, *TINY_NETWORK, "--steps", "3")
    return run("train_prior.py", "--out", str(folder), *tiny, *arguments)


def without_times(log):
    return [{**json.loads(line), "seconds": None} for line in log.splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three steps in one go."""
    folder = tmp_path_factory.mktemp("trained")
    train(folder)
    return folder


def test_training_makes_weights_that_the_part_takes_and_their_card(trained):
    network = LearnedPrior(str(trained / "prior.safetensors")).build(torch.device("cpu"))
    assert network.width == 8
    assert "--width 8 --blocks 1" in (trained / "prior.md").read_text()
    assert "3 of 3" in (trained / "prior.md").read_text()


def test_training_is_logged(trained):
    rows = without_times((trained / "log.jsonl").read_text())
    assert [row["step"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert 0 < row["loss"] < 1
        assert len(row["gain_db"]) == 9
        assert row["gain_db"].keys() >= {"x2 lanczos2", "x3 sigma=1.05", "x4 sigma=2.8"}


@pytest.mark.slow
def test_interrupted_training_goes_on_to_the_same_result(trained, tmp_path):
    train(tmp_path, "--stop", "1")
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1
    train(tmp_path)
    resumed, straight = (load_file(f / "prior.safetensors") for f in (tmp_path, trained))
    assert all(torch.equal(resumed[name], weight) for name, weight in straight.items())
    logs = (without_times((f / "log.jsonl").read_text()) for f in (tmp_path, trained))
    assert next(logs) == next(logs)


@pytest.mark.slow
def test_processes_change_nothing_but_the_time(trained, tmp_path):
    train(tmp_path, "--processes", "2")
    several, one = (load_file(f / "prior.safetensors") for f in (tmp_path, trained))
    assert all(torch.equal(several[name], weight) for name, weight in one.items())


def test_training_goes_on_with_a_deeper_network(trained, tmp_path):
    small = str(trained / "prior.safetensors")
    train(tmp_path, "--blocks", "2", "--grow", small, "--stop", "1")
    assert len(load_prior(tmp_path / "prior.safetensors", torch.device("cpu")).trunk) == 2
    assert f"--grow {small}" in (tmp_path / "prior.md").read_text()


def test_training_with_other_settings_needs_another_folder(trained):
    before = (trained / "prior.safetensors").read_bytes()
    tiny = (*TINY_SCENES, *TINY_NETWORK, "--steps", "4")
    other = finished("train_prior.py", "--out", str(trained), *tiny)
    assert other.returncode != 0
    assert "choose another --out" in other.stderr
    assert (trained / "prior.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch", "6"), "--batch must be a multiple of 4, got 6"),
        (("--side", "100", "--patch", "24"), "--side must be at least 128 for --patch 24, got 100"),
    ],
)
def test_training_refuses_what_cannot_be(arguments, message, tmp_path):
    refused = finished("train_prior.py", "--out", str(tmp_path / "new"), *arguments)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_training_of_the_blind_estimate_is_repeatable(tmp_path):
    tiny = ("--scenes", "2", "--side", "400", "--samples", "12", "--steps", "3")
    weights = []
    for name in ("one", "two"):
        run("train_blur.py", "--out", str(tmp_path / name), *tiny)
        weights.append((tmp_path / name / "blur.safetensors").read_bytes())
    assert weights[0] == weights[1]
    card = (tmp_path / "one" / "blur.md").read_text()
    assert "--scenes 2 --side 400 --samples 12 --steps 3 --seed 0" in card


def train_defocus_spread(folder, *arguments):
    tiny = ("--scenes", "2", "--side", "64", "--patch", "32", "--batch", "2", "--log", "1")
    return run("train_defocus_spread.py", "--out", str(folder), *tiny, "--steps", "2", *arguments)


@pytest.mark.slow
def test_training_of_the_spread_correction_is_repeatable_and_goes_on(
    tmp_path,
):
    train_defocus_spread(tmp_path / "straight")
    train_defocus_spread(tmp_path / "resumed", "--stop", "1")
    train_defocus_spread(tmp_path / "resumed")
    straight, resumed = (tmp_path / name for name in ("straight", "resumed"))
    weights = [
        (folder / "defocus-spread.safetensors").read_bytes() for folder in (straight, resumed)
    ]
    assert weights[0] == weights[1]
    logs = [without_times((folder / "log.jsonl").read_text()) for folder in (straight, resumed)]
    assert logs[0] == logs[1]
    assert [row["step"] for row in logs[0]] == [1, 2]
    assert "2 of 2" in (resumed / "defocus-spread.md").read_text()
    load_defocus_spread(resumed / "defocus-spread.safetensors")


def test_training_of_the_spread_correction_refuses_what_cannot_be(tmp_path):
    refused = finished("train_defocus_spread.py", "--out", str(tmp_path / "new"), "--patch", "63")
    assert refused.returncode == 2
    assert "must be even" in refused.stderr
    assert not (tmp_path / "new").exists()
