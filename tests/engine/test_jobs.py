"""Runs that are sent to a cluster: a real head with a token, and the command as a user runs it."""

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import ray
import typer

from dfp_batch import cli
from dfp_batch.archive.cuts import Count, Names, Pause, cut_of
from dfp_batch.cli.options import resolve
from dfp_batch.config.run_config import run_config
from dfp_batch.engine import jobs
from dfp_batch.engine.driver import Submission
from dfp_batch.errors import ConfigError
from dfp_batch.io import storage
from dfp_batch.runs.lease import current_lease
from dfp_batch.runs.status import RunStatus
from fault_injection import HOLD
from ray_head import ROOT
from store_parts import serving

DEADLINE_S = 200
POLL_S = 0.1


@pytest.fixture
def submit(ray_head, tmp_path):
    """Submit to the head as a user with its token in the home; options and what comes out."""
    environment = ray_head.home(tmp_path, ray_head.token)
    environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT}/tests"}

    def run(*arguments, **changes):
        command = [sys.executable, "-m", "dfp_batch", "submit", *arguments]
        return subprocess.run(
            [*command, "--address", ray_head.url],
            env={**os.environ, **environment, **changes},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    run.environment = environment
    return run


@pytest.mark.slow
def test_whoever_is_to_be_told_hears_from_the_cluster(submit, make_archive):
    manifest = make_archive(1)
    (Path(manifest).parent / "p00_A.png").write_bytes(b"")
    heard = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            """Silent."""

    with serving(Listener) as url:
        done = submit(manifest, "--preset", "classical", "--wait", "--notify", f"{url}/hook?a=b")
    assert done.returncode == 3, done.stdout + done.stderr
    (told,) = heard
    assert (told["outcome"], told["pairs"]["failed"]) == ("failures", 1)
    assert told["run"] == manifest.removesuffix(".parquet") + "-x2"


def lines(done):
    """``name: rest`` of the output."""
    return dict(re.findall(r"^(\w+): +(.*)$", done.stdout, re.MULTILINE))


@pytest.mark.slow
def test_a_run_in_the_cluster_ends_with_its_own_exit_code(submit, make_archive, tmp_path, s3_url):
    """The keys are the cluster's: whoever submits has none, and says where the store is."""
    config = tmp_path / "mine.toml"
    config.write_text('preset = "classical"\n[reconstruction]\nsteps = 3\n')
    manifest = make_archive(2, f"{s3_url}/jobs")
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    done = submit(manifest, "--config", str(config), "--limit", "1", "--wait", **nobody)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "1 done, 0 failed" in done.stdout
    assert re.fullmatch(r"dfp-manifest-x2-\d{8}-\d{6}-[0-9a-f]{4}", lines(done)["job"])
    status = RunStatus.read(manifest.removesuffix(".parquet") + "-x2")
    assert (status.ok, status.total) == (1, 2)
    ran = storage.read_bytes(f"{s3_url}/jobs/manifest-x2/run.json")
    assert json.loads(ran)["config"]["reconstruction.steps"] == 3

    missing = submit(f"{s3_url}/nowhere.parquet", "--wait", **nobody)
    assert missing.returncode == 2
    assert "nowhere.parquet: cannot read: nothing is there" in missing.stdout


@pytest.mark.slow
def test_the_lease_refuses_a_second_job_and_stop_gives_it_back(submit, make_archive, tmp_path):
    manifest = make_archive(2, faults={1: HOLD})
    settings = ["reconstruction=fault_injection:FaultyReconstruction"]
    settings.append(f"reconstruction.folder={tmp_path}")
    options = [text for setting in settings for text in ("--set", setting)]
    first = submit(manifest, *options)
    assert first.returncode == 0, first.stderr
    shared = f"note: {manifest} must be on a file system that every machine there shares\n"
    assert first.stderr == shared
    url = manifest.removesuffix(".parquet") + "-x2"
    wait_for(lambda: current_lease(url) is not None)

    second = submit(manifest, *options, "--wait")
    assert second.returncode == 5, second.stdout + second.stderr
    assert "is driven by process" in second.stdout

    said(lines(first)["stop"], submit)
    assert current_lease(url) is None
    assert "stopped by SIGTERM; the same command goes on" in said(lines(first)["follow"], submit)


def said(command, submit):
    """Output of a printed shell command."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **submit.environment, "PATH": path}
    done = subprocess.run(
        command, shell=True, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def wait_for(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL_S)


@pytest.mark.slow
def test_what_is_wrong_before_the_job_is_one_line(submit, make_archive):
    manifest = make_archive(1)
    for arguments, changes, text in (
        (["here/manifest.parquet"], {}, "here/manifest.parquet is a path on this machine; a"),
        ([manifest, "--output", "run"], {}, "run is a path on this machine; a cluster needs a URL"),
        ([manifest], {"RAY_AUTH_TOKEN": "wrong"}, "refuses the token that was found here"),
        ([manifest], {"AWS_ENDPOINT_URL": "http://u:p@h"}, "AWS_ENDPOINT_URL must not hold cred"),
    ):
        done = submit(*arguments, **changes)
        assert done.returncode == 2, done.stderr
        error = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
        assert len(error) == 1
        assert text in error[0]


def test_a_cluster_that_does_not_answer_is_one_line():
    submission = Submission("s3://a/m.parquet", "s3://a/run", run_config(None, None, {}))
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at http://127.0.0.1:1: "):
        jobs.send(dataclasses.replace(submission, address="http://127.0.0.1:1"))


class Starting(BaseHTTPRequestHandler):
    """The Jobs API of a cluster whose agent is there from the third attempt on."""

    attempts = 0

    def do_GET(self):
        self.answer(200, {"ray_version": ray.__version__})

    def do_POST(self):
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).attempts += 1
        if self.attempts < 3:
            text = "No available agent to submit job, please try again later."
            self.answer(500, text)
        else:
            self.answer(200, dict.fromkeys(("job_id", "submission_id"), job["submission_id"]))

    def answer(self, status, body):
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        """Silent."""


def test_a_cluster_that_is_still_starting_is_waited_for(monkeypatch):
    monkeypatch.setattr(jobs, "_POLL_S", 0.0)
    submission = Submission("s3://a/m.parquet", "s3://a/run", run_config(None, None, {}))
    with serving(Starting) as url:
        job = jobs.send(dataclasses.replace(submission, address=url))
    assert job.job_id.startswith("dfp-run-")
    assert Starting.attempts == 3
    monkeypatch.setattr(jobs, "_START_S", -1.0)
    Starting.attempts = 0
    with (
        serving(Starting) as url,
        pytest.raises(ConfigError, match=f"no Ray cluster takes jobs at {url}: .* agent"),
    ):
        jobs.send(dataclasses.replace(submission, address=url))


@pytest.mark.parametrize(
    ("preset", "settings", "count"),
    [
        (None, {}, 0),
        ("fast", {"scale": 3, "output.format": "tiff"}, 2),
        ("paper", {"align_from": "s3://a/run-1", "kernel": "sigma=1.2"}, 3),
        ("classical", {"focus": "double-reblur"}, None),
        ("fast", {"reading.stack_axis": "T", "reading.focus_channel": 1, "reading.fit": "crop"}, 3),
    ],
)
def test_the_command_line_of_the_job_is_the_submission(preset, settings, count):
    config = run_config(preset, None, settings)
    options = {
        "limit": 7,
        "gpus_per_pair": 0.25,
        "max_failure_rate": 0.5,
        "takeover": True,
        "retry_quarantined": True,
        "notify": "https://example.org/hook?a=1&b='2'",
    }
    submission = Submission(
        "s3://a/it's.parquet", "s3://a/run", config, address="http://h", **options
    )
    context = parsed(jobs.entrypoint(submission))
    given = context.params
    assert given["manifest"] == "s3://a/it's.parquet"
    assert given["output"] == "s3://a/run"
    assert {name: given[name] for name in options} == options
    assert given["address"] is None
    assert count is None or len(given["settings"]) == count
    assert resolve(context) == config


def parsed(entrypoint):
    """What ``dfp-batch submit`` finds in the command line of a job."""
    words = shlex.split(entrypoint)
    assert words[:5] == ["exec", "python", "-m", "dfp_batch", "submit"]
    command = typer.main.get_command(cli.app).commands["submit"]
    return command.make_context("submit", words[5:])


def test_every_field_of_a_submission_is_an_option_of_the_command():
    submission = Submission("m", "o", run_config(None, None, {}))
    options = typer.main.get_command(cli.app).commands["submit"].params
    names = {option.name for option in options}
    fields = {field.name for field in dataclasses.fields(submission)}
    assert fields - {"manifest_url", "output_url", "config", "cut", "patience"} <= names


CUTS = [Pause(0.5), Count(20), Names(r"(?P<pair>.+)'_z(?P<z>\d+)"), None]


@pytest.mark.parametrize("cut", CUTS)
def test_how_a_folder_is_read_travels(cut):
    config = run_config(None, None, {})
    submission = Submission("s3://a/photos", "s3://b/run", config, cut=cut, anonymous=True)
    given = parsed(jobs.entrypoint(submission)).params
    assert cut_of(given["gap"], given["every"], given["group"]) == cut
    assert given["manifest"] == "s3://a/photos"
    assert given["anonymous"]


def test_a_job_takes_places_along_and_no_secrets(monkeypatch):
    for name in jobs.SHIPPED_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    shipped = jobs.shipped_environment()
    assert shipped == {"AWS_ENDPOINT_URL": "http://minio:9000", "RAY_JOB_STOP_WAIT_TIME_S": "60"}


@pytest.mark.parametrize(
    ("url", "shared"), [("s3://a/b", True), ("gs://a/b", True), ("/data/b", False)]
)
def test_urls_and_absolute_paths_go_to_a_cluster(url, shared):
    assert jobs.check_reachable(url) is shared


@pytest.mark.parametrize("url", ["b.parquet", "../b", "file://b", "memory://b"])
def test_what_only_this_machine_has_does_not(url):
    with pytest.raises(ConfigError, match=r"on this machine|of this process"):
        jobs.check_reachable(url)
