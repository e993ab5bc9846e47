"""The run directory: the only truth about a run.

::

    RUN/run.json              create-only: configuration, fingerprint, versions, manifest sha256
    RUN/manifest.parquet      normalised snapshot, written before anything runs
    RUN/access.json           there if sources are read without credentials
    RUN/appended/<epoch>.parquet   create-only: pairs that came later, in this order
    RUN/lease/<epoch>.json    who drives, the highest; heartbeat every 30 s, stale after 5 min
    RUN/outputs/<pair>/...    whole or absent, written before the row
    RUN/results/part-<epoch>-<seq>.parquet   append-only, one row per attempt
    RUN/summary.json          written last

A session of a driver on a run is an epoch, and so is a command that changes a run between them.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import dfp_batch
from dfp_batch.errors import (
    DfpError,
    LedgerError,
    RunHeldError,
    RunStoppedError,
    StorageError,
)
from dfp_batch.io import storage, urls
from dfp_batch.runs.attempts import SCHEMA, PairRecord, last_epoch, parquet_bytes, together
from dfp_batch.runs.lease import Lease, UnderWay, take_lease
from dfp_batch.runs.manifest import Pair, manifest_bytes, refuse, write_manifest
from dfp_batch.runs.run_directory import SCHEMA_VERSION, create_or_compare, read_header, read_pairs

if TYPE_CHECKING:  # it imports torch, which writing rows does not need
    from dfp_batch.config.run_config import RunConfig

log = logging.getLogger(__name__)

HEARTBEAT_S = 30.0
FLUSH_S, FLUSH_ROWS = 2.0, 512
CLOSE_S = 10.0
MESSAGE_BYTES = 2048
SMALL_PARTS = 64  # a part every two seconds makes many in a night
DELETED_AT_ONCE = 8  # between two heartbeats


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
        self._small: dict[str, pa.Table] = {}  # parts of this session, to be put together
        self._merge_at = SMALL_PARTS
        self._superseded: list[str] = []
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
        header = create_or_compare(url, config, pairs)
        lease = take_lease(url, last_epoch(url), takeover)
        # Under the lease, since a session killed between header and snapshot left none.
        if not storage.exists(urls.join(url, "manifest.parquet")):
            write_manifest(urls.join(url, "manifest.parquet"), pairs)
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
        target = urls.join(self.url, "appended", f"{self.epoch:06d}.parquet")
        if new and not storage.create_bytes(target, manifest_bytes(new)):
            raise LedgerError(f"{target} exists already; give the same command again")
        return len(new)

    def requeue(self, pair_id: str, command: str, why: str) -> None:
        """Void all that this and earlier sessions have said of a pair, for later ones to do it."""
        now = self._clock()
        self.append(PairRecord(pair_id, 1, "requeued", command, now, now, error_message=why))

    def tick(self, running: int, under_way: Sequence[UnderWay] = ()) -> None:
        """Write rows and heartbeat when due, in the background; call it about once a second.

        Args:
            running: Pairs in flight.
            under_way: Some of the stages that have begun, for whoever watches the run.

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
        self._begin_writing(rows, lambda: self._write(rows, now, running, under_way))

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

    def _write(
        self, rows: list[dict[str, Any]], now: float, running: int, under_way: Sequence[UnderWay]
    ) -> None:
        if rows:
            self._write_part(rows)
        if now - self._beaten_at >= HEARTBEAT_S:
            self._beaten_at = now
            self._lease = self._lease.beat(self.url, now, running, under_way)
        elif self._lease.displaced(self.url):
            raise _taken_over(self.url)
        self._tidy()

    def _write_part(self, rows: list[dict[str, Any]]) -> None:
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        target = self._create_part(parquet_bytes(table))
        rows.clear()
        self._small[target.rpartition("/")[2]] = table

    def _tidy(self) -> None:
        """Put the small parts of this session together, many at a time, and delete a few.

        A store that fails here, or cannot delete, costs nothing but order: rows that are there
        twice read like once.
        """
        try:
            if len(self._small) >= self._merge_at:
                self._write_whole(together(self._small))
                self._superseded += self._small
                self._small, self._merge_at = {}, SMALL_PARTS
            for name in self._superseded[:DELETED_AT_ONCE]:
                storage.delete(urls.join(self.url, "results", name))
                self._superseded.remove(name)
        except (StorageError, LedgerError) as error:
            log.debug("%s: parts stay as they are: %s", self.url, error)
            self._merge_at = len(self._small) + SMALL_PARTS

    def write_part(self, table: pa.Table) -> str:
        """Write rows that other parts hold as a part of their own, now, and read it back.

        Args:
            table: Of ``attempts.together``.

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
        return self._write_whole(table)

    def _write_whole(self, table: pa.Table) -> str:
        data = parquet_bytes(table)
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
        target = urls.join(self.url, "results", part)
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
