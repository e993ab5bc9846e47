"""Who is told that a session has ended hears it, whatever the end; nothing depends on it."""

import json
from datetime import datetime
from http.server import BaseHTTPRequestHandler

import pytest

import command_line
from dfp_batch.config.run_config import run_config
from dfp_batch.engine import notify
from dfp_batch.errors import ConfigError, RunHeldError, RunStoppedError, StorageError
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.status import RunStatus
from store_parts import serving

PAIRS = [Pair(f"p{k}", (f"/{k}_A.png", f"/{k}_B.png")) for k in range(4)]
CONFIG = run_config("classical", None, {})


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Another try comes at once."""
    monkeypatch.setattr(notify, "PAUSE_S", 0.0)


@pytest.fixture
def listener():
    """A web hook: ``answers`` are its next codes, then 200; ``heard`` the bodies."""

    class Listener(BaseHTTPRequestHandler):
        answers, heard, kinds = [], [], []

        def do_POST(self):
            self.kinds.append(self.headers["Content-Type"])
            self.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            code = self.answers.pop(0) if self.answers else 200
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Silent."""

    with serving(Listener) as url:
        Listener.url = f"{url}/T0/s3cr3t"
        yield Listener


@pytest.fixture
def run_url(tmp_path):
    """Two pairs done, one failed, one left."""
    url = str(tmp_path / "run")
    with Ledger.open(url, CONFIG, PAIRS) as ledger:
        for name in ("p0", "p1"):
            ledger.append(PairRecord(name, 1, "ok", "publish", 1.0, 2.0))
        ledger.append(PairRecord("p2", 1, "error", "prepare", 1.0, 2.0, "input", "E", "empty"))
    return url


def failing(error):
    def work():
        raise error

    return work


def test_the_body_says_how_the_run_stands(listener, run_url):
    said = []
    status = RunStatus.read(run_url)
    assert notify.telling(lambda: status, listener.url, run_url, said.append) is status
    (told,) = listener.heard
    assert listener.kinds == ["application/json"]
    began, ended = (datetime.fromisoformat(told.pop(name)) for name in ("began_at", "ended_at"))
    assert began <= ended
    assert told.pop("seconds") >= 0
    assert told == {
        "event": "session_ended",
        "schema_version": 1,
        "run": run_url,
        "outcome": "failures",
        "message": None,
        "pairs": {
            "total": 4,
            "ok": 2,
            "failed": 1,
            "quarantined": 0,
            "pending": 1,
            "by_category": {"input": 1},
        },
        "dfp_batch_version": "0.1.0",
    }
    assert said == []


def test_a_session_with_nothing_to_do_is_told_too(listener, tmp_path):
    url = str(tmp_path / "run")
    with Ledger.open(url, CONFIG, PAIRS[:1]) as ledger:
        ledger.append(PairRecord("p0", 1, "ok", "publish", 1.0, 2.0))
    assert notify.telling(lambda: None, listener.url, url, pytest.fail) is None
    (told,) = listener.heard
    assert (told["outcome"], told["pairs"]["ok"]) == ("done", 1)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RunStoppedError("stopped by\nSIGTERM"), "stopped"),
        (StorageError("the store is down"), "stopped"),
        (RunHeldError("driven by another"), "held"),
        (ConfigError("no such preset"), "refused"),
        (ZeroDivisionError("a bug"), "crashed"),
    ],
)
def test_every_end_is_told_and_stays_what_it_is(listener, run_url, error, outcome):
    with pytest.raises(type(error)) as raised:
        notify.telling(failing(error), listener.url, run_url, pytest.fail)
    assert raised.value is error
    (told,) = listener.heard
    assert (told["outcome"], told["message"]) == (outcome, " ".join(str(error).split()))
    assert told["pairs"]["pending"] == 1


def test_a_run_that_never_was_has_no_counts(listener, tmp_path):
    with pytest.raises(ConfigError):
        notify.telling(failing(ConfigError("no")), listener.url, f"{tmp_path}/run", pytest.fail)
    assert listener.heard[0]["pairs"] is None


@pytest.mark.parametrize(
    ("answers", "tries", "problem"),
    [
        ([], 1, None),
        ([503, 429], 3, None),
        ([500] * 9, 4, "HTTP 500"),
        ([404], 1, "HTTP 404"),
        ([302], 1, "HTTP 302"),
    ],
)
def test_what_is_busy_is_asked_again_and_no_is_no(listener, answers, tries, problem):
    listener.answers.extend(answers)
    said = []
    notify.post(listener.url, {"a": 1}, said.append)
    assert listener.heard == [{"a": 1}] * tries
    there = [f"http://127.0.0.1 was not told of the end: {problem}"]
    assert said == (there if problem else [])


def test_nobody_listens_and_the_path_of_the_url_is_not_shown(run_url):
    said = []
    status = RunStatus.read(run_url)
    notify.telling(lambda: status, "http://127.0.0.1:1/s3cr3t", run_url, said.append)
    assert said == ["http://127.0.0.1 was not told of the end: ConnectionError"]


def test_without_a_url_nobody_is_told(run_url):
    assert notify.telling(lambda: None, None, run_url, pytest.fail) is None


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://h/a", "--notify must be a URL of http or https, got 'ftp://h/a'"),
        ("hook", "--notify must be a URL of http or https, got 'hook'"),
        ("http://[::1/a", "--notify must be a URL of http or https, got 'http://[::1/a'"),
        ("http://u:p@h/a", "--notify must not hold a password, got one for h; a Ray Job shows it"),
    ],
)
def test_what_cannot_be_told_is_refused_at_once(url, text, tmp_path):
    done = command_line.run("submit", tmp_path / "none.parquet", "--notify", url)
    assert (done.returncode, done.stderr) == (2, f"error: {text}\n")


def test_the_command_tells_of_its_end(listener, tmp_path):
    done = command_line.run("submit", tmp_path / "none.parquet", "--notify", listener.url)
    assert done.returncode == 2
    (told,) = listener.heard
    assert told["run"] == f"{tmp_path}/none-x2"
    assert told["outcome"] == "refused"
    assert f"error: {told['message']}\n" == done.stderr
