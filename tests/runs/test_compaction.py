"""Parts put together: the same rows before and after, whatever happens in between."""

from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.config.run_config import run_config
from dfp_batch.errors import LedgerError, RunHeldError, StorageError
from dfp_batch.io import storage
from dfp_batch.runs import compaction, lease
from dfp_batch.runs import ledger as ledger_module
from dfp_batch.runs.attempts import (
    PairRecord,
    deaths,
    parquet_bytes,
    parts,
    read_attempts,
    read_part,
    replaced_by,
    together,
    visible,
)
from dfp_batch.runs.compaction import compact, compact_session, superseded
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair

PAIRS = [Pair(f"p{k}", (f"/a{k}.png", f"/b{k}.png")) for k in range(3)]
CONFIG = run_config("classical", None, {})


def row(pair_id, status="ok", attempt=1):
    return PairRecord(pair_id, attempt, status, "publish", 1.0, 2.0, facts={"mg": attempt})


def write(url, count):
    """A session that leaves ``count`` parts of two rows each."""
    with Ledger.open(url, CONFIG, PAIRS) as ledger:
        for attempt in range(1, count + 1):
            ledger.append(row("p0", "error", attempt))
            ledger.append(row(f"p{1 + attempt % 2}", "ok", attempt))
            ledger.flush()
    return read_attempts(url)


def seen(url):
    return visible(read_attempts(url)).to_pylist()


@pytest.fixture(params=["local", "s3"])
def url(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "run")
    return f"{request.getfixturevalue('s3_url')}/{tmp_path.name}/run"


def test_one_part_with_all_the_rows(url):
    before = pa.concat_tables([write(url, 3), write(url, 2).slice(6)])
    with Ledger.reopen(url) as ledger:
        assert compact(ledger) == (5, 1)
    (part,) = parts(url)
    assert part.endswith("/part-000003-000001.parquet")
    assert read_part(part).equals(before)
    with Ledger.reopen(url) as ledger:
        assert compact(ledger) == (1, 1), "there is nothing to do"
        assert ledger.epoch == 4


def test_no_part_is_much_larger_than_others(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "ROWS_PER_PART", 4)
    rows = write(str(tmp_path), 5)
    with Ledger.reopen(str(tmp_path)) as ledger:
        assert compact(ledger) == (5, 3)
        assert compact(ledger) == (3, 3)
    assert sorted(read_part(part).num_rows for part in parts(str(tmp_path))) == [2, 4, 4]
    assert visible(read_attempts(str(tmp_path))).equals(visible(rows))


class CrashError(Exception):
    pass


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 9), st.integers(2, 6), st.sampled_from([3, 5, 100]))
def test_a_crash_anywhere_loses_nothing_and_the_next_one_finishes(
    tmp_path_factory, steps, count, size
):
    """The process ends at one of the writes or deletions."""
    url = str(tmp_path_factory.mktemp("run"))
    rows = write(url, count)
    left = [steps]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "ROWS_PER_PART", size)

        def counted(real):
            def call(*arguments):
                if "/results/" in arguments[0]:
                    if not left[0]:
                        raise CrashError
                    left[0] -= 1
                return real(*arguments)

            return call

        with pytest.MonkeyPatch.context() as crashing:
            crashing.setattr(storage, "create_bytes", counted(storage.create_bytes))
            crashing.setattr(storage, "delete", counted(storage.delete))
            with suppress(CrashError), Ledger.reopen(url) as ledger:
                compact(ledger)
        assert visible(read_attempts(url)).equals(visible(rows))
        assert deaths(read_attempts(url)) == deaths(rows)
        with Ledger.reopen(url) as ledger:
            compact(ledger)
    assert superseded(url) == []
    found = read_attempts(url)
    keys = ["pair_id", "attempt"]
    order = [(key, "ascending") for key in keys]
    assert found.select(keys).sort_by(order).equals(rows.select(keys).sort_by(order)), "each once"


def test_a_part_that_is_not_as_it_was_written_keeps_the_others(tmp_path, monkeypatch):
    rows = write(str(tmp_path), 3)
    real = storage.create_bytes
    with Ledger.reopen(str(tmp_path)) as ledger, monkeypatch.context() as patch:
        patch.setattr(storage, "create_bytes", lambda url, data: real(url, data[:-9]))
        with pytest.raises(LedgerError, match="part-000002-000001"):
            compact(ledger)
    assert read_attempts(str(tmp_path)).equals(rows)


