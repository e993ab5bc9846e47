"""What a night does to a run: processes that freeze or die, neighbours, results without a row."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psutil
import pytest
import ray

from conftest import write_image
from dfp_batch.config.run_config import run_config
from dfp_batch.engine import scheduler
from dfp_batch.engine.driver import Observer, Submission, submit
from dfp_batch.engine.progress import Patience
from dfp_batch.errors import RunStoppedError
from dfp_batch.io import storage
from dfp_batch.runs.attempts import read_attempts
from dfp_batch.runs.status import results
from fault_injection import FREEZE_ONCE, HOLD

TESTS = Path(__file__).parent.parent
FAULTY = "fault_injection:FaultyReconstruction"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Another attempt comes at once."""
    monkeypatch.setattr(scheduler, "BACKOFF_S", 0.05)


def run(manifest_url, output_url, settings=None, **options):
    config = run_config("classical", None, {"scale": 2, **(settings or {})})
    submission = Submission(manifest_url, output_url, config, **options)
    return submit(submission, Observer(lambda url: None, lambda counts: None))


def faulty(folder):
    return {"reconstruction.use": FAULTY, "reconstruction.folder": str(folder)}


def attempts_of(url):
    rows = read_attempts(url).to_pylist()
    return sorted((row["pair_id"], row["epoch"], row["attempt"], row["category"]) for row in rows)


def written(url):
    """When every image of a run was last written."""
    return {
        row["pair_id"]: os.stat(row["output_url"]).st_mtime_ns for row in results(url).to_pylist()
    }


@pytest.mark.usefixtures("local_ray")
def test_a_frozen_worker_is_ended_and_its_pair_done_elsewhere(make_archive, tmp_path):
    manifest, url = make_archive(3, faults={1: FREEZE_ONCE}), f"{tmp_path}/run"
    patience = Patience(silence_s=3.0, grace_s=2.0, beat_s=0.5)
    assert run(manifest, url, faulty(tmp_path), patience=patience).ok == 3
    rows = read_attempts(url).to_pylist()
    (lost,) = [row for row in rows if row["status"] != "ok"]
    assert (lost["pair_id"], lost["category"]) == ("p01", "timeout")
    assert "no sign of life for" in lost["error_message"]
    frozen = int((tmp_path / "frozen").read_text())
    wait_for(lambda: not is_alive(frozen))


@pytest.mark.usefixtures("local_ray")
def test_results_whose_rows_were_lost_are_adopted(make_archive, tmp_path):
    manifest, url = make_archive(3), f"{tmp_path}/run"
    run(manifest, url)
    before, metrics = written(url), results(url).to_pylist()
    for part in storage.list_files(f"{url}/results"):
        storage.delete(part)
    assert run(manifest, url).ok == 3
    assert written(url) == before
    after = results(url).to_pylist()
    assert all(row["adopted"] for row in after)
    same = ("output_sha256", "mg", "floor_mg", "source_versions", "t_reconstruct_s", "n_sources")
    assert [[row[name] for name in same] for row in after] == [
        [row[name] for name in same] for row in metrics
    ]


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("change", ["source", "image", "receipt"])
def test_results_that_are_not_what_this_run_would_make_are_not_adopted(
    make_archive, tmp_path, change
):
    manifest, url = make_archive(2), f"{tmp_path}/run"
    run(manifest, url)
    row = results(url).to_pylist()[0]
    for part in storage.list_files(f"{url}/results"):
        storage.delete(part)
    if change == "source":
        write_image(f"{tmp_path}/p00_A.png", 255 - _pixels(f"{tmp_path}/p00_A.png"))
    elif change == "image":
        storage.write_bytes(row["output_url"], b"damaged")
    else:
        storage.write_bytes(f"{url}/outputs/p00/result.json", b"{}")
    assert run(manifest, url).ok == 2
    assert [row["adopted"] for row in results(url).to_pylist()] == [None, True]


def _pixels(url):
    from dfp_batch.engine.frames import read_frame  # noqa: PLC0415

    return read_frame(url).pixels


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a disk that can be filled must be mounted: {done.stderr}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.usefixtures("local_ray")
def test_a_full_disk_stops_the_run_and_loses_nothing(make_archive, tmp_path, small_disk):
    manifest, url = make_archive(8), f"{small_disk}/run"
    run(manifest, url, limit=1)
    disk, ballast = os.statvfs(small_disk), small_disk / "ballast"
    used = sum(path.stat().st_size for path in small_disk.glob("run/outputs/p00/*"))
    ballast.write_bytes(bytes(disk.f_bavail * disk.f_frsize - 2 * max(used, 2**14)))
    with pytest.raises(RunStoppedError, match="No space left on device"):
        run(manifest, url)
    finished = {path: path.stat().st_mtime_ns for path in small_disk.glob("run/outputs/*/fused.*")}
    ballast.unlink()
    # The lease could not be given back either; a driver that has ended holds none, but this lives.
    assert run(manifest, url, takeover=True).ok == 8
    done = [row["pair_id"] for row in read_attempts(url).to_pylist() if row["status"] == "ok"]
    assert sorted(done) == [f"p{number:02d}" for number in range(8)], "one row each"
    whole = [path for path in finished if (path.parent / "result.json").exists()]
    assert 1 <= len(whole) < 8
    assert all(path.stat().st_mtime_ns == finished[path] for path in whole), "none is done again"


