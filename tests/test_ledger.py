"""The run directory: reading rule, lease, resume, refusal of another configuration."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch import lease as lease_module
from dfp_batch import ledger as ledger_module
from dfp_batch import storage
from dfp_batch.config import run_config
from dfp_batch.errors import ConfigError, LedgerError, ManifestError, RunHeldError, StorageError
from dfp_batch.lease import current_lease
from dfp_batch.ledger import (
    SCHEMA,
    Ledger,
    PairRecord,
    deaths,
    last_epoch,
    parquet_bytes,
    read_attempts,
    read_header,
    read_pairs,
    visible,
)
from dfp_batch.manifest import Pair, read_manifest
from dfp_batch.method.pipeline import PRESETS
from dfp_batch.telemetry import RunStatus, results

PAIRS = [Pair(f"p{k}", (f"/a{k}.png", f"/b{k}.png")) for k in range(3)]
CONFIG = run_config("classical", None, {})


@pytest.fixture(params=["local", "s3"])
def run_url(request, tmp_path, s3_url):
    return str(tmp_path / "run") if request.param == "local" else f"{s3_url}/{tmp_path.name}/run"


def record(pair_id, status="ok", attempt=1, category=None, message=None):
    return PairRecord(
        pair_id, attempt, status, "publish", 1.0, 2.0, category, category, message, {"mg": 3.5}
    )


def tick(ledger, running=0):
    """A tick whose work is done."""
    ledger.tick(running)
    ledger.settle()


def table(rows):
    """Attempts from (pair, epoch, attempt, status); "crash" is an error of this category."""
    filled = [
        {
            "run_id": "r",
            "pair_id": pair,
            "epoch": epoch,
            "attempt": attempt,
            "status": "error" if status == "crash" else status,
            "category": "crash" if status == "crash" else None,
        }
        for pair, epoch, attempt, status in rows
    ]
    return pa.Table.from_pylist(filled, schema=SCHEMA)


attempts = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 4),
        st.integers(1, 4),
        st.sampled_from(["ok", "error", "crash", "requeued"]),
    ),
    max_size=30,
)


def oracle(rows):
    """The reading rule in words: what is visible, and who died how often."""
    seen, died = {}, {}
    for pair in {row[0] for row in rows}:
        mine = {row[1:] for row in rows if row[0] == pair}
        void = max((epoch for epoch, _, status in mine if status == "requeued"), default=0)
        mine = {row for row in mine if row[0] > void}
        done = [(epoch, attempt) for epoch, attempt, status in mine if status == "ok"]
        tried = [(epoch, attempt) for epoch, attempt, _ in mine]
        if tried:
            seen[pair] = (*min(done), "ok") if done else (*max(tried), "error")
        crashed = {row for row in mine if row[2] == "crash"}
        if crashed:
            died[pair] = len(crashed)
    return seen, died


@settings(deadline=None)
@given(attempts, st.randoms(use_true_random=False))
def test_one_visible_row_per_pair_whatever_was_written_in_which_order(rows, rng):
    written = [*rows, *rows[: len(rows) // 2]]  # a part that was written twice
    rng.shuffle(written)
    seen = visible(table(written)).to_pylist()
    found = {row["pair_id"]: (row["epoch"], row["attempt"], row["status"]) for row in seen}
    assert (found, deaths(table(written))) == oracle(rows)
    assert len(seen) == len(found)


@settings(deadline=None, max_examples=40)
@given(attempts, st.data())
def test_a_crash_between_two_parts_leaves_what_the_rule_says_of_the_first(rows, data):
    kept = rows[: data.draw(st.integers(0, len(rows)))]
    seen, died = oracle(kept)
    rows = visible(pa.concat_tables([table(kept), table(kept[:1])]))
    assert set(rows["pair_id"].to_pylist()) == set(seen)
    assert deaths(table(kept)) == died


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


def test_parts_that_are_put_together_while_they_are_read_lose_no_row(tmp_path, monkeypatch):
    with Ledger.open(str(tmp_path), CONFIG, PAIRS) as ledger:
        for pair_id in ("p0", "p1"):
            ledger.append(record(pair_id))
            ledger.flush()
    first, second = storage.list_files(f"{tmp_path}/results", ".parquet")
    together = parquet_bytes(read_attempts(str(tmp_path)))
    read = storage.read_bytes

    def compacted_meanwhile(url):
        if url == first and not (tmp_path / "done").exists():
            storage.write_bytes(f"{tmp_path}/results/part-000002-000001.parquet", together)
            storage.delete(first)
            storage.delete(second)
            (tmp_path / "done").touch()
        return read(url)

    monkeypatch.setattr(storage, "read_bytes", compacted_meanwhile)
    assert read_attempts(str(tmp_path))["pair_id"].to_pylist() == ["p0", "p1"]


def test_rows_come_back_as_written(run_url):
    with Ledger.open(run_url, CONFIG, PAIRS) as ledger:
        ledger.append(record("p0"))
        ledger.append(record("p1", "error", 2, "input", "x" * 5000))
    rows = {row["pair_id"]: row for row in read_attempts(run_url).to_pylist()}
    assert rows["p0"]["mg"] == 3.5
    assert rows["p0"]["fingerprint"] == CONFIG.fingerprint
    assert rows["p0"]["run_id"] == read_header(run_url)["run_id"]
    assert len(rows["p1"]["error_message"]) == 2048
    assert read_manifest(storage.join(run_url, "manifest.parquet")) == PAIRS


def test_every_session_is_an_epoch_and_parts_are_never_rewritten(run_url):
    for _ in range(3):
        with Ledger.open(run_url, CONFIG, PAIRS) as ledger:
            ledger.append(record("p0"))
            ledger.flush()
            ledger.append(record("p1"))
    names = [u.rsplit("/", 1)[-1] for u in storage.list_files(f"{run_url}/results", ".parquet")]
    assert names == [f"part-00000{e}-00000{s}.parquet" for e in (1, 2, 3) for s in (1, 2)]


def test_a_changed_configuration_is_refused_naming_the_fields(run_url):
    Ledger.open(run_url, CONFIG, PAIRS).close()
    other = run_config("classical", None, {"scale": 3, "reconstruction.steps": 4})
    with pytest.raises(ConfigError, match=r"reconstruction\.steps: 10 -> 4; scale: 2 -> 3"):
        Ledger.open(run_url, other, PAIRS)
    with pytest.raises(ConfigError, match="manifest: 3 pairs -> 2 pairs"):
        Ledger.open(run_url, CONFIG, PAIRS[:2])


def test_a_run_goes_on_as_it_began_when_defaults_have_changed(tmp_path, monkeypatch):
    asked = run_config("classical", None, {"scale": 3})
    Ledger.open(str(tmp_path), asked, PAIRS).close()
    monkeypatch.setitem(PRESETS, "classical", PRESETS["classical"] | {"seed": 7})
    today = run_config("classical", None, {"scale": 3})
    assert today != asked
    with Ledger.open(str(tmp_path), today, PAIRS) as ledger:
        assert ledger.values == asked.values()
    changed = run_config("classical", None, {"scale": 3, "seed": 8})
    with pytest.raises(ConfigError, match="seed: 0 -> 8"):
        Ledger.open(str(tmp_path), changed, PAIRS)


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


def test_a_damaged_appended_manifest_is_named(tmp_path):
    Ledger.open(str(tmp_path), CONFIG, PAIRS).close()
    storage.write_bytes(f"{tmp_path}/appended/000002.parquet", b"PAR1")
    for read in (read_pairs, results, RunStatus.read):
        with pytest.raises(LedgerError, match=r"appended/000002\.parquet.*is not a whole"):
            read(str(tmp_path))


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
from dfp_batch.config import run_config
from dfp_batch.ledger import Ledger
from dfp_batch.manifest import Pair
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


def test_a_full_buffer_is_flushed_before_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "FLUSH_ROWS", 2)
    ledger = Ledger.open(str(tmp_path), CONFIG, PAIRS)
    ledger.append(record("p0"))
    tick(ledger)
    assert read_attempts(str(tmp_path)).num_rows == 0
    ledger.append(record("p1"))
    tick(ledger)
    assert read_attempts(str(tmp_path)).num_rows == 2


def test_deaths_count_over_sessions_but_a_row_written_twice_counts_once(tmp_path):
    for _ in range(2):
        with Ledger.open(str(tmp_path), CONFIG, PAIRS) as ledger:
            ledger.append(record("p0", "error", 1, "crash"))
            ledger.append(record("p1", "error", 1, "transient"))
            ledger.append(record("p2"))
    rows = read_attempts(str(tmp_path))
    assert deaths(pa.concat_tables([rows, rows])) == {"p0": 2}


def test_rows_of_another_code_version_are_read(tmp_path):
    with Ledger.open(str(tmp_path), CONFIG, PAIRS) as ledger:
        ledger.append(record("p0"))
    (part,) = storage.list_files(f"{tmp_path}/results", ".parquet")
    old = pq.read_table(part).drop(["ssim"]).append_column("later", pa.array([1]))
    pq.write_table(old, part)
    rows = read_attempts(str(tmp_path))
    assert rows.schema == SCHEMA
    assert rows["ssim"].null_count == 1


def test_a_few_columns_are_read_like_all(tmp_path):
    url = str(tmp_path)
    with Ledger.open(url, CONFIG, PAIRS) as ledger:
        ledger.append(record("p0", "error", 1, "crash", "it died"))
        ledger.append(record("p0", "ok", 2))
        ledger.append(record("p1", "error", 1, "input", "it is empty"))
    few, whole = read_attempts(url, ["category"]), read_attempts(url)
    assert few.column_names == ["pair_id", "epoch", "attempt", "status", "category"]
    assert few.equals(whole.select(few.column_names))
    assert visible(few).equals(visible(whole).select(few.column_names))


def test_what_is_not_a_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a run directory: it has no run\.json"):
        read_header(str(tmp_path))
    (tmp_path / "run.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(LedgerError, match="schema version 99, expected 1"):
        read_header(str(tmp_path))


# Damage.


def damaged(part):
    """The refusal of a run directory in which this part is not as it was written."""
    with pytest.raises(LedgerError) as error:
        read_attempts(part.rpartition("/results/")[0])
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"{part} is not a whole part of the ledger (")
    return text


def written(url):
    """The bytes of a part, and its URL."""
    with Ledger.open(url, CONFIG, PAIRS) as ledger:
        ledger.append(record("p0"))
    (part,) = storage.list_files(f"{url}/results", ".parquet")
    return storage.read_bytes(part), part


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_part_that_breaks_off_is_named_and_never_left_out(run_url, share):
    data, part = written(run_url)
    storage.write_bytes(part, data[: int(share * len(data))])
    assert "move it out of results/: what no other part says is done is then" in damaged(part)
    with pytest.raises(LedgerError):
        RunStatus.read(run_url)
    storage.delete(part)
    assert Ledger.open(run_url, CONFIG, PAIRS).epoch == 2


def test_a_part_with_flipped_bytes_is_named(tmp_path):
    data, part = written(str(tmp_path))
    middle = len(data) // 3
    storage.write_bytes(part, data[:middle] + bytes(40) + data[middle + 40 :])
    damaged(part)


ROW = {"run_id": "r", "pair_id": "p0", "epoch": 1, "attempt": 1, "status": "ok"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"colour": "red"}, "rows without run_id, pair_id, epoch, attempt, status"),
        (ROW | {"status": None}, "rows without status"),
        (ROW | {"epoch": "first"}, "Failed to parse string: 'first'"),
        (ROW | {"align_flags": 5}, "Unsupported cast"),
    ],
)
def test_a_foreign_file_with_the_name_of_a_part_is_named(tmp_path, row, reason):
    part = f"{tmp_path}/results/part-000001-000001.parquet"
    storage.write_bytes(part, parquet_bytes(pa.Table.from_pylist([row])))
    assert reason in damaged(part)


def test_foreign_files_of_other_names_are_left_alone(run_url):
    written(run_url)
    foreign = parquet_bytes(pa.table({"colour": ["red"]}))
    for name in ("table.parquet", "part-1.parquet", "part-a-b.parquet", "my-part-2.parquet"):
        storage.write_bytes(f"{run_url}/results/{name}", foreign)
    assert read_attempts(run_url).num_rows == 1
    assert last_epoch(run_url) == 1
    assert Ledger.open(run_url, CONFIG, PAIRS).epoch == 2
    assert storage.read_bytes(f"{run_url}/results/table.parquet") == foreign


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is not whole JSON (Expecting value: line 1 column 1 (char 0))"),
        (b'{"schema_version": 1, "run', "is not whole JSON (Unterminated string"),
        (b"\xff\xfe\x00", "is not whole JSON ("),
        (b"[]", "has no schema_version"),
        (b'{"name": "another program"}', "has no schema_version"),
        (b'{"schema_version": 1, "run_id": "r", "config": []}', "has no config, fingerprint, "),
    ],
)
def test_a_damaged_header_is_refused_in_one_line(run_url, content, fault):
    storage.write_bytes(f"{run_url}/run.json", content)
    for use in (lambda: Ledger.open(run_url, CONFIG, PAIRS), lambda: RunStatus.read(run_url)):
        with pytest.raises(LedgerError) as error:
            use()
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(f"{run_url}/run.json {fault}")
        assert str(error.value).endswith("or use another --output for a new run")


def test_a_damaged_snapshot_is_refused_and_written_again(run_url):
    written(run_url)
    storage.write_bytes(f"{run_url}/manifest.parquet", b"PAR1")
    with pytest.raises(LedgerError, match=r"manifest\.parquet is not a whole manifest \(.*delete"):
        results(run_url)
    storage.delete(f"{run_url}/manifest.parquet")
    Ledger.open(run_url, CONFIG, PAIRS).close()
    assert results(run_url)["pair_id"].to_pylist() == ["p0"]
