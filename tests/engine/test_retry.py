"""Trying pairs of a run again: which ones, how, and what is made anew."""

import json
import shlex
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
import typer

from dfp_batch import cli
from dfp_batch.cli.session import deadline
from dfp_batch.config.run_config import run_config
from dfp_batch.engine import jobs
from dfp_batch.engine import retry as retrying
from dfp_batch.engine.driver import Observer, Submission, submit
from dfp_batch.engine.retry import Retry, retry
from dfp_batch.errors import ConfigError, RunHeldError
from dfp_batch.runs.attempts import PairRecord, read_attempts
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair, read_manifest
from dfp_batch.runs.marks import save_marks
from dfp_batch.runs.run_directory import read_header
from dfp_batch.runs.status import RunStatus, results

NOW = datetime(2026, 12, 1, 22, 30, tzinfo=UTC)
SILENT = Observer(lambda url: None, lambda counts: None)
CONFIG = run_config("classical", None, {"scale": 2, "kernel": "sigma=1.2"})
STATES = {
    "done": ("ok", None),
    "file": ("error", "input"),
    "busy": ("error", "transient"),
    "dead": ("quarantined", "crash"),
    "hung": ("quarantined", "timeout"),
}


@pytest.fixture
def url(tmp_path):
    """A run with a pair of every kind, and one that has not begun."""
    pairs = [Pair(name, (f"/{name}_A.png", f"/{name}_B.png")) for name in (*STATES, "new")]
    with Ledger.open(str(tmp_path / "run"), CONFIG, pairs) as ledger:
        for name, (status, category) in STATES.items():
            ledger.append(PairRecord(name, 1, status, "prepare", 1.0, 2.0, category))
    return str(tmp_path / "run")


@pytest.mark.parametrize(
    ("wish", "chosen"),
    [
        ({}, ["file", "busy"]),
        ({"category": "input"}, ["file"]),
        ({"category": "crash"}, []),
        ({"quarantined": True}, ["file", "busy", "dead", "hung"]),
        ({"category": "crash", "quarantined": True}, ["dead"]),
        ({"pair": ("new", "done")}, ["done", "new"]),
    ],
)
def test_which_pairs_are_chosen(url, wish, chosen):
    assert [pair.pair_id for pair in retrying.chosen_pairs(Retry(url, **wish))] == chosen


def test_nothing_to_retry_runs_nothing(url):
    wish = Retry(url, category="crash")
    assert retry(wish, SILENT) is None
    assert wish.described == "failed with category crash"
    assert read_attempts(url).num_rows == len(STATES)


def test_what_cannot_be_retried_is_refused(url, tmp_path):
    with pytest.raises(ConfigError, match=r"has no pair 'x', 'y'"):
        retry(Retry(url, pair=("y", "done", "x")), SILENT)
    assert RunStatus.read(url).ok == 1, "nothing is requeued before all is clear"
    with pytest.raises(ConfigError, match=r"category must be one of input, .*got 'inputs'"):
        Retry(url, category="inputs")
    with pytest.raises(ConfigError, match="leave out --category"):
        Retry(url, category="input", pair=("done",))
    with pytest.raises(ConfigError, match=r"it has no run\.json"):
        retry(Retry(str(tmp_path)), SILENT)
    with Ledger.reopen(url), pytest.raises(RunHeldError):
        retry(Retry(url), SILENT)


def test_the_submission_is_that_of_the_run_directory(url):
    made = Retry(url, gpus_per_pair=0.25).submission
    assert made.config == CONFIG
    assert made.config.fingerprint == read_header(url)["fingerprint"]
    assert (made.output_url, made.gpus_per_pair) == (url, 0.25)


def test_the_command_line_of_the_job_is_the_wish():
    options = {"category": "crash", "quarantined": True, "takeover": True, "gpus_per_pair": 0.5}
    options["until"] = NOW + timedelta(hours=7)
    chosen = {"pair": ("a b", "c")}, {"rejected": True}
    for wish in (Retry("s3://a/it's", **options), *(Retry("s3://a/b", **one) for one in chosen)):
        words = shlex.split(jobs.entrypoint(wish))
        assert words[:5] == ["exec", "python", "-m", "dfp_batch", "retry"]
        command = typer.main.get_command(cli.app).commands["retry"]
        given = command.make_context("retry", words[5:]).params
        assert given["run"] == wish.output_url
        assert tuple(given["pair"] or ()) == wish.pair
        rest = {field.name for field in fields(Retry)} - {"output_url", "pair", "patience", "until"}
        assert {name: given[name] for name in rest} == {name: getattr(wish, name) for name in rest}
        assert deadline(given["until"], None, NOW) == wish.until


@pytest.mark.usefixtures("local_ray")
def test_failed_pairs_are_tried_again_and_done_ones_made_anew(make_archive, tmp_path):
    manifest, url = make_archive(3), str(tmp_path / "run")
    pairs = read_manifest(manifest)
    source = tmp_path / "p01_B.png"
    whole = source.read_bytes()
    source.write_bytes(whole[:200])
    assert submit(Submission(manifest, url, CONFIG, max_failure_rate=1), SILENT).failed == 1
    source.write_bytes(whole)
    status = retry(Retry(url, category="input"), SILENT)
    assert (status.ok, status.failed) == (3, 0)

    before = (tmp_path / "run/outputs/p02/result.json").stat().st_mtime_ns
    status = retry(Retry(url, pair=("p00",)), SILENT)
    assert (status.ok, status.pending) == (3, 0)
    rows = {row["pair_id"]: row for row in results(url).to_pylist()}
    assert [rows[pair.pair_id]["epoch"] for pair in pairs] == [4, 2, 1]
    assert not rows["p00"]["adopted"]
    assert len({row["fingerprint"] for row in rows.values()}) == 1
    assert (tmp_path / "run/outputs/p02/result.json").stat().st_mtime_ns == before
    assert (tmp_path / "run/outputs/p00/result.json").exists()
    assert json.loads((tmp_path / "run/summary.json").read_bytes()) == status.to_json()

    save_marks(url, {"p02": "rejected", "p01": "accepted"}, read_attempts(url))
    status = retry(Retry(url, rejected=True), SILENT)
    assert (status.ok, status.pending) == (3, 0)
    rows = {row["pair_id"]: row["epoch"] for row in results(url).to_pylist()}
    assert rows["p02"] > max(rows["p00"], rows["p01"])
    assert retry(Retry(url, rejected=True), SILENT) is None, "what was made anew is not rejected"
