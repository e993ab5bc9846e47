"""The rows of a run, one per attempt at a pair, and which of them counts.

Reading rule, per pair: rows up to the epoch of its latest ``requeued`` row are void. Of the others
``ok`` beats everything else and the earliest ``ok`` wins; without one the latest attempt speaks:
its message is the current one. A pair without a row that counts is still to be done.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfp_batch.errors import LedgerError, ObjectMissingError
from dfp_batch.io import storage, urls
from dfp_batch.io.seekable import open_seekable
from dfp_batch.metrics.names import OF_A_RUN as METRICS
from dfp_batch.runs.columns import RESULTS, schema_of
from dfp_batch.runs.manifest import parquet_source

Status = Literal["ok", "error", "quarantined", "requeued"]
MOST_LISTINGS = 8

METRIC_COLUMNS = (*METRICS, *(f"floor_{name}" for name in METRICS))

# Metadata of a part that was made of others: their names, as JSON.
REPLACES = b"dfp_batch.replaces"

_PART = re.compile(r"part-[0-9]{6,9}-[0-9]{6,9}\.parquet")
SCHEMA = schema_of(RESULTS)
_FORMER_NAMES = {"t_reconstruct_s": "t_optimise_s"}  # of columns, in older runs
_RULE_COLUMNS = ("pair_id", "epoch", "attempt", "status")


@dataclass(frozen=True)
class PairRecord:
    """One attempt at one pair, as the scheduler saw it end.

    Attributes:
        pair_id: Of the manifest.
        attempt: Counted from 1 in this epoch.
        status: "ok", "error", "quarantined" when it will not be tried again by itself, or
            "requeued" by a command: it is to be done, whatever earlier sessions have said.
        stage: The last stage that ran, or the command.
        started_at: Seconds since the epoch of Unix.
        finished_at: Likewise.
        category: Of the error, see ``errors``; None for "ok".
        error_type: Class name of the error.
        error_message: One line, or why it was requeued; cut to 2 kB in the row.
        facts: Further columns of ``SCHEMA`` that the stages found out.
    """

    pair_id: str
    attempt: int
    status: Status
    stage: str
    started_at: float
    finished_at: float
    category: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def last_epoch(url: str) -> int:
    """Highest epoch that left rows, 0 if none did."""
    names = (part.rpartition("/")[2] for part in parts(url))
    return max((int(name.split("-")[1]) for name in names), default=0)


def read_attempts(
    url: str, columns: Sequence[str] | None = None, known: dict[str, pa.Table] | None = None
) -> pa.Table:
    """All rows of all attempts, in the order they were written.

    While parts are being put together (see ``compaction``) a row may come twice: the
    rows of a part that goes away are in another one, which the next listing shows.

    Args:
        url: Run directory.
        columns: Of ``SCHEMA``, beside those that the reading rule needs; None is all. A few of them
            of a million rows are read in a second.
        known: Parts that were read before with these columns, by URL, to which new ones are added:
            parts do not change.

    Returns:
        A table with the columns in the order of ``SCHEMA``.

    Raises:
        LedgerError: if a part is damaged or not ours; rows are never left out in silence.
    """
    schema = _schema_of(columns)
    tables = {} if known is None else known
    for _ in range(MOST_LISTINGS):
        unread = [part for part in parts(url) if part not in tables]
        tables |= {part: rows for part in unread if (rows := _read_part(part, schema)) is not None}
        if not unread:
            in_order = [rows for _, rows in sorted(tables.items())]
            return pa.concat_tables([schema.empty_table(), *in_order])
    raise LedgerError(f"{url}/results changes faster than it can be read; try again")


def parts(url: str) -> list[str]:
    """The parts of a ledger; files of other names are left alone."""
    files = storage.list_files(urls.join(url, "results"), ".parquet")
    return [file for file in files if _PART.fullmatch(file.rpartition("/")[2])]


def _schema_of(columns: Sequence[str] | None) -> pa.Schema:
    wanted = SCHEMA.names if columns is None else {*_RULE_COLUMNS, *columns}
    return pa.schema([column for column in SCHEMA if column.name in wanted])


def _read_part(url: str, schema: pa.Schema) -> pa.Table | None:
    """The rows of a part; None if it is not there any more."""
    try:
        return read_part(url, schema)
    except ObjectMissingError:
        return None


def read_part(url: str, schema: pa.Schema = SCHEMA) -> pa.Table:
    """The rows of a part.

    Args:
        url: Of the part.
        schema: ``SCHEMA``, or some of its columns.

    Raises:
        LedgerError: if it is damaged or not ours.
        ObjectMissingError: if it is not there.
    """
    data = storage.read_bytes(url)
    with _whole_part(url):
        return _conform(pq.ParquetFile(parquet_source(data)), schema)


def replaced_by(url: str) -> list[str]:
    """Names of the parts whose rows a part holds; only the end of its file is read.

    Raises:
        LedgerError: if it is damaged.
        ObjectMissingError: if it is not there.
    """
    with open_seekable(url) as file, _whole_part(url):
        metadata = pq.read_schema(file).metadata or {}
        names: list[str] = json.loads(metadata.get(REPLACES, b"[]"))
        return names


@contextmanager
def _whole_part(url: str) -> Iterator[None]:
    """What is read in here belongs to a part; if it is damaged, say which, and what can be done."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise LedgerError(
            f"{url} is not a whole part of the ledger ({reason}), expected the Parquet file that "
            "dfp-batch wrote; restore it, or move it out of results/: what no other part says is "
            "done is then done again"
        ) from error


