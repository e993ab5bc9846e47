"""The run directory: the only truth about a run.

::

    RUN/run.json              create-only: configuration, fingerprint, versions, manifest sha256
    RUN/manifest.parquet      normalised snapshot, written before anything runs
    RUN/appended/<epoch>.parquet   create-only: pairs that came later, in this order
    RUN/lease/<epoch>.json    who drives, the highest; heartbeat every 30 s, stale after 5 min
    RUN/outputs/<pair>/...    whole or absent, written before the row
    RUN/results/part-<epoch>-<seq>.parquet   append-only, one row per attempt
    RUN/summary.json          written last

A session of a driver on a run is an epoch, and so is a command that changes a run between them.
Reading rule, per pair: rows up to the epoch of its latest ``requeued`` row are void. Of the others
``ok`` beats everything else and the earliest ``ok`` wins; without one the latest attempt speaks:
its message is the current one. A pair without a row that counts is still to be done.
"""

import io
import json
import platform
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import dfp_batch
from dfp_batch import storage
from dfp_batch.errors import (
    ConfigError,
    DfpError,
    LedgerError,
    ManifestError,
    ObjectMissingError,
    RunHeldError,
    RunStoppedError,
    StorageError,
)
from dfp_batch.lease import Lease, take_lease
from dfp_batch.manifest import (
    Pair,
    manifest_bytes,
    manifest_sha256,
    parquet_source,
    read_manifest,
    refuse,
    write_manifest,
)

if TYPE_CHECKING:  # it imports torch, which reading a ledger does not need
    from dfp_batch.config import RunConfig

SCHEMA_VERSION = 1
HEARTBEAT_S = 30.0
FLUSH_S, FLUSH_ROWS = 2.0, 512
CLOSE_S = 10.0
MESSAGE_BYTES = 2048

Status = Literal["ok", "error", "quarantined", "requeued"]
MOST_LISTINGS = 8

_RELATIVE = ("rmg", "rei", "rie", "rmga", "reco")
METRICS = ("consistency", "mg", "ei", "ie", "mga", "eco", "psnr_db", "ssim", *_RELATIVE)
METRIC_COLUMNS = (*METRICS, *(f"floor_{name}" for name in METRICS))

_PART = re.compile(r"part-[0-9]{6,9}-[0-9]{6,9}\.parquet")
_APPENDED = re.compile(r"[0-9]{6,9}\.parquet")
_HEADER = {  # what is read of run.json
    "run_id": str,
    "config": dict,
    "fingerprint": str,
    "manifest_sha256": str,
    "pairs": int,
}
_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("attempt", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        ("category", pa.string()),
        ("error_type", pa.string()),
        ("error_message", pa.string()),
        ("stage", pa.string()),
        ("output_url", pa.string()),
        ("output_sha256", pa.string()),
        ("output_bytes", pa.int64()),
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        ("bit_depth", pa.int32()),
        ("significant_bits", pa.int32()),
        ("scale", pa.int32()),
        ("kernel", pa.string()),
        ("kernel_sigma_px", pa.float64()),
        ("kernel_error_px", pa.float64()),
        ("n_sources", pa.int32()),
        ("source_versions", pa.list_(pa.string())),
        ("adopted", pa.bool_()),
        ("reference_frame", pa.int32()),
        ("align_flags", pa.list_(pa.string())),
        ("align_score_before", pa.float64()),
        ("align_score_after", pa.float64()),
        ("gain_min", pa.float64()),
        ("gain_max", pa.float64()),
        ("valid_share", pa.float64()),
        ("low_confidence_share", pa.float64()),
        ("preset", pa.string()),
        ("fingerprint", pa.string()),
        ("precision", pa.string()),
        ("iterations", pa.int32()),
        ("stop_reason", pa.string()),
        ("loss_first", pa.float64()),
        ("loss_last", pa.float64()),
        ("blind_gain_db", pa.float64()),
        ("used_floor", pa.bool_()),
        *((name, pa.float64()) for name in METRIC_COLUMNS),
        ("t_prepare_s", pa.float64()),
        ("t_optimise_s", pa.float64()),
        ("t_publish_s", pa.float64()),
        ("peak_gpu_bytes", pa.int64()),
        ("peak_rss_bytes", pa.int64()),
        ("device", pa.string()),
        ("node", pa.string()),
        ("started_at", _TIME),
        ("finished_at", _TIME),
        ("code_version", pa.string()),
        ("schema_version", pa.int32()),
    ]
)


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


