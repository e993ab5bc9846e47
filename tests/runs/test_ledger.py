"""The run directory: reading rule, lease, resume, refusal of another configuration."""

import os
import subprocess
import sys

import pytest

from dfp_batch.config.run_config import run_config
from dfp_batch.errors import (
    ConfigError,
    ManifestError,
    RunHeldError,
    RunStoppedError,
    StorageAccessError,
    StorageError,
)
from dfp_batch.io import storage, urls
from dfp_batch.runs import lease as lease_module
from dfp_batch.runs import ledger as ledger_module
from dfp_batch.runs.attempts import PairRecord, read_attempts
from dfp_batch.runs.lease import current_lease
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair, read_manifest
from dfp_batch.runs.run_directory import read_header, read_pairs
from dfp_batch.runs.status import RunStatus, results

PAIRS = [Pair(f"p{k}", (f"/a{k}.png", f"/b{k}.png")) for k in range(3)]
CONFIG = run_config("classical", None, {})


def record(pair_id, status="ok", attempt=1, category=None, message=None):
    return PairRecord(
        pair_id, attempt, status, "publish", 1.0, 2.0, category, category, message, {"mg": 3.5}
    )


def tick(ledger, running=0):
    """A tick whose work is done."""
    ledger.tick(running)
    ledger.settle()


def test_a_requeued_pair_is_pending_until_a_later_session_has_done_it(run_url):
    with Ledger.open(run_url, CONFIG, PAIRS) as ledger:
        ledger.append(record("p0"))
        ledger.append(record("p1"))
    with Ledger.open(run_url, CONFIG, PAIRS) as ledger:
        ledger.requeue("p0", "verify", "fused.png is not there")
    status = RunStatus.read(run_url)
    assert (status.ok, status.pending) == (1, 2)
    assert results(run_url)["pair_id"].to_pylist() == ["p1"]
    assert status.pairs_per_minute > 0, "of the last session that did something"
    (row,) = (row for row in read_attempts(run_url).to_pylist() if row["status"] == "requeued")
    assert (row["stage"], row["category"]) == ("verify", None)
    assert row["error_message"] == "fused.png is not there"
    with Ledger.open(run_url, CONFIG, PAIRS) as ledger:
        ledger.append(record("p0"))
    assert results(run_url)["epoch"].to_pylist() == [3, 1]


def test_rows_come_back_as_written(run_url):
    with Ledger.open(run_url, CONFIG, PAIRS) as ledger:
        ledger.append(record("p0"))
        ledger.append(record("p1", "error", 2, "input", "x" * 5000))
    rows = {row["pair_id"]: row for row in read_attempts(run_url).to_pylist()}
    assert rows["p0"]["mg"] == 3.5
    assert rows["p0"]["fingerprint"] == CONFIG.fingerprint
    assert rows["p0"]["run_id"] == read_header(run_url)["run_id"]
    assert len(rows["p1"]["error_message"]) == 2048
    assert read_manifest(urls.join(run_url, "manifest.parquet")) == PAIRS


def test_every_session_is_an_epoch_and_parts_are_never_rewritten(run_url):
    for _ in range(3):
        with Ledger.open(run_url, CONFIG, PAIRS) as ledger:
            ledger.append(record("p0"))
            ledger.flush()
            ledger.append(record("p1"))
    names = [u.rsplit("/", 1)[-1] for u in storage.list_files(f"{run_url}/results", ".parquet")]
    assert names == [f"part-00000{e}-00000{s}.parquet" for e in (1, 2, 3) for s in (1, 2)]


MORE = [Pair(name, (f"/{name}_A.png", f"/{name}_B.png")) for name in ("p9", "p3")]


def test_appended_pairs_belong_to_the_run_in_their_order(run_url):
    with Ledger.open(run_url, CONFIG, PAIRS) as ledger:
        assert ledger.append_pairs([PAIRS[1], MORE[0]], "more.parquet") == 1
        ledger.append(record("p9"))
        ledger.append(record("p2"))
    before = storage.read_bytes(f"{run_url}/run.json")
    with Ledger.open(run_url, CONFIG, PAIRS) as ledger:
        assert ledger.append_pairs(MORE, "more.parquet") == 1
        assert ledger.append_pairs(MORE, "more.parquet") == 0
    assert read_pairs(run_url) == [*PAIRS, *MORE]
    status = RunStatus.read(run_url)
    assert (status.total, status.ok, status.pending) == (5, 2, 3)
    assert results(run_url)["pair_id"].to_pylist() == ["p2", "p9"]
    assert storage.read_bytes(f"{run_url}/run.json") == before
    with pytest.raises(ConfigError, match=r"manifest: 3 pairs -> 2 pairs.*--append MORE"):
        Ledger.open(run_url, CONFIG, PAIRS[:2])


