"""The command as a user runs it: one process per test, its output and its exit code."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile

import dfp_batch as dfp_batch_package
from conftest import texture, write_image
from dfp_batch.config.run_config import run_config
from dfp_batch.degradation.kernels import Gaussian
from dfp_batch.engine.stages import Stage
from dfp_batch.io import codec, storage
from dfp_batch.io.codec.index_map import decode_indices
from dfp_batch.pipeline.presets import DEFAULT_PRESET, PRESETS
from dfp_batch.runs.attempts import PairRecord, read_attempts
from dfp_batch.runs.lease import current_lease
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair, read_manifest
from dfp_batch.runs.status import results
from dfp_batch.synthetic import SceneSet, SceneSpec
from fault_injection import HOLD

# The command with rows flushed at once, so that a test need not wait half a minute for them.
EAGER = """
from dfp_batch import cli
from dfp_batch.runs import ledger
ledger.FLUSH_S = 0.0
cli.main()
"""
DEADLINE_S = 200


def dfp_batch(*arguments, code=None):
    return [sys.executable, "-c", code or "from dfp_batch.cli import main; main()", *arguments]


def run(*arguments):
    return subprocess.run(
        dfp_batch(*arguments), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


@pytest.mark.parametrize("command", ["submit", "fuse"])
def test_help_names_every_preset_and_which_is_the_default(command):
    done = run(command, "--help")
    text = " ".join(re.sub(r"[^\x20-\x7e]", " ", done.stdout).split())
    for preset in PRESETS:
        assert re.search(rf"\b{preset}\b", text)
    assert f"{DEFAULT_PRESET} (default)" in text


@pytest.fixture(scope="module")
def two_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return [
        write_image(f"{folder}/{name}.png", texture(24, 30, seed=k)) for k, name in enumerate("ab")
    ]


def test_version_is_that_of_the_package():
    assert run("--version").stdout == f"dfp-batch {dfp_batch_package.__version__}\n"


def test_fuse_writes_image_and_decision(two_images, tmp_path):
    out, decision = tmp_path / "new" / "out.png", tmp_path / "map.png"
    done = run("fuse", *two_images, "--output", str(out), "--scale", "3", "--preset", "classical",
               "--decision", str(decision))  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert codec.decode(out.read_bytes(), "out").pixels.shape == (72, 90, 3)
    assert decode_indices(decision.read_bytes()).shape == (24, 30)


def test_fuse_takes_three_sources_and_every_format(two_images, tmp_path):
    sources = [*two_images, write_image(f"{tmp_path}/c.png", texture(24, 30, seed=5))]
    for name in ("out.tif", "out.jpeg"):
        quick = ("--set", "reconstruction.iterations=2", "--set", "refinement.iterations=2")
        output = ("--output", f"{tmp_path}/{name}", "--preset", "paper")
        done = run("fuse", *sources, *output, *quick)
        assert done.returncode == 0, done.stderr
        data = (tmp_path / name).read_bytes()
        assert codec.decode(data, name).pixels.shape == (48, 60, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--scale", "5"], 2, "scale must be 1, 2, 3 or 4, got 5"),
        (
            ["--preset", "sharpest"],
            2,
            "preset must be one of balanced, fast, best, classical, paper, got 'sharpest'",
        ),
        (["--set", "focus.kernel=3"], 2, "unknown setting 'focus.kernel'"),
        (["--kernel", "box"], 2, "sigma=1.2, sigma=1.2x0.8@30, module:Class"),
        (["--kernel", "sigma=0"], 2, "kernel.sigma_px must be > 0 and <= 16.0, got 0.0"),
        (["--set", "focus"], 2, "--set takes key=value, got 'focus'"),
        (["--precision", "fp16"], 2, "fp32"),
        (["--config", "/nowhere.toml"], 2, "--config /nowhere.toml: no such file"),
        (["--output", "/tmp/out.xcf"], 2, "the name must end in .png"),
        (["--align", "file"], 2, "--align file needs --align-from RUN"),
        (["--align-from", "/nowhere/r.json"], 3, "/nowhere/r.json: nothing is there, expected a"),
        (["/nowhere/c.png"], 2, "/nowhere/c.png: cannot read: nothing is there"),
    ],
)
def test_errors_are_one_line_without_a_traceback(two_images, tmp_path, arguments, code, text):
    done = run("fuse", *two_images, "--output", f"{tmp_path}/out.png", *arguments)
    assert done.returncode == code
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out.png").exists()


def test_fuse_takes_the_kernel(two_images, tmp_path):
    options = ("--scale", "2", "--preset", "classical", "--kernel")
    images = []
    for kernel in ("lanczos2", "sigma=1.2", "sigma=1.2x0.8@30"):
        done = run("fuse", *two_images, "--output", f"{tmp_path}/{kernel}.png", *options, kernel)
        assert (done.returncode, done.stderr) == (0, "")
        images.append((tmp_path / f"{kernel}.png").read_bytes())
    assert len(set(images)) == 3


def test_fuse_takes_the_pages_of_one_tiff(two_images, tmp_path):
    pages = [codec.decode(Path(url).read_bytes(), url).pixels for url in two_images]
    tifffile.imwrite(tmp_path / "stack.tif", np.stack(pages), photometric="rgb", metadata=None)
    apart, together = tmp_path / "apart.webp", tmp_path / "together.webp"
    options = ("--preset", "classical", "--scale", "1", "--quality", "70")
    for sources, output in ((two_images, apart), ([f"{tmp_path}/stack.tif"], together)):
        done = run("fuse", *sources, "--output", str(output), *options)
        assert (done.returncode, done.stderr) == (0, "")
    images = [codec.decode(path.read_bytes(), "out").pixels for path in (apart, together)]
    assert images[0].shape == (24, 30, 3)
    np.testing.assert_array_equal(*images)


def test_a_registration_that_fuse_wrote_is_used_again(two_images, tmp_path):
    """Changed by hand, so that it is seen to be used."""
    first, again, registration = (tmp_path / name for name in ("1.png", "2.png", "r.json"))
    options = ("--preset", "classical", "--scale", "1", "--confidence", f"{tmp_path}/sure.png")
    done = run("fuse", *two_images, "--output", str(first), *options,
               "--registration", str(registration), "--reference", "1")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert codec.decode((tmp_path / "sure.png").read_bytes(), "sure").pixels.shape == (24, 30, 1)
    content = json.loads(registration.read_bytes())
    assert [frame["source"] for frame in content["frames"]] == two_images
    assert [frame["flag"] for frame in content["frames"]] == ["identity", "reference"]

    content["frames"][0]["warp"][0][2] = 5
    registration.write_text(json.dumps(content))
    options += ("--align", "file", "--align-from", str(registration), "--set", "output.crop=valid")
    done = run("fuse", *two_images, "--output", str(again), *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert codec.decode(again.read_bytes(), "again").pixels.shape == (24, 25, 3)


def test_debug_shows_the_traceback(two_images, tmp_path):
    done = run("fuse", *two_images, "--output", f"{tmp_path}/o.png", "--scale", "5", "--debug")
    assert "Traceback" in done.stderr
    assert "ConfigError: scale must be" in done.stderr


def test_sources_that_do_not_fit_exit_with_3(two_images, tmp_path):
    other = write_image(f"{tmp_path}/c.png", texture(24, 31))
    done = run("fuse", two_images[0], other, "--output", f"{tmp_path}/out.png")
    assert done.returncode == 3
    assert re.search(r"30x24 px.*31x24 px.*register", done.stderr)


def test_manifest_names_what_it_cannot_pair(tmp_path):
    for name in ("x_10_A", "x_10_B", "x_2_A", "x_2_B", "alone_A"):
        write_image(f"{tmp_path}/{name}.png", texture(20, 20))
    done = run("manifest", str(tmp_path), "--output", f"{tmp_path}/m.parquet")
    assert done.returncode == 0
    assert "2 pairs" in done.stdout
    assert "alone_A.png" in done.stderr
    assert pq.read_table(tmp_path / "m.parquet")["pair_id"].to_pylist() == ["x_2", "x_10"]


def test_synth_writes_the_archive_of_the_demo(tmp_path):
    target = tmp_path / "samples"
    done = run("synth", str(target), "--count", "6", "--side", "64", "--scale", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"6 scenes -> {target}/manifest.parquet\n"
    pairs = read_manifest(f"{target}/manifest.parquet")
    assert [pair.pair_id for pair in pairs] == [
        "astronaut", "coffee", "chelsea", "camera", "rocket", "coins"
    ]  # fmt: skip
    for pair in pairs:
        near, far, *masks, truth = (
            codec.decode(Path(url).read_bytes(), url).pixels
            for url in (*pair.sources, *pair.masks, pair.reference)
        )
        assert near.shape[:2] == far.shape[:2] == masks[0].shape[:2] == (32, 32)
        assert (near != far).any()
        assert truth.shape[:2] == (64, 64)
        assert (masks[0] + masks[1] == 255).all()


def test_synth_passes_every_flag_on(tmp_path):
    flags = "--frames 3 --layers 4 --psf gaussian --defocus 2 --edge 0.5 --strokes 1 --shift 1"
    flags += " --breathing 0.01 --exposure 0.1 --noise 0.02 --jpeg 70 --side 48 --count 2 --seed 7"
    flags += " --scale 2 --kernel sigma=1.2"
    target = f"{tmp_path}/scenes"
    assert run("synth", target, "--from", "procedural", *flags.split()).returncode == 0
    spec = SceneSpec(3, 4, "gaussian", 2, 0.5, 1, 1, 1, 0.01, 0.1, 0.02, 70)
    scenes = SceneSet("procedural", spec, 2, 48, 2, 7, Gaussian(1.2))
    for index, pair in enumerate(read_manifest(f"{target}/manifest.parquet")):
        made = [codec.to_unit(codec.decode(Path(url).read_bytes(), url)) for url in pair.sources]
        assert (made == scenes.scene(index).sources).all()


def test_synth_names_the_images_it_cannot_use(tmp_path):
    write_image(f"{tmp_path}/in/a.png", texture(40, 40))
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    arguments = ("--from", f"{tmp_path}/in", "--side", "32", "--count", "2")
    done = run("synth", f"{tmp_path}/out", *arguments)
    assert done.returncode == 3
    assert done.stdout.startswith("1 scenes -> ")
    assert done.stderr.startswith(f"not made: b: {tmp_path}/in/b.png: does not start like a JPEG")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--frames", "1"], "frames must be 2 to 26, got 1"),
        (["--psf", "box"], "psf must be disc or gaussian, got 'box'"),
        (["--noise", "nan"], "noise must be 0 to 1, got nan"),
        (["--scale", "5"], "scale must be 1, 2, 3 or 4, got 5"),
        (["--side", "15"], "side_px must be >= 16, got 15"),
        (["--kernel", "box"], "kernel: no component 'box'; known: lanczos2, bicubic"),
        (["--count", "0"], "count must be >= 1, got 0"),
        (["--from", "/nowhere"], "/nowhere: holds no image"),
    ],
)
def test_synth_refuses_bad_options_in_one_line(tmp_path, arguments, text):
    done = run("synth", f"{tmp_path}/out", *arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert text in done.stderr
    assert not (tmp_path / "out").exists()


def test_synth_leaves_an_archive_alone(make_archive, tmp_path):
    make_archive(1)
    done = run("synth", str(tmp_path))
    assert done.returncode == 2
    assert "manifest.parquet exists already; choose another folder" in done.stderr


def test_what_is_not_a_run_is_one_line(tmp_path):
    done = run("retry", str(tmp_path))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "is not a run directory" in done.stderr


@pytest.fixture
def finished_run(tmp_path):
    """A run of two pairs, one part each; the second has failed and left a file."""
    pairs = [Pair(name, (f"{tmp_path}/{name}1.png", f"{tmp_path}/{name}2.png")) for name in "ab"]
    url = f"{tmp_path}/run"
    with Ledger.open(url, run_config("classical", None, {}), pairs) as ledger:
        image, data = tmp_path / "run/outputs/a/fused.png", b"image"
        storage.write_bytes(str(image), data)
        facts = {"output_url": str(image), "output_sha256": hashlib.sha256(data).hexdigest()}
        ledger.append(PairRecord("a", 1, "ok", "publish", 1.0, 2.0, facts=facts))
        ledger.flush()
        ledger.append(PairRecord("b", 1, "error", "publish", 1.0, 2.0, "input", "E", "no image"))
    storage.write_bytes(f"{url}/outputs/b/preview.jpg", b"half")
    return Path(url)


def said(code, *arguments):
    done = run(*map(str, arguments))
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout


def test_verify_exits_with_3_if_something_is_to_be_done_again(finished_run):
    whole = "verified: 1 whole, 0 missing, 0 changed, 0 unreadable; 0 requeued\n"
    assert said(0, "verify", finished_run) == whole
    image = finished_run / "outputs/a/fused.png"
    image.unlink()
    assert said(3, "verify", finished_run).splitlines() == [
        f"a: {image}: is not there any more",
        "verified: 0 whole, 1 missing, 0 changed, 0 unreadable; 1 requeued",
        "next: the submit command of this run does them again",
    ]
    assert "1 pending of 2" in said(0, "status", finished_run)


def test_gc_and_compact_change_nothing_that_counts(finished_run):
    half = finished_run / "outputs/b/preview.jpg"
    assert said(0, "gc", finished_run).splitlines() == [
        f"{half}  4 bytes",
        "1 file, 4 bytes, that no row refers to",
        "next: the same command with --delete deletes them",
    ]
    assert half.exists()
    before = results(str(finished_run))
    deleted = said(0, "gc", finished_run, "--delete")
    assert deleted.endswith("1 file, 4 bytes, deleted\n")
    assert not half.exists()
    assert said(0, "compact", finished_run) == f"2 -> 1 parts in {finished_run}/results\n"
    assert results(str(finished_run)).equals(before)


def test_what_writes_is_refused_beside_a_driver(finished_run):
    with Ledger.reopen(str(finished_run)):
        for arguments in (("verify",), ("retry",), ("gc", "--delete"), ("compact",)):
            done = run(arguments[0], str(finished_run), *arguments[1:])
            assert done.returncode == 5
            assert "is driven by process" in done.stderr
        assert said(0, "failures", finished_run).startswith("1 pair: input\n")


def test_retry_says_so_when_there_is_nothing_to_retry(finished_run):
    text = said(0, "retry", finished_run, "--category", "crash", "--quarantined")
    line = "nothing to retry: no pair failed with category crash or is quarantined\n"
    assert text == f"run: {finished_run}\n{line}"
    done = run("retry", str(finished_run), "--category", "inputs")
    assert (done.returncode, "must be one of input, transient" in done.stderr) == (2, True)


@pytest.fixture
def address(local_ray):
    """Of the Ray of this session, for commands that need none of their own."""
    import ray  # noqa: PLC0415 - slow; only for those who ask

    return ray.get_runtime_context().gcs_address


def start(manifest, *arguments):
    """Submit in a process group of its own; Ray is started by the command itself."""
    tests = str(Path(__file__).parents[1])
    return subprocess.Popen(
        dfp_batch(
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
    again = said(0, "retry", tmp_path / "run", "--category", "input", "--address", address)
    assert "3 done, 0 failed, 0 quarantined, 0 pending of 3" in again
    assert f"images   {tmp_path}/run/outputs/<pair>/fused.*" in again


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


def test_a_changed_setting_on_the_same_run_is_refused_naming_it(make_archive, tmp_path):
    manifest = make_archive(1)
    config = run_config("classical", None, {"scale": 2})
    Ledger.open(str(tmp_path / "manifest-x2"), config, read_manifest(manifest)).close()
    code, _, errors = finish(start(manifest, "--set", "reconstruction.steps=3"))
    assert code == 2
    assert "reconstruction.steps: 10 -> 3" in errors


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