def _truncated(message: str | None) -> str | None:
    return message and message.encode()[:MESSAGE_BYTES].decode(errors="ignore")


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class Ledger:
    """One session of one driver on one run: holds the lease, appends the rows.

    Open it with ``Ledger.open``; as a context manager it flushes and gives the lease back. What is
    due at a ``tick`` is written in a thread of its own: a slow store does not hold up the driver.

    Attributes:
        url: Run directory.
        run_id: Of run.json.
        values: Configuration of the run, ``RunConfig.values``; its defaults may be those of an
            older version.
    """

    def __init__(self, url: str, header: Mapping[str, Any], lease: Lease) -> None:
        self.url = url
        self.values: Mapping[str, Any] = header["config"]
        self.run_id = str(header["run_id"])
        self._fixed = {
            "run_id": self.run_id,
            "epoch": lease.epoch,
            "scale": header["config"]["scale"],
            "preset": header["config"]["preset"],
            "fingerprint": header["fingerprint"],
            "code_version": dfp_batch.__version__,
            "schema_version": SCHEMA_VERSION,
        }
        self._lease = lease
        self._clock: Callable[[], float] = time.time
        self._rows: list[dict[str, Any]] = []
        self._sequence = 0
        self._writing: _Writing | None = None
        self._closed = False
        self._looked_at = self._beaten_at = self._clock()

    @classmethod
    def open(
        cls, url: str, config: "RunConfig", pairs: Sequence[Pair], takeover: bool = False
    ) -> "Ledger":
        """Create the run, or go on with it.

        Args:
            url: Run directory.
            config: What to compute; must be what an existing run was asked for.
            pairs: The whole manifest; must equal that of an existing run.
            takeover: Take the lease even from a driver that seems alive.

        Raises:
            ConfigError: if the run has another configuration or manifest; names the fields.
            RunHeldError: if another driver is alive.
            LedgerError: if the directory is not a run of this schema.
        """
        header = _create_or_compare(url, config, pairs)
        lease = take_lease(url, last_epoch(url), takeover)
        # Under the lease, since a session killed between header and snapshot left none.
        if not storage.exists(storage.join(url, "manifest.parquet")):
            write_manifest(storage.join(url, "manifest.parquet"), pairs)
        return cls(url, header, lease)

    @classmethod
    def reopen(cls, url: str, takeover: bool = False) -> "Ledger":
        """Go on with a run as it is.

        Raises:
            ConfigError: if there is none.
            RunHeldError: if another driver is alive.
            LedgerError: if the directory is not a run of this schema.
        """
        header = read_header(url)
        return cls(url, header, take_lease(url, last_epoch(url), takeover))

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            self.close()
        except DfpError as last:
            if error is None:
                raise
            raise RunStoppedError(f"{error}; and at the end: {last}") from error

    @property
    def epoch(self) -> int:
        """Number of this session, from 1."""
        return self._lease.epoch

    def append(self, record: PairRecord) -> None:
        """Add the row of one finished attempt; on disk after ``tick`` or ``close``."""
        self._rows.append(
            {
                **self._fixed,
                **record.facts,
                "pair_id": record.pair_id,
                "attempt": record.attempt,
                "status": record.status,
                "stage": record.stage,
                "category": record.category,
                "error_type": record.error_type,
                "error_message": _truncated(record.error_message),
                "started_at": _utc(record.started_at),
                "finished_at": _utc(record.finished_at),
            }
        )

    def append_pairs(self, more: Sequence[Pair], source: str) -> int:
        """Add pairs to the run; those that it has already are left out.

        Args:
            more: Pairs, with ids of their own.
            source: Where they come from, for the message.

        Returns:
            How many are new.

        Raises:
            ManifestError: if the run has another pair of the same id; then none is added.
        """
        known = {pair.pair_id: pair for pair in read_pairs(self.url)}
        others = [pair.pair_id for pair in more if known.get(pair.pair_id, pair) != pair]
        if others:
            text = "the run has another pair of this id; give it one of its own"
            refuse(source, [f"pair_id {pair_id!r}: {text}" for pair_id in others])
        new = [pair for pair in more if pair.pair_id not in known]
        target = storage.join(self.url, "appended", f"{self.epoch:06d}.parquet")
        if new and not storage.create_bytes(target, manifest_bytes(new)):
            raise LedgerError(f"{target} exists already; give the same command again")
        return len(new)

    def requeue(self, pair_id: str, command: str, why: str) -> None:
        """Void all that this and earlier sessions have said of a pair, for later ones to do it."""
        now = self._clock()
        self.append(PairRecord(pair_id, 1, "requeued", command, now, now, error_message=why))

    def tick(self, running: int) -> None:
        """Write rows and heartbeat when due, in the background; call it about once a second.

        Raises:
            RunHeldError: if another driver took the run over.
            StorageAccessError: if the run can no longer be written.
        """
        if self._writing is not None and self._writing.is_alive():
            return
        self._see()
        now = self._clock()
        if now - self._looked_at < FLUSH_S and len(self._rows) < FLUSH_ROWS:
            return
        self._looked_at = now
        rows, self._rows = self._rows, []
        self._begin_writing(rows, lambda: self._write(rows, now, running))

    def flush(self) -> None:
        """Write the rows that are not yet on disk.

        Raises:
            StorageError: if the store fails, or does not answer in time.
        """
        self.settle()
        if self._rows:
            rows, self._rows = self._rows, []
            self._begin_writing(rows, lambda: self._write_part(rows))
            self.settle(transient=False)

    def close(self) -> None:
        """Flush and give the lease back; a second call does nothing."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        self._begin_writing([], self._release)
        self.settle(transient=False)

    def _begin_writing(self, rows: list[dict[str, Any]], write: Callable[[], None]) -> None:
        self._writing = _Writing(rows, write)
        self._writing.start()

    def settle(self, transient: bool = True) -> None:
        """Wait for what is being written.

        Args:
            transient: Whether a store that is down for a moment is fine: the next write tries it.

        Raises:
            RunHeldError: if another driver took the run over.
            StorageError: if the store failed for good, or does not answer in time.
        """
        if self._writing is None:
            return
        self._writing.join(CLOSE_S)
        if self._writing.is_alive():
            raise StorageError(
                f"{self.url}: the store has not answered for {CLOSE_S:.0f} s; rows may be missing, "
                "the next start of the same command finds their results"
            )
        self._see(transient)

    def _see(self, transient: bool = True) -> None:
        """See how the last write ended; what it could not write is kept for the next."""
        writing, self._writing = self._writing, None
        if writing is None or writing.error is None:
            return
        self._rows = writing.rows + self._rows
        passes = isinstance(writing.error, StorageError) and writing.error.category == "transient"
        if not (passes and transient):
            raise writing.error

    def _write(self, rows: list[dict[str, Any]], now: float, running: int) -> None:
        if rows:
            self._write_part(rows)
        if now - self._beaten_at >= HEARTBEAT_S:
            self._beaten_at = now
            self._lease = self._lease.beat(self.url, now, running)
        elif self._lease.displaced(self.url):
            raise _taken_over(self.url)

    def _write_part(self, rows: list[dict[str, Any]]) -> None:
        self._create_part(parquet_bytes(pa.Table.from_pylist(rows, schema=SCHEMA)))
        rows.clear()

    def write_part(self, table: pa.Table, metadata: Mapping[bytes, str]) -> str:
        """Write rows that other parts hold as a part of their own, now, and read it back.

        Args:
            table: Rows, ``SCHEMA``.
            metadata: Of the file.

        Returns:
            URL of the part.

        Raises:
            RunHeldError: if another driver took the run over.
            LedgerError: if the store has not got what was written.
            StorageError: if it fails.
        """
        self.settle(transient=False)
        if self._lease.displaced(self.url):
            raise _taken_over(self.url)
        data = parquet_bytes(table.replace_schema_metadata(metadata))
        target = self._create_part(data)
        if storage.read_bytes(target) != data:
            storage.delete(target)
            raise LedgerError(f"{target} was not as it was written; no row is lost, try again")
        return target

    def _create_part(self, data: bytes) -> str:
        # A new number for every try: a failed write may have succeeded, and a row that is there
        # twice reads like a row that is there once.
        self._sequence += 1
        part = f"part-{self.epoch:06d}-{self._sequence:06d}.parquet"
        target = storage.join(self.url, "results", part)
        if not storage.create_bytes(target, data):
            raise LedgerError(
                f"{self.url}: results/{part} exists already; is there another driver?"
            )
        return target

    def _release(self) -> None:
        self._lease = self._lease.release(self.url)


class _Writing(threading.Thread):
    """One write in the background; a process does not wait for it to end.

    Attributes:
        rows: That it writes.
        error: What it ended with, if not well.
    """

    def __init__(self, rows: list[dict[str, Any]], write: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.rows = rows
        self.error: Exception | None = None
        self._write = write

    def run(self) -> None:
        """Write."""
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            self.error = error


def _taken_over(url: str) -> RunHeldError:
    return RunHeldError(f"{url}: another driver has taken this run over")


def _create_or_compare(url: str, config: "RunConfig", pairs: Sequence[Pair]) -> dict[str, Any]:
    header: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run_id": uuid.uuid4().hex,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": config.fingerprint,
        "config": config.values(),
        "given": config.given,
        "manifest_sha256": manifest_sha256(pairs),
        "pairs": len(pairs),
        "versions": _versions(),
    }
    target = storage.join(url, "run.json")
    if storage.create_bytes(target, json.dumps(header, indent=1).encode()):
        return header
    existing = read_header(url)
    before, given = existing["config"], existing.get("given")
    is_same = config.resumes(before, given)
    changed = [] if is_same else differences(before, header["config"])
    if existing["manifest_sha256"] != header["manifest_sha256"]:
        changed.append(
            f"manifest: {existing['pairs']} pairs -> {len(pairs)} pairs, or other URLs (more pairs "
            "are added by --append MORE.parquet)"
        )
    if changed:
        raise ConfigError(
            f"{url} holds a run with another configuration: {'; '.join(changed)}. "
            "Use the same settings to resume it, or another --output for a new run"
        )
    return existing


def _versions() -> dict[str, str]:
    packages = ("dfp-batch", "torch", "ray", "opencv-python-headless", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One ``path: old -> new`` for every value that differs."""
    paths = sorted({*before, *after})
    return [
        f"{path}: {before.get(path, 'absent')} -> {after.get(path, 'absent')}"
        for path in paths
        if before.get(path) != after.get(path)
    ]