@pytest.mark.usefixtures("local_ray")
def test_a_run_ends_in_time_and_goes_on(make_archive, tmp_path):
    manifest, url = make_archive(3, faults={2: HOLD}), f"{tmp_path}/run"
    run(manifest, url, faulty(tmp_path), limit=2)
    with pytest.raises(RunStoppedError, match="the time is up; the same command goes on"):
        run(manifest, url, faulty(tmp_path), until=in_seconds(1))
    (tmp_path / "go-on").touch()
    assert run(manifest, url, faulty(tmp_path), until=in_seconds(100)).ok == 3


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_who_takes_over_redoes_nothing_of_what_is_finished(make_archive, tmp_path):
    manifest, url = make_archive(4, faults={3: HOLD}), f"{tmp_path}/run"
    settings = [f"{key}={value}" for key, value in faulty(tmp_path).items()]
    options = [part for setting in settings for part in ("--set", setting)]
    address = ray.get_runtime_context().gcs_address
    first = command(
        "submit", manifest, "--output", url, "--preset", "classical", "--address", address, *options
    )
    wait_for(lambda: len(list((tmp_path / "run/outputs").glob("*/result.json"))) == 3)
    (tmp_path / "go-on").touch()
    assert run(manifest, url, faulty(tmp_path), takeover=True).ok == 4
    _, err = first.communicate(timeout=100)
    assert first.returncode in (0, 5), err
    done = [row["pair_id"] for row in read_attempts(url).to_pylist() if row["status"] == "ok"]
    assert sorted(set(done)) == ["p00", "p01", "p02", "p03"]
    assert len(done) - len(set(done)) <= 1, "at most the one that was in flight"


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_two_runs_on_one_cluster_both_come_to_their_end(make_archive, tmp_path):
    manifest = make_archive(12)
    address = ray.get_runtime_context().gcs_address
    other = command("submit", manifest, "--preset", "classical", "--address", address)
    assert run(manifest, f"{tmp_path}/run").ok == 12
    out, err = other.communicate(timeout=200)
    assert other.returncode == 0, out + err


def in_seconds(seconds):
    return datetime.now(UTC) + timedelta(seconds=seconds)


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "dfp_batch", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS)))},
    )


def descendants(process, name):
    """Running processes of this name below another."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [child for child in below if name in child.name()]


def wait_for(seen):
    deadline = time.monotonic() + 100
    while not (found := seen()):
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.1)
    return found


def begin_held(make_archive, tmp_path):
    """A run with a Ray of its own, whose last pair waits; and how to begin it."""
    manifest, url = make_archive(4, faults={2: HOLD}), f"{tmp_path}/run"
    settings = [f"{key}={value}" for key, value in faulty(tmp_path).items()]
    options = ["--output", url, "--preset", "classical"]
    options += [part for setting in settings for part in ("--set", setting)]
    begin = partial(command, "submit", manifest, *options)
    driver = begin()
    wait_for(lambda: (tmp_path / "run/results").exists() and read_attempts(url).num_rows == 3)
    return driver, begin, url


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_a_run_whose_ray_dies_goes_on_with_another(make_archive, tmp_path, name):
    driver, _, url = begin_held(make_archive, tmp_path)
    before = written(url)
    (child,) = psutil.Process(driver.pid).children()
    descendants(driver, name)[0].send_signal(signal.SIGKILL)
    wait_for(lambda: [other for other in psutil.Process(driver.pid).children() if other != child])
    (tmp_path / "go-on").touch()
    out, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, out + err
    assert err == ""
    assert "starting again" in out
    assert {key: value for key, value in written(url).items() if key in before} == before
    assert read_attempts(url).num_rows == 4, "nothing is done twice, nobody is blamed"


@pytest.mark.slow
def test_without_any_ray_the_rows_are_kept_and_the_same_command_goes_on(make_archive, tmp_path):
    driver, begin, url = begin_held(make_archive, tmp_path)
    before = written(url)
    while driver.poll() is None:
        for child in descendants(driver, "python")[:1]:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        threading.Event().wait(0.5)
    out, err = driver.communicate()
    assert driver.returncode == 4, out + err
    assert err == "error: stopped: Ray is gone, its process ended with signal SIGKILL\n"
    (tmp_path / "go-on").touch()
    again = begin()
    out, err = again.communicate(timeout=200)
    assert again.returncode == 0, out + err
    assert {key: value for key, value in written(url).items() if key in before} == before
    assert json.loads((tmp_path / "run/summary.json").read_text())["ok"] == 4
