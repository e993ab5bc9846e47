"""The examples do what they say."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dfp_batch import fuse
from dfp_batch.config.run_config import run_config
from dfp_batch.errors import ConfigError
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.synthetic import procedural_image

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments, folder):
    environment = {**os.environ, "PYTHONPATH": f"{EXAMPLES.parent}:{EXAMPLES}"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_arrays_are_fused(tmp_path):
    said = run("fuse_two_arrays.py", "--output", "out.png", folder=tmp_path)
    assert "out.png: 256x192 px, 50% of the first source" in said
    assert (tmp_path / "out.png").stat().st_size > 10_000


def test_a_focus_measure_of_ones_own_finds_the_sharp_half(tmp_path):
    share = run("local_variance.py", folder=tmp_path).rpartition("for ")[2].partition("%")[0]
    assert int(share) > 95


def unchanging(path):
    """Weights of SRCNN that give back what they get."""
    arrays = {}
    for name, shape in {
        "conv1": (64, 1, 9, 9),
        "conv2": (32, 64, 5, 5),
        "conv3": (1, 32, 5, 5),
    }.items():
        arrays[f"{name}_weight"] = np.zeros(shape, np.float32)
        arrays[f"{name}_weight"][0, 0, shape[2] // 2, shape[3] // 2] = 1
        arrays[f"{name}_bias"] = np.zeros(shape[0], np.float32)
    np.savez(path, **arrays)


def test_a_network_of_somebody_else_enlarges(tmp_path, monkeypatch):
    unchanging(tmp_path / "same.npz")
    assert run("srcnn.py", "same.npz", folder=tmp_path) == "256x192 px\n"
    monkeypatch.syspath_prepend(EXAMPLES)
    settings = {"reconstruction": "srcnn:Srcnn", "policy": "always", "merge": "blend"}
    file = {"reconstruction.weights": str(tmp_path / "same.npz")}
    image = procedural_image(32, 1).transpose(1, 2, 0)[None].repeat(2, 0)
    network = fuse(image, run_config("classical", None, {**settings, **file}).fusion)
    bicubic = {"reconstruction": "back-projection", "reconstruction.steps": 0, "merge": "blend"}
    torch.testing.assert_close(
        network.fused, fuse(image, run_config("classical", None, bicubic).fusion).fused,
        atol=1e-5, rtol=0,
    )  # fmt: skip
    gone = {"reconstruction.weights": str(tmp_path / "gone.npz")}
    with pytest.raises(ConfigError, match=r"must be an \.npz of SRCNN's layers, got '.*gone"):
        fuse(image, run_config("classical", None, {**settings, **gone}).fusion)


def test_an_archive_is_run_and_looked_at(make_archive, tmp_path, local_ray, monkeypatch):
    import ray  # noqa: PLC0415 - slow; only for those who ask

    manifest = make_archive(3)
    (tmp_path / "p01_A.png").write_bytes(b"")
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    text = run("run_an_archive.py", manifest, str(tmp_path / "run"), folder=tmp_path).splitlines()
    assert text[0].startswith("1 failed: ")
    assert "p01_A.png: is empty (0 bytes)" in text[0]
    assert text[1].endswith(f"dfp-batch retry {tmp_path}/run --category input")
    assert text[2] == "2 of 3 done"
    assert text[3].endswith(".png") and "40x48 px, uint8" in text[3]


def test_every_example_is_tested():
    tested = Path(__file__).read_text()
    assert [file.name for file in EXAMPLES.glob("*.py") if f'run("{file.name}"' not in tested] == []


def test_the_table_of_a_run_is_read_by_sql(tmp_path):
    pairs = [Pair(f"p{k}", ("/a.png", "/b.png")) for k in range(3)]
    rows = [("p0", "error", 1), ("p0", "ok", 2), ("p1", "ok", 1), ("p2", "error", 1)]
    with Ledger.open(str(tmp_path), run_config("fast", None, {}), pairs) as ledger:
        for pair_id, status, attempt in rows:
            ledger.append(PairRecord(pair_id, attempt, status, "publish", 1.0, 2.0))
    names, *found = run("read_the_table.py", str(tmp_path), folder=tmp_path).splitlines()
    assert names.startswith("pair_id\tstatus\tcategory")
    assert {tuple(row.split("\t")[:2]) for row in found} == {
        ("p0", "ok"),
        ("p1", "ok"),
        ("p2", "error"),
    }