def read_header(url: str) -> dict[str, Any]:
    """Content of run.json.

    Raises:
        ConfigError: if there is none.
        LedgerError: if it is damaged, not ours, or of another schema version.
    """
    target = storage.join(url, "run.json")
    if not storage.exists(target):
        raise ConfigError(f"{url} is not a run directory: it has no run.json")
    try:
        header = json.loads(storage.read_bytes(target))
    except ValueError as error:
        raise _damaged_header(target, f"is not whole JSON ({error})") from error
    if not isinstance(header, dict) or "schema_version" not in header:
        raise _damaged_header(target, "has no schema_version")
    if header["schema_version"] != SCHEMA_VERSION:
        raise LedgerError(
            f"{url} has schema version {header['schema_version']}, expected {SCHEMA_VERSION}; "
            "use the version of dfp-batch that wrote it"
        )
    wrong = [name for name, kind in _HEADER.items() if not isinstance(header.get(name), kind)]
    if wrong:
        raise _damaged_header(target, f"has no {', '.join(wrong)} as they must be")
    return header


def manifests(url: str) -> list[str]:
    """URLs of the manifests of a run: the one that it began with, and what was appended."""
    later = storage.list_files(storage.join(url, "appended"), ".parquet")
    appended = [file for file in later if _APPENDED.fullmatch(file.rpartition("/")[2])]
    return [storage.join(url, "manifest.parquet"), *appended]


