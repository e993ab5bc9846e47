"""The output folder of an evaluation: what it holds is never lost and never mixed.

The rows of an item are written as soon as it is finished, to a part of their own: what is written
grows with what is done. In the end, even if that is an error, all are put together in one table. An
evaluation that was killed has its rows in that table and in parts.
"""

import io
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

import dfp_batch
from dfp_batch.errors import ConfigError
from dfp_batch.evaluation.work import SCHEMA, Row
from dfp_batch.io import storage, urls
from dfp_batch.runs.attempts import parquet_bytes
from dfp_batch.runs.manifest import folder_name, parquet_source

HEADER = "evaluation.json"
PARTS = "parts"  # folder of the rows that are not in the table yet
Key = tuple[str, int, str]


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        url: The output folder.
        rows: A row per item, scale and method, see ``work.SCHEMA``.
        summary: A row per scale, method and metric, see ``summary.SCHEMA``.
    """

    url: str
    rows: list[Row] = field(repr=False)
    summary: list[Row] = field(repr=False)


def key(row: Row) -> Key:
    """Item, scale and method of a row."""
    return row["item"], row["scale"], row["method"]


@dataclass
class Store:
    """Rows and header of one evaluation, in memory and in its folder.

    Attributes:
        url: Of the folder.
        header: The content of evaluation.json.
        order: Keys of all rows that there will be.
        rows: Those that there are.
    """

    url: str
    header: dict[str, Any]
    order: Sequence[Key]
    rows: dict[Key, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._start = time.monotonic()
        self._seconds_before = float(self.header.get("seconds") or 0)
        self._parts: set[str] = set()
        self._of_item: dict[tuple[str, int], list[Key]] = {}
        for item, scale, method in self.order:
            self._of_item.setdefault((item, scale), []).append((item, scale, method))

    @classmethod
    def open(cls, url: str, identity: Mapping[str, Any], order: Sequence[Key]) -> "Store":
        """Start an evaluation, or go on with it: then ``rows`` are those that were ok.

        Args:
            url: Of the folder.
            identity: JSON values that tell one evaluation from another.
            order: Keys of all rows.

        Raises:
            ConfigError: if the folder holds another evaluation; names what differs.
        """
        previous = _read_header(url)
        identity = json.loads(json.dumps(identity))
        if previous is not None:
            _compare(url, previous, identity)
        seconds = 0 if previous is None else previous.get("seconds")
        store = cls(url, {**identity, **_circumstances(), "seconds": seconds}, order)
        if previous is not None:
            store._read_rows()
        store._write_header()
        return store

    def _read_rows(self) -> None:
        """Those that are ok, of the table and of the parts, which are later."""
        self._parts = set(storage.list_files(urls.join(self.url, PARTS), ".parquet"))
        table = urls.join(self.url, "items.parquet")
        for place in ([table] if storage.exists(table) else []) + sorted(self._parts):
            rows = {key(row): row for row in _rows_of(place)}
            self.rows |= {one: row for one, row in rows.items() if row["status"] == "ok"}

    def add(self, rows: Sequence[Row]) -> None:
        """Keep the rows of an item at one scale, and write all that there are of it."""
        self.rows |= {key(row): row for row in rows}
        for item, scale in dict.fromkeys((row["item"], row["scale"]) for row in rows):
            part = urls.join(self.url, PARTS, f"{folder_name(item)}.x{scale}.parquet")
            there = [self.rows[one] for one in self._of_item[item, scale] if one in self.rows]
            storage.write_bytes(part, parquet_bytes(_table(there, SCHEMA)))
            self._parts.add(part)

    def put_together(self) -> None:
        """Write all rows to one table; only then the parts go away."""
        if self._parts:
            self._write_table("items", self.ordered(), SCHEMA)
        for part in sorted(self._parts):
            storage.delete(part)
            self._parts.remove(part)

    def ordered(self) -> list[Row]:
        """All rows: scale by scale, item by item, method by method."""
        return [self.rows[wanted] for wanted in self.order if wanted in self.rows]

    def finish(
        self, statistics: Sequence[Row], schema: pa.Schema, report: Callable[[dict[str, Any]], str]
    ) -> None:
        """Write the summary, the report on the finished header, and the time it all took."""
        self._write_table("summary", statistics, schema)
        self._write_header()
        storage.write_bytes(urls.join(self.url, "summary.md"), report(self.header).encode())

    def _write_header(self) -> None:
        seconds = self._seconds_before + time.monotonic() - self._start
        self.header["seconds"] = round(seconds, 3)
        data = json.dumps(self.header, indent=1).encode()
        storage.write_bytes(urls.join(self.url, HEADER), data)

    def _write_table(self, name: str, rows: Sequence[Row], schema: pa.Schema) -> None:
        table = _table(rows, schema)
        text = io.BytesIO()
        csv.write_csv(table, text)
        storage.write_bytes(urls.join(self.url, f"{name}.parquet"), parquet_bytes(table))
        storage.write_bytes(urls.join(self.url, f"{name}.csv"), text.getvalue())


def _read_header(url: str) -> dict[str, Any] | None:
    place = urls.join(url, HEADER)
    if not storage.exists(place):
        return None
    try:
        header = json.loads(storage.read_bytes(place))
    except ValueError:
        header = None
    if not isinstance(header, dict) or "methods" not in header:
        raise ConfigError(f"{place} is not of an evaluation; choose another output folder")
    return header


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schema)


def _rows_of(place: str) -> list[Row]:
    table = pq.read_table(parquet_source(storage.read_bytes(place)))
    if table.schema.names != SCHEMA.names:
        raise ConfigError(f"{place} is of another version; choose another output folder")
    rows: list[Row] = table.to_pylist()
    return rows


def _compare(url: str, previous: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    changes = [
        f"{name}: {_shown(previous.get(name), value)} -> {_shown(value, previous.get(name))}"
        for name, value in identity.items()
        if previous.get(name) != value
    ]
    if changes:
        raise ConfigError(
            f"{url} holds another evaluation ({'; '.join(changes)}); choose another output folder"
        )


def _shown(value: Any, other: Any) -> str:  # noqa: ANN401 - JSON
    """A value for a message; of two tables only what differs."""
    if isinstance(value, dict) and isinstance(other, dict):
        value = {name: entry for name, entry in value.items() if other.get(name) != entry}
    return json.dumps(value)


def _circumstances() -> dict[str, Any]:
    """With what and on what it runs."""
    packages = {"torch": "torch", "opencv": "opencv-python-headless", "numpy": "numpy"}
    return {
        "versions": {
            "dfp_batch": dfp_batch.__version__,
            "python": platform.python_version(),
            **{name: version(package) for name, package in packages.items()},
        },
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    """Linux tells it in a file only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