def test_what_a_part_replaces_is_read_from_its_end(tmp_path):
    part = f"{tmp_path}/results/part-000001-000002.parquet"
    noise = np.random.default_rng(0).bytes(2**20).hex()
    rows = pa.table({"pair_id": [noise[k : k + 64] for k in range(0, len(noise), 64)]})
    storage.write_bytes(part, parquet_bytes(together({"part-000001-000001.parquet": rows})))
    before = storage.TRAFFIC.read_bytes
    assert replaced_by(part) == ["part-000001-000001.parquet"]
    read = storage.TRAFFIC.read_bytes - before
    assert read < storage.size_bytes(part) / 2


def test_a_damaged_part_is_named(tmp_path):
    part = f"{tmp_path}/results/part-000001-000001.parquet"
    storage.write_bytes(part, b"PAR1 and no more")
    with pytest.raises(LedgerError, match=r"000001\.parquet is not a whole part of the ledger"):
        superseded(str(tmp_path))


def test_beside_a_driver_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "ACKNOWLEDGE_S", 0.1)
    write(str(tmp_path), 3)
    with Ledger.open(str(tmp_path), CONFIG, PAIRS), pytest.raises(RunHeldError):
        Ledger.reopen(str(tmp_path))
    old = Ledger.reopen(str(tmp_path))
    with Ledger.reopen(str(tmp_path), takeover=True), pytest.raises(RunHeldError):
        compact(old)
    assert len(parts(str(tmp_path))) == 3


def test_a_store_that_cannot_delete_leaves_duplicates_only(tmp_path, monkeypatch):
    rows = write(str(tmp_path), 3)

    def refuse(url):
        raise StorageError(f"{url}: cannot delete: 403")

    with Ledger.reopen(str(tmp_path)) as ledger, monkeypatch.context() as patch:
        patch.setattr(storage, "delete", refuse)
        with pytest.raises(StorageError):
            compact(ledger)
    assert len(superseded(str(tmp_path))) == 3
    assert visible(read_attempts(str(tmp_path))).equals(visible(rows))


def test_a_session_puts_its_own_many_parts_together_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "SMALL_PARTS", 3)
    write(str(tmp_path), 4)
    with Ledger.reopen(str(tmp_path)) as ledger:
        for attempt in range(1, 5):
            compact_session(ledger)
            assert len(parts(str(tmp_path))) == 4 + attempt - 1
            ledger.append(row("p0", "ok", attempt))
            ledger.flush()
        compact_session(ledger)
    names = [part.rpartition("/")[2] for part in parts(str(tmp_path))]
    assert names[:4] == [f"part-000001-00000{k}.parquet" for k in range(1, 5)]
    assert names[4:] == ["part-000002-000005.parquet"]


def session(url, monkeypatch, ticks, delete=storage.delete):
    """A driver that writes a row at every tick; how many parts there were at most."""
    monkeypatch.setattr(ledger_module, "FLUSH_S", 0.0)
    monkeypatch.setattr(ledger_module, "SMALL_PARTS", 4)
    monkeypatch.setattr(ledger_module, "DELETED_AT_ONCE", 2)
    monkeypatch.setattr(storage, "delete", delete)
    most = 0
    with Ledger.open(url, CONFIG, PAIRS) as ledger:
        for attempt in range(1, ticks + 1):
            ledger.append(row("p0", "error", attempt))
            ledger.tick(1)
            ledger.settle()
            most = max(most, len(parts(url)))
    return most


def attempts_of(url):
    return read_attempts(url)["attempt"].to_pylist()


def test_a_long_session_puts_its_parts_together_as_it_goes(url, monkeypatch):
    assert session(url, monkeypatch, 42) <= 42 // 4 + 2 * 4
    assert sorted(attempts_of(url)) == list(range(1, 43)), "each row once"


def test_a_long_session_goes_on_where_nothing_can_be_deleted(tmp_path, monkeypatch):
    def refuse(url):
        raise StorageError(f"{url}: cannot delete: 403")

    session(str(tmp_path), monkeypatch, 20, refuse)
    assert set(attempts_of(str(tmp_path))) == set(range(1, 21))
    assert [one["attempt"] for one in seen(str(tmp_path))] == [20]


def test_a_part_that_is_not_whole_replaces_nothing(tmp_path, monkeypatch):
    real = storage.read_bytes
    monkeypatch.setattr(
        storage, "read_bytes", lambda url: real(url)[:-9] if "part" in url else real(url)
    )
    session(str(tmp_path), monkeypatch, 20)
    monkeypatch.setattr(storage, "read_bytes", real)
    assert sorted(attempts_of(str(tmp_path))) == list(range(1, 21))
    assert len(parts(str(tmp_path))) == 20