def together(tables: Mapping[str, pa.Table]) -> pa.Table:
    """The rows of several parts, by their names, for one part that says which these are."""
    metadata = {REPLACES: json.dumps(list(tables))}
    return pa.concat_tables(tables.values()).replace_schema_metadata(metadata)


def parquet_bytes(table: pa.Table) -> bytes:
    """A whole Parquet file."""
    data = io.BytesIO()
    pq.write_table(table, data, compression="zstd")
    return data.getvalue()


def _conform(file: pq.ParquetFile, schema: pa.Schema) -> pa.Table:
    """Rows of an older or newer code version: absent columns are null, unknown ones dropped.

    Raises:
        ValueError: if these are no rows of a ledger.
    """
    there = set(file.schema_arrow.names)
    stored = {
        name: name if name in there else _FORMER_NAMES.get(name, name) for name in schema.names
    }
    table = file.read([name for name in stored.values() if name in there])
    columns = [
        table[stored[column.name]].cast(column.type)
        if stored[column.name] in there
        else pa.nulls(table.num_rows, column.type)
        for column in schema
    ]
    rows = pa.Table.from_arrays(columns, schema=schema)
    needed = [column.name for column in SCHEMA if not column.nullable]
    missing = [
        name
        for name in needed
        if name not in there or (name in schema.names and rows[name].null_count)
    ]
    if missing:
        raise ValueError(f"rows without {', '.join(missing)}")
    return rows


def standing(attempts: pa.Table) -> pa.Table:
    """The rows that count: of each pair those after the epoch of its latest ``requeued`` row."""
    requeued = attempts.filter(pc.equal(attempts["status"], "requeued"))
    if not requeued.num_rows:
        return attempts
    latest = requeued.group_by("pair_id").aggregate([("epoch", "max")])
    place = pc.index_in(attempts["pair_id"], value_set=latest["pair_id"].combine_chunks())
    is_later = pc.greater(attempts["epoch"], pc.take(latest["epoch_max"], place))
    return attempts.filter(pc.fill_null(is_later, True))


def visible(attempts: pa.Table) -> pa.Table:
    """One row per pair by the reading rule of this module, ordered by pair_id."""
    attempts = standing(attempts)
    is_ok = pc.equal(attempts["status"], "ok")
    sign = pc.if_else(is_ok, 1, -1)
    keys = pa.table(
        {
            "pair_id": attempts["pair_id"],
            "rank": pc.if_else(is_ok, 0, 1),
            "epoch": pc.multiply(attempts["epoch"], sign),
            "attempt": pc.multiply(attempts["attempt"], sign),
        }
    )
    order = pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names])
    ids = keys["pair_id"].take(order).to_numpy()
    is_first = np.ones(len(ids), dtype=bool)
    is_first[1:] = ids[1:] != ids[:-1]
    return attempts.take(order.filter(pa.array(is_first)))


def deaths(attempts: pa.Table) -> dict[str, int]:
    """How often each pair's process died, by the rows that count; others are absent."""
    attempts = standing(attempts)
    crashed = attempts.filter(pc.equal(attempts["category"], "crash")).select(
        ["pair_id", "epoch", "attempt"]
    )
    counted = crashed.group_by(["pair_id", "epoch", "attempt"]).aggregate([])
    totals = counted.group_by("pair_id").aggregate([("pair_id", "count")])
    return dict(
        zip(totals["pair_id"].to_pylist(), totals["pair_id_count"].to_pylist(), strict=True)
    )
