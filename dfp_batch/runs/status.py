"""How a run stands: counts as the driver sees them, status and results as the ledger tells them."""

import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dfp_batch.runs.attempts import PairRecord, read_attempts, visible
from dfp_batch.runs.lease import Lease, current_lease
from dfp_batch.runs.pace import Pace, pace_of, pixels_of
from dfp_batch.runs.run_directory import read_header, read_ids, total_pairs

LAST_ERRORS = 5
_COMPARED = ("mg", "floor_mg", "psnr_db", "floor_psnr_db")
_TIMES = ("started_at", "finished_at")
COLUMNS = ("category", "error_message", *_TIMES, "width_px", "height_px", *_COMPARED)


@dataclass
class Counts:
    """Pairs of a run as the driver sees them now.

    Attributes:
        total: Asked for.
        ok: Done, in this and earlier sessions.
        failed: Ended without a result in this session.
        running: In flight.
        quarantined: Left alone in this session, since they killed a process twice.
    """

    total: int
    ok: int = 0
    failed: int = 0
    running: int = 0
    quarantined: int = 0

    def __post_init__(self) -> None:
        self._failed_ids: set[str] = set()

    def note(self, record: PairRecord) -> None:
        """Count an attempt; a pair that fails and succeeds later counts once, as done."""
        if record.status == "ok":
            self.ok += 1
            self._failed_ids.discard(record.pair_id)
        else:
            self._failed_ids.add(record.pair_id)
        self.failed = len(self._failed_ids)


@dataclass(frozen=True)
class RunStatus:
    """A run as its ledger tells it.

    Attributes:
        run: URL.
        total: Pairs of the manifest.
        ok: Pairs with a result.
        failed: Pairs whose last attempt failed; the next submit tries them again.
        quarantined: Pairs whose process died twice; left alone unless asked for.
        pending: Pairs without a row that counts: not begun, or requeued.
        running: In flight at the last heartbeat of a live driver.
        driver: Host and process of a live driver, or None.
        by_category: Failed and quarantined pairs by category of their error.
        pairs_per_minute: Ended in the last half hour of the last session, or None.
        megapixels_per_second: Of results, likewise.
        eta_s: Until the pending ones are done at that pace, if they are as large as the others.
        last_errors: The newest first: pair_id, category, message.
        compared: Pairs that were compared with the classical floor.
        compared_metric: By which: "psnr_db" where there are references, else "mg"; or None.
        compared_mean: Its mean over these pairs.
        compared_floor: Mean of the floor over the same pairs.
    """

    run: str
    total: int
    ok: int
    failed: int
    quarantined: int
    pending: int
    running: int
    driver: str | None
    by_category: dict[str, int]
    pairs_per_minute: float | None
    eta_s: float | None
    last_errors: list[dict[str, str]]
    compared: int = 0
    compared_metric: str | None = None
    compared_mean: float | None = None
    compared_floor: float | None = None
    megapixels_per_second: float | None = None

    @classmethod
    def read(cls, url: str) -> "RunStatus":
        """Status of the run at ``url``.

        Raises:
            ConfigError: if there is no run.
        """
        total, rows = total_pairs(url), visible(read_attempts(url, COLUMNS))
        lease = current_lease(url)
        live = lease if lease is not None and lease.is_live(time.time()) else None
        return cls.of(url, total, rows, live)

    @classmethod
    def of(cls, url: str, total: int, rows: pa.Table, live: Lease | None) -> "RunStatus":
        """Status of a run whose rows are at hand.

        Args:
            url: Run directory.
            total: Pairs of the run.
            rows: One per pair, with ``COLUMNS``.
            live: Lease of a live driver, or None.
        """
        states = Counter(rows["status"].to_pylist())
        bad = rows.filter(pc.not_equal(rows["status"], "ok")).sort_by(
            [("finished_at", "descending")]
        )
        pending = total - rows.num_rows
        pace = session_pace(rows)
        mean_pixels = pc.mean(pixels_of(rows)).as_py() or 0.0
        return cls(
            run=url,
            total=total,
            ok=states["ok"],
            failed=states["error"],
            quarantined=states["quarantined"],
            pending=pending,
            running=live.running if live else 0,
            driver=live.driver if live else None,
            by_category=dict(Counter(bad["category"].to_pylist())),
            pairs_per_minute=pace.pairs_per_minute,
            megapixels_per_second=pace.megapixels_per_second,
            eta_s=pace.remaining_s(pending, mean_pixels),
            last_errors=_errors(bad, LAST_ERRORS),
            **_comparison(rows),
        )

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and summary.json."""
        return asdict(self)


def _comparison(rows: pa.Table) -> dict[str, Any]:
    """How the results stand to the classical floor, over the pairs that were compared."""
    compared = rows.filter(pc.is_valid(rows["floor_mg"]))
    if not compared.num_rows:
        return {}
    name = "mg" if compared["floor_psnr_db"].null_count else "psnr_db"
    return {
        "compared": compared.num_rows,
        "compared_metric": name,
        "compared_mean": pc.mean(compared[name]).as_py(),
        "compared_floor": pc.mean(compared[f"floor_{name}"]).as_py(),
    }


def _errors(bad: pa.Table, count: int) -> list[dict[str, str]]:
    columns = ["pair_id", "category", "error_message"]
    rows: list[dict[str, str]] = bad.slice(0, count).select(columns).to_pylist()
    return rows


def session_pace(rows: pa.Table) -> Pace:
    """Of the last session that has left rows.

    Args:
        rows: One per pair, with ``COLUMNS``.
    """
    return pace_of(rows.filter(pc.equal(rows["epoch"], pc.max(rows["epoch"]))))


def results(url: str) -> pa.Table:
    """One visible row per pair, in the order of the manifest and of what was appended.

    Raises:
        ConfigError: if there is no run.
        LedgerError: if the run directory is damaged.
    """
    read_header(url)
    rows = visible(read_attempts(url))
    order = pc.index_in(read_ids(url), value_set=rows["pair_id"].combine_chunks())
    return rows.take(order.drop_null())
