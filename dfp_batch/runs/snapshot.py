"""A run as it is now, again and again, from its directory alone: for whoever watches it."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dfp_batch.errors import ObjectMissingError
from dfp_batch.io import storage, urls
from dfp_batch.runs.attempts import read_attempts, visible
from dfp_batch.runs.lease import UnderWay, current_lease
from dfp_batch.runs.pace import WINDOW_S
from dfp_batch.runs.run_directory import total_pairs
from dfp_batch.runs.status import COLUMNS, RunStatus

STAGES = ("prepare", "reconstruct", "publish")
_TIMES = tuple(f"t_{stage}_s" for stage in STAGES)
_COUNTS = ("total", "ok", "failed", "quarantined", "pending")
_OK, _FAILURES, _STOPPED = 0, 3, 4


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment.

    Attributes:
        status: Counts, pace, last errors.
        stage_seconds: Mean of each stage over the last half hour of the run.
        last_pair_at: When the last attempt ended, or None; seconds since the epoch of Unix.
        heartbeat_at: When a live driver was last heard of, or None.
        under_way: What it did then.
        summarised: Whether the last session has done all that it was asked for, and said so.
    """

    status: RunStatus
    stage_seconds: Mapping[str, float]
    last_pair_at: float | None
    heartbeat_at: float | None
    under_way: tuple[UnderWay, ...]
    summarised: bool

    @property
    def exit_code(self) -> int | None:
        """That of the command that ran it: 0, 3 or 4; None while a driver lives."""
        status = self.status
        if status.driver is not None:
            return None
        if status.pending and not self.summarised:
            return _STOPPED
        return _FAILURES if status.failed or status.quarantined else _OK


class RunReader:
    """Reads a run many times, and of its rows each time only what is new.

    Args:
        url: Run directory.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._parts: dict[str, pa.Table] = {}

    def read(self) -> Snapshot:
        """The run now.

        Raises:
            ConfigError: if there is no run.
            StorageError: if the store does not answer.
        """
        total = total_pairs(self._url)
        lease = current_lease(self._url)  # before the rows: a session that has ended has them all
        attempts = read_attempts(self._url, (*COLUMNS, *_TIMES), self._parts)
        rows = visible(attempts)
        live = lease if lease is not None and lease.is_live(time.time()) else None
        status = RunStatus.of(self._url, total, rows, live)
        return Snapshot(
            status,
            _stage_seconds(attempts),
            _last_end(attempts),
            live.heartbeat_at if live else None,
            live.under_way if live else (),
            live is None and self._is_summarised(status),
        )

    def _is_summarised(self, status: RunStatus) -> bool:
        try:
            summary = json.loads(storage.read_bytes(urls.join(self._url, "summary.json")))
        except (ObjectMissingError, ValueError):
            return False
        counts = {name: getattr(status, name) for name in _COUNTS}
        return isinstance(summary, dict) and counts.items() <= summary.items()


def _last_end(attempts: pa.Table) -> float | None:
    last = pc.max(attempts["finished_at"]).as_py()
    return None if last is None else float(last.timestamp())


def _stage_seconds(attempts: pa.Table) -> dict[str, float]:
    last = pc.max(pc.cast(attempts["finished_at"], pa.int64())).as_py()
    if last is None:
        return {}
    recent = pc.greater(pc.cast(attempts["finished_at"], pa.int64()), last - int(WINDOW_S * 1e6))
    rows = attempts.filter(recent)
    means = {stage: pc.mean(rows[name]).as_py() for stage, name in zip(STAGES, _TIMES, strict=True)}
    return {stage: mean for stage, mean in means.items() if mean is not None}