def test_another_pair_of_a_known_id_is_refused_and_nothing_is_appended(run_url):
    with Ledger.open(run_url, CONFIG, PAIRS) as ledger:
        other = Pair("p1", ("/x.png", "/y.png"))
        with pytest.raises(
            ManifestError, match=r"more\.parquet: pair_id 'p1': the run has another"
        ):
            ledger.append_pairs([MORE[0], other], "more.parquet")
    assert read_pairs(run_url) == PAIRS


def test_a_run_is_reopened_without_its_manifest(run_url):
    with pytest.raises(ConfigError, match=r"it has no run\.json"):
        Ledger.reopen(run_url)
    with Ledger.open(run_url, CONFIG, PAIRS), pytest.raises(RunHeldError):
        Ledger.reopen(run_url)
    with Ledger.reopen(run_url) as ledger:
        assert (ledger.epoch, ledger.values) == (2, CONFIG.values())


def test_a_second_driver_is_refused_by_name_and_can_force(run_url, monkeypatch):
    monkeypatch.setattr(lease_module, "ACKNOWLEDGE_S", 0.0)
    first = Ledger.open(run_url, CONFIG, PAIRS)
    with pytest.raises(RunHeldError, match=rf"driven by process {os.getpid()} on .*--takeover"):
        Ledger.open(run_url, CONFIG, PAIRS)
    second = Ledger.open(run_url, CONFIG, PAIRS, takeover=True)
    assert second.epoch == 2
    first.append(record("p0"))
    first.close()
    assert read_attempts(run_url).num_rows == 1, "what it has finished is not lost"
    assert current_lease(run_url).epoch == 2, "the lease of the second is not given back"
    second.close()
    assert current_lease(run_url) is None


def test_the_displaced_driver_notices_within_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "FLUSH_S", 0.0)
    monkeypatch.setattr(lease_module, "ACKNOWLEDGE_S", 0.0)
    first = Ledger.open(str(tmp_path), CONFIG, PAIRS)
    Ledger.open(str(tmp_path), CONFIG, PAIRS, takeover=True)
    with pytest.raises(RunHeldError, match="another driver has taken this run over"):
        tick(first)


def test_the_heartbeat_says_what_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "HEARTBEAT_S", 0.0)
    monkeypatch.setattr(ledger_module, "FLUSH_S", 0.0)
    with Ledger.open(str(tmp_path), CONFIG, PAIRS) as ledger:
        before = current_lease(str(tmp_path))
        tick(ledger, 7)
        after = current_lease(str(tmp_path))
    assert (before.running, after.running) == (0, 7)
    assert after.heartbeat_at >= before.heartbeat_at


def test_the_lease_of_a_dead_process_on_this_machine_is_free_at_once(tmp_path):
    code = f"""
import os, signal
from dfp_batch.config.run_config import run_config
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
pairs = [Pair(f"p{{k}}", (f"/a{{k}}.png", f"/b{{k}}.png")) for k in range(3)]
Ledger.open({str(tmp_path)!r}, run_config("classical", None, {{}}), pairs)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert current_lease(str(tmp_path)) is not None
    with Ledger.open(str(tmp_path), CONFIG, PAIRS) as ledger:
        assert ledger.epoch == 2


def test_a_busy_store_keeps_the_rows_for_the_next_tick(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "FLUSH_S", 0.0)
    ledger = Ledger.open(str(tmp_path), CONFIG, PAIRS)
    ledger.append(record("p0"))
    with monkeypatch.context() as patch:
        patch.setattr(storage, "create_bytes", _busy)
        tick(ledger)
    assert read_attempts(str(tmp_path)).num_rows == 0
    tick(ledger)
    assert read_attempts(str(tmp_path)).num_rows == 1


def _busy(url, data):
    raise StorageError(f"{url}: cannot write: 503 Slow Down")


def test_the_last_error_does_not_hide_the_first(tmp_path, monkeypatch):
    def full(url, data):
        raise StorageAccessError(f"{url}: cannot write: No space left on device")

    with (
        pytest.raises(RunStoppedError) as error,
        Ledger.open(str(tmp_path), CONFIG, PAIRS) as ledger,
    ):
        ledger.append(record("p0"))
        monkeypatch.setattr(storage, "create_bytes", full)
        raise RunStoppedError("stopped at pair 'p1': the first error")
    first, last = str(error.value).split("; and at the end: ")
    assert first == "stopped at pair 'p1': the first error"
    assert "results/part-000001-000001.parquet: cannot write: No space left" in last


def test_a_full_buffer_is_flushed_before_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "FLUSH_ROWS", 2)
    ledger = Ledger.open(str(tmp_path), CONFIG, PAIRS)
    ledger.append(record("p0"))
    tick(ledger)
    assert read_attempts(str(tmp_path)).num_rows == 0
    ledger.append(record("p1"))
    tick(ledger)
    assert read_attempts(str(tmp_path)).num_rows == 2


# Damage.