def total_pairs(url: str) -> int:
    """How many pairs a run has.

    Raises:
        ConfigError: if there is no run.
        LedgerError: if it is damaged.
    """
    began = int(read_header(url)["pairs"])
    return began + sum(len(_ids_of(manifest)) for manifest in manifests(url)[1:])


def read_pairs(url: str) -> list[Pair]:
    """All pairs of a run, in their order.

    Raises:
        LedgerError: if a manifest of the run is not there, or damaged.
    """
    try:
        return [pair for manifest in manifests(url) for pair in read_manifest(manifest)]
    except ManifestError as error:
        raise LedgerError(
            f"{error}; this is a file of the run itself: restore it (the manifest that the run "
            "began with is written again by the next submit once the file is deleted)"
        ) from error


def read_ids(url: str) -> pa.Array:
    """As ``read_pairs``, the ids alone."""
    ids = [chunk for manifest in manifests(url) for chunk in _ids_of(manifest).chunks]
    return pa.concat_arrays(ids) if ids else pa.array([], pa.string())


def _ids_of(snapshot: str) -> pa.ChunkedArray:
    data = storage.read_bytes(snapshot)
    try:
        return pq.read_table(parquet_source(data), columns=["pair_id"])["pair_id"]
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise LedgerError(
            f"{snapshot} is not a whole manifest ({reason}); delete it, and the next submit of the "
            "same manifest writes it again"
        ) from error


