"""``dfp-batch submit`` in a process of its own: what it says, how it ends, what it leaves."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from command_line import DEADLINE_S, command, run, run_apart
from dfp_batch.config.run_config import run_config
from dfp_batch.io import codec
from dfp_batch.runs.attempts import read_attempts
from dfp_batch.runs.lease import current_lease
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import read_manifest
from dfp_batch.runs.status import results
from fault_injection import HOLD

# The command with rows flushed at once, so that a test need not wait half a minute for them.
EAGER = """
from dfp_batch import cli
from dfp_batch.runs import ledger
ledger.FLUSH_S = 0.0
cli.main()
"""


@pytest.fixture
def address(local_ray):
    """Of the Ray of this session, for commands that need none of their own."""
    import ray  # noqa: PLC0415 - slow; only for those who ask

    return ray.get_runtime_context().gcs_address


def start(manifest, *arguments):
    """Submit in a process group of its own; Ray is started by the command itself."""
    tests = str(Path(__file__).parents[1])
    return subprocess.Popen(
        command(
            "submit", manifest, "--scale", "2", "--preset", "classical", *arguments, code=EAGER
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": tests},
    )


@pytest.fixture
def held_archive(make_archive, tmp_path):
    """Eight pairs, of which the sixth waits for the file ``go-on``; manifest, run, arguments."""
    manifest = make_archive(8, faults={5: HOLD})
    settings = ["reconstruction.use=fault_injection:FaultyReconstruction"]
    settings.append(f"reconstruction.folder={tmp_path}")
    arguments = [text for setting in settings for text in ("--set", setting)]
    return manifest, Path(manifest.removesuffix(".parquet") + "-x2"), arguments


def wait_for_rows(process, run_dir, count):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if (run_dir / "results").exists() and read_attempts(str(run_dir)).num_rows >= count:
            return
        os.sched_yield()
    pytest.fail(f"no {count} rows after {DEADLINE_S} s")


def finish(process):
    output, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, output, errors


@pytest.mark.slow
def test_killed_driver_then_the_same_command_loses_and_repeats_nothing(held_archive, tmp_path):
    manifest, run_dir, arguments = held_archive
    process = start(manifest, *arguments)
    wait_for_rows(process, run_dir, 3)
    process.kill()
    process.communicate()
    recorded = {row["pair_id"] for row in read_attempts(str(run_dir)).to_pylist()}
    assert 3 <= len(recorded) < 8

    (tmp_path / "go-on").touch()
    code, output, errors = finish(start(manifest, *arguments))
    assert (code, errors) == (0, "")
    assert "8 done, 0 failed" in output
    attempts = read_attempts(str(run_dir)).to_pylist()
    assert {row["pair_id"] for row in attempts if row["epoch"] == 1} == recorded
    assert len(attempts) == 8
    for row in results(str(run_dir)).to_pylist():
        assert codec.decode(Path(row["output_url"]).read_bytes(), "fused").pixels.shape[0] == 48


@pytest.mark.slow
def test_a_second_driver_is_refused_and_sigterm_leaves_a_resumable_run(held_archive, tmp_path):
    manifest, run_dir, arguments = held_archive
    process = start(manifest, *arguments)
    wait_for_rows(process, run_dir, 1)

    second = start(manifest, *arguments)
    code, _, errors = finish(second)
    assert code == 5
    assert f"process {process.pid} on" in errors

    process.send_signal(signal.SIGTERM)
    code, _, errors = finish(process)
    assert code == 4, errors
    assert "stopped by SIGTERM; the same command goes on from here" in errors
    assert current_lease(str(run_dir)) is None

    (tmp_path / "go-on").touch()
    code, output, _ = finish(start(manifest, *arguments))
    assert code == 0
    assert "8 done" in output


def test_submit_shows_failures_and_exits_with_3(make_archive, tmp_path, address):
    manifest = make_archive(3)
    (tmp_path / "p01_A.png").write_bytes(b"")
    code, output, errors = finish(start(manifest, "--output", f"{tmp_path}/run"))
    assert (code, errors) == (3, "")
    assert "dashboard: http://127.0.0.1:" in output
    assert "error: input" in output
    assert "p01_A.png: is empty (0 bytes)" in " ".join(output.split())

    status = json.loads(run("status", f"{tmp_path}/run", "--json").stdout)
    assert (status["ok"], status["failed"], status["by_category"]) == (2, 1, {"input": 1})
    shown = run("status", f"{tmp_path}/run")
    assert "2 done, 1 failed, 0 quarantined, 0 pending of 3" in shown.stdout
    table = run("results", f"{tmp_path}/run", "--output", f"{tmp_path}/table.parquet")
    assert table.returncode == 0
    assert pq.read_table(tmp_path / "table.parquet").num_rows == 3
    assert "p01" in run("results", f"{tmp_path}/run").stdout
    assert f"next     dfp-batch failures {tmp_path}/run" in shown.stdout
    causes = run("failures", f"{tmp_path}/run")
    assert causes.returncode == 0
    assert causes.stdout.startswith("1 pair: input\n")
    assert f"then dfp-batch retry {tmp_path}/run --category input\n" in causes.stdout

    shutil.copy(tmp_path / "p00_A.png", tmp_path / "p01_A.png")
    again = run_apart("retry", f"{tmp_path}/run", "--category", "input", "--address", address)
    assert (again.returncode, again.stderr) == (0, "")
    assert "3 done, 0 failed, 0 quarantined, 0 pending of 3" in again.stdout
    assert f"images   {tmp_path}/run/outputs/<pair>/fused.*" in again.stdout


def test_submit_writes_files_as_asked_and_says_so_in_run_json(make_archive, tmp_path, address):
    output = ("--format", "jpeg", "--quality", "80", "--crop", "valid")
    align = ("--align", "translation", "--reference", "0", "--kernel", "sigma=1.2")
    code, shown, errors = finish(start(make_archive(1), *output, *align, "--address", address))
    assert (code, errors) == (0, "")
    run_dir = tmp_path / "manifest-x2"
    config = json.loads((run_dir / "run.json").read_bytes())["config"]
    assert config["output.format"] == "jpeg"
    assert config["output.quality"] == 80
    assert config["output.crop"] == "valid"
    assert config["align.model"] == "translation"
    assert config["align.reference"] == 0
    assert config["align_from"] is None
    assert config["kernel.sigma_px"] == 1.2
    (row,) = results(str(run_dir)).to_pylist()
    assert row["kernel"] == "sigma=1.2"
    assert 0 < row["consistency"] < 0.1
    assert (run_dir / "outputs" / "p00" / "fused.jpg").read_bytes().startswith(b"\xff\xd8")
    assert f"images   {run_dir}/outputs/<pair>/fused.*" in shown
    assert shown.endswith(f"report   {run_dir}/report.html\n")
    assert "All 1 items are done" in (run_dir / "report.html").read_text()


def test_a_changed_setting_on_the_same_run_is_refused_naming_it(make_archive, tmp_path):
    manifest = make_archive(1)
    config = run_config("classical", None, {"scale": 2})
    Ledger.open(str(tmp_path / "manifest-x2"), config, read_manifest(manifest)).close()
    options = ("--scale", "2", "--preset", "classical")
    done = run("submit", manifest, *options, "--set", "reconstruction.steps=3")
    assert done.returncode == 2
    assert "reconstruction.steps: 10 -> 3" in done.stderr


def test_submit_tells_a_program_the_status_and_nothing_if_quiet(make_archive, tmp_path, address):
    manifest = make_archive(2)
    (tmp_path / "p01_A.png").write_bytes(b"")
    command = ("submit", manifest, "--preset", "classical", "--scale", "1")
    done = run(*command, "--json")
    assert done.returncode == 3
    status = json.loads(done.stdout)
    assert (status["run"], status["ok"], status["failed"]) == (f"{tmp_path}/manifest-x1", 1, 1)
    assert done.stderr.startswith(f"run: {tmp_path}/manifest-x1\n")
    done = run(*command, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    done = run("retry", f"{tmp_path}/manifest-x1", "--json", "--quiet")
    assert (done.returncode, json.loads(done.stdout)["failed"], done.stderr) == (3, 1, "")
