"""The rows of a run: which of them counts, and what becomes of damaged parts."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.config.run_config import run_config
from dfp_batch.errors import LedgerError
from dfp_batch.io import storage
from dfp_batch.runs.attempts import (
    SCHEMA,
    PairRecord,
    deaths,
    last_epoch,
    parquet_bytes,
    read_attempts,
    visible,
)
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.status import RunStatus

PAIRS = [Pair(f"p{k}", (f"/a{k}.png", f"/b{k}.png")) for k in range(3)]
CONFIG = run_config("classical", None, {})


def record(pair_id, status="ok", attempt=1, category=None, message=None):
    return PairRecord(
        pair_id, attempt, status, "publish", 1.0, 2.0, category, category, message, {"mg": 3.5}
    )


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


def test_a_column_that_had_another_name_is_read(tmp_path):
    with Ledger.open(str(tmp_path), CONFIG, PAIRS) as ledger:
        ledger.append(replace(record("p0"), facts={"t_reconstruct_s": 2.5}))
    (part,) = storage.list_files(f"{tmp_path}/results", ".parquet")
    table = pq.read_table(part)
    former = {"t_reconstruct_s": "t_optimise_s"}
    pq.write_table(table.rename_columns([former.get(n, n) for n in table.column_names]), part)
    assert read_attempts(str(tmp_path))["t_reconstruct_s"].to_pylist() == [2.5]


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
