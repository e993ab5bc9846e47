"""A run as whoever watches it sees it: what is new is read, and how it ended is known."""

import json
from dataclasses import replace

import pytest

from dfp_batch.config.run_config import run_config
from dfp_batch.errors import ConfigError
from dfp_batch.io import storage
from dfp_batch.runs import ledger as ledger_module
from dfp_batch.runs.attempts import PairRecord, parts
from dfp_batch.runs.lease import Lease, UnderWay, current_lease
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.snapshot import RunReader
from dfp_batch.runs.status import RunStatus

PAIRS = [Pair(f"p{k}", (f"/{k}_A.png", f"/{k}_B.png")) for k in range(4)]
CONFIG = run_config("classical", None, {})
BEGAN = 1_800_000_000.0


def done(k, at=10.0, **facts):
    return PairRecord(f"p{k}", 1, "ok", "publish", BEGAN, BEGAN + at, facts=facts)


def failed(k, status="error"):
    return PairRecord(f"p{k}", 1, status, "prepare", BEGAN, BEGAN + 5, "input", "E", "is empty")


def session(url, *rows):
    with Ledger.open(url, CONFIG, PAIRS) as ledger:
        for row in rows:
            ledger.append(row)


def summarise(url):
    text = json.dumps(RunStatus.read(url).to_json())
    storage.write_bytes(f"{url}/summary.json", text.encode())


def test_what_is_new_is_read_and_nothing_twice(run_url, monkeypatch):
    reader = RunReader(run_url)
    session(run_url, done(0))
    assert reader.read().status.ok == 1
    (first,) = parts(run_url)
    session(run_url, done(1), failed(2))
    asked = []
    read_bytes = storage.read_bytes
    monkeypatch.setattr(storage, "read_bytes", lambda url: asked.append(url) or read_bytes(url))
    status = reader.read().status
    assert (status.ok, status.failed, status.pending) == (2, 1, 1)
    assert first not in asked
    assert any(url in asked for url in parts(run_url))
    assert status == RunStatus.read(run_url)


@pytest.mark.parametrize(
    ("rows", "summarised", "code"),
    [
        ([done(k) for k in range(4)], False, 0),
        ([done(0), done(1), done(2), failed(3)], False, 3),
        ([done(0), done(1), done(2), failed(3, "quarantined")], False, 3),
        ([done(0)], False, 4),
        ([], False, 4),
        ([done(0)], True, 0),  # it was not asked for more: --limit
        ([done(0), failed(1)], True, 3),
    ],
)
def test_the_outcome_is_that_of_the_command_that_ran_it(tmp_path, rows, summarised, code):
    url = str(tmp_path / "run")
    session(url, *rows)
    if summarised:
        summarise(url)
    assert RunReader(url).read().exit_code == code


def test_a_summary_of_an_earlier_session_says_nothing_of_this_one(tmp_path):
    url = str(tmp_path / "run")
    session(url, done(0))
    summarise(url)
    session(url, done(1))
    assert RunReader(url).read().exit_code == 4


def test_while_a_driver_lives_there_is_no_outcome_but_what_it_does(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "HEARTBEAT_S", 0.0)
    monkeypatch.setattr(ledger_module, "FLUSH_S", 0.0)
    url = str(tmp_path / "run")
    begun = [UnderWay("prepare", "p0", 5.0), UnderWay("publish", "p1", 6.0)]
    with Ledger.open(url, CONFIG, PAIRS) as ledger:
        ledger.tick(2, begun)
        ledger.settle()
        snapshot = RunReader(url).read()
        assert snapshot.exit_code is None
        assert snapshot.under_way == tuple(begun)
        assert snapshot.heartbeat_at == current_lease(url).heartbeat_at
    snapshot = RunReader(url).read()
    assert (snapshot.under_way, snapshot.heartbeat_at) == ((), None)


def test_a_lease_of_an_older_version_says_nothing_of_what_it_does():
    lease = Lease.mine(1, BEGAN)
    content = json.loads(lease.to_bytes())
    del content["under_way"]
    assert Lease.from_bytes(json.dumps(content).encode()) == lease
    beaten = replace(lease, under_way=(UnderWay("prepare", "p0", 1.5),))
    assert Lease.from_bytes(beaten.to_bytes()) == beaten


def test_stages_and_pace_are_those_of_the_last_half_hour(tmp_path):
    url = str(tmp_path / "run")
    size = {"width_px": 1000, "height_px": 1000}
    rows = [done(0, 10.0, t_prepare_s=99.0, **size)]
    rows += [done(k, 4000.0 + 10 * k, t_prepare_s=float(k), **size) for k in (1, 2)]
    session(url, *rows)
    snapshot = RunReader(url).read()
    assert snapshot.stage_seconds == {"prepare": 1.5}
    assert snapshot.last_pair_at == BEGAN + 4020
    assert snapshot.status.eta_s == pytest.approx(1800 / 2), "one is left, two took half an hour"


def test_no_run_is_no_run(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a run directory: it has no run\.json"):
        RunReader(f"{tmp_path}/none").read()