def _damaged_header(target: str, fault: str) -> LedgerError:
    return LedgerError(
        f"{target} {fault}, expected what dfp-batch wrote when the run began; "
        "restore the file, or use another --output for a new run"
    )


def last_epoch(url: str) -> int:
    """Highest epoch that left rows, 0 if none did."""
    names = (part.rpartition("/")[2] for part in parts(url))
    return max((int(name.split("-")[1]) for name in names), default=0)


def read_attempts(url: str, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows of all attempts, in the order they were written.

    While parts are being put together (see :mod:`dfp_batch.compaction`) a row may come twice: the
    rows of a part that goes away are in another one, which the next listing shows.

    Args:
        url: Run directory.
        columns: Of ``SCHEMA``, beside those that the reading rule needs; None is all. A few of them
            of a million rows are read in a second.

    Returns:
        A table with the columns in the order of ``SCHEMA``.

    Raises:
        LedgerError: if a part is damaged or not ours; rows are never left out in silence.
    """
    schema = _schema_of(columns)
    tables: dict[str, pa.Table] = {}
    for _ in range(MOST_LISTINGS):
        unread = [part for part in parts(url) if part not in tables]
        tables |= {part: rows for part in unread if (rows := _read_part(part, schema)) is not None}
        if not unread:
            in_order = [rows for _, rows in sorted(tables.items())]
            return pa.concat_tables([schema.empty_table(), *in_order])
    raise LedgerError(f"{url}/results changes faster than it can be read; try again")


def parts(url: str) -> list[str]:
    """The parts of a ledger; a file of another name is nobody's business here."""
    files = storage.list_files(storage.join(url, "results"), ".parquet")
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
    try:
        return _conform(pq.ParquetFile(parquet_source(data)), schema)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise LedgerError(
            f"{url} is not a whole part of the ledger ({reason}), expected the Parquet file that "
            "dfp-batch wrote; restore it, or move it out of results/: what no other part says is "
            "done is then done again"
        ) from error


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
    table = file.read([name for name in schema.names if name in there])
    columns = [
        table[column.name].cast(column.type)
        if column.name in there
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
