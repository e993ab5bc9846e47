"""What people see of a run: live counts, the status read from the ledger, the closing table."""

import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from dfp_batch.runs.attempts import METRIC_COLUMNS, PairRecord, read_attempts, visible
from dfp_batch.runs.lease import current_lease
from dfp_batch.runs.run_directory import read_header, read_ids, total_pairs

SHOWN_ROWS, SHOWN_ERRORS = 20, 5
_COMPARED = ("mg", "floor_mg", "psnr_db", "floor_psnr_db")
LINE_EVERY_S = 10.0


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


class LiveProgress:
    """A progress bar on a terminal, a line every ten seconds in a log file."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_line = 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> "LiveProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def moved(self, counts: Counts) -> None:
        """Show the counts."""
        text = f"{counts.ok} done, {counts.failed} failed, {counts.running} running"
        text += f", {counts.quarantined} quarantined" if counts.quarantined else ""
        completed = counts.ok + counts.failed + counts.quarantined
        if self._bar.tasks[0].total is None:  # what earlier sessions did says nothing of the speed
            self._bar.reset(self._task, total=counts.total, completed=completed)
        self._bar.update(self._task, description=text, completed=completed)
        now = time.monotonic()
        if not self._console.is_terminal and now >= self._next_line:
            self._next_line = now + LINE_EVERY_S
            eta = self._bar.tasks[0].time_remaining
            left = "" if eta is None else f", about {eta:.0f} s left"
            self._console.print(f"{text} of {counts.total}{left}")

    def noted(self, text: str) -> None:
        """Show a line of text."""
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def counting(console: Console, done: str) -> Iterator[Callable[[int, int], None]]:
    """One bar, or a line every ten seconds in a log file; yields what is told how far it is."""
    with Progress(
        TextColumn(done),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(done, total=None)
        next_line = time.monotonic() + LINE_EVERY_S

        def moved(count: int, total: int) -> None:
            nonlocal next_line
            bar.update(task, completed=count, total=total)
            if not console.is_terminal and time.monotonic() >= next_line:
                next_line = time.monotonic() + LINE_EVERY_S
                console.print(f"{done}: {count} of {total}")

        yield moved


@contextmanager
def iteration_bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar per stage of one item; yields the callback for ``fuse``."""
    with Progress(console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, iteration: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=iteration)

        yield show


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
        pairs_per_minute: Finished in the last session, or None before the second.
        eta_s: Until the pending ones are done at that rate, or None.
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

    @classmethod
    def read(cls, url: str) -> "RunStatus":
        """Status of the run at ``url``.

        Raises:
            ConfigError: if there is no run.
        """
        total = total_pairs(url)
        columns = ("category", "error_message", "started_at", "finished_at", *_COMPARED)
        attempts = read_attempts(url, columns)
        rows = visible(attempts)
        states = Counter(rows["status"].to_pylist())
        bad = rows.filter(pc.not_equal(rows["status"], "ok")).sort_by(
            [("finished_at", "descending")]
        )
        pending = total - rows.num_rows
        rate = _pairs_per_minute(attempts)
        lease = current_lease(url)
        live = lease if lease is not None and lease.is_live(time.time()) else None
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
            pairs_per_minute=rate,
            eta_s=pending / rate * 60 if rate and pending else None,
            last_errors=_errors(bad, SHOWN_ERRORS),
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


def _pairs_per_minute(attempts: pa.Table) -> float | None:
    attempts = attempts.filter(pc.not_equal(attempts["status"], "requeued"))  # nothing was done
    if attempts.num_rows == 0:
        return None
    last = attempts.filter(pc.equal(attempts["epoch"], pc.max(attempts["epoch"])))
    span = pc.max(last["finished_at"]).as_py() - pc.min(last["started_at"]).as_py()
    finished = pc.count_distinct(last["pair_id"]).as_py()
    return finished / span.total_seconds() * 60 if span.total_seconds() > 0 else None


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


def print_dashboard(console: Console, url: str) -> None:
    """Where to watch, and how to get in."""
    if not url:
        return
    console.print(f"dashboard: {url}", soft_wrap=True, highlight=False)
    console.print("           (log in with the token that `ray get-auth-token` prints here)")


def print_status(console: Console, status: RunStatus) -> None:
    """The status for people."""
    console.print(f"run      {status.run}", soft_wrap=True, highlight=False)
    console.print(
        f"pairs    {status.ok} done, {status.failed} failed, {status.quarantined} quarantined, "
        f"{status.pending} pending of {status.total}"
    )
    console.print(f"driver   {status.driver or 'none'}, {status.running} running")
    if status.pairs_per_minute:
        eta = f", about {status.eta_s:.0f} s left" if status.eta_s else ""
        console.print(f"rate     {status.pairs_per_minute:.1f} pairs per minute{eta}")
    if status.compared_mean is not None:
        name = {"psnr_db": "PSNR in dB", "mg": "mean gradient"}[str(status.compared_metric)]
        console.print(
            f"floor    {name} {status.compared_mean:.2f}, classical floor "
            f"{status.compared_floor:.2f}, on {status.compared} sampled pairs"
        )
    for category, count in sorted(status.by_category.items()):
        console.print(f"errors   {count} {category}")
    for error in status.last_errors:
        text = f"{error['pair_id']} ({error['category']}): {error['error_message']}"
        console.print(f"         {text}", soft_wrap=True, highlight=False, markup=False)
    if status.last_errors:
        command = f"dfp-batch failures {shlex.quote(status.run)}"
        console.print(f"next     {command}", soft_wrap=True, highlight=False, markup=False)


_WITH_REFERENCE = (("psnr_db", "PSNR dB", 2), ("ssim", "SSIM", 4))
_WITHOUT = (("mg", "MG", 2), ("ei", "EI", 1))


def print_results(console: Console, rows: pa.Table, limit: int = SHOWN_ROWS) -> None:
    """A table of the first rows: what came out, and beside each metric that of the floor."""
    has_reference = rows["psnr_db"].null_count < rows.num_rows
    metrics = _WITH_REFERENCE if has_reference else _WITHOUT
    table = Table(title=None if rows.num_rows <= limit else f"first {limit} of {rows.num_rows}")
    table.add_column("pair", overflow="fold")
    headings = [name for _, heading, _ in metrics for name in (heading, "floor")]
    for heading in ("result", *headings, "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows.slice(0, limit).to_pylist():
        table.add_row(row["pair_id"], _outcome(row), *_numbers(row, metrics), _seconds(row))
    done = rows.filter(pc.equal(rows["status"], "ok"))
    if done.num_rows > 1:
        table.add_section()
        compared = done.filter(pc.is_valid(done["floor_mg"]))
        if compared.num_rows == done.num_rows:
            table.add_row(f"mean of {done.num_rows}", "", *_numbers(_means(done), metrics), "")
        else:
            own = _means(done) | {f"floor_{name}": None for name, *_ in metrics}
            table.add_row(f"mean of {done.num_rows}", "", *_numbers(own, metrics), "")
            on = f"on {compared.num_rows} sampled pairs"
            table.add_row(on, "", *_numbers(_means(compared), metrics), "")
    console.print(table)
    kernel = archive_kernel(done)
    if kernel:
        console.print(f"kernel   {kernel}", soft_wrap=True, highlight=False)


def _means(rows: pa.Table) -> dict[str, float | None]:
    return {name: pc.mean(rows[name]).as_py() for name in METRIC_COLUMNS}


def archive_kernel(rows: pa.Table) -> str:
    """What the estimates of a run with ``--kernel auto`` say together; "" if there are none."""
    known = rows.filter(pc.is_valid(rows["kernel_error_px"]))
    if not known.num_rows:
        return ""
    from dfp_batch.degradation.kernel_estimation import KernelEstimate, combine
    from dfp_batch.degradation.kernels import Lanczos2

    estimates = [
        KernelEstimate(Lanczos2(), row["kernel_sigma_px"], row["kernel_error_px"])
        for row in known.select(["kernel_sigma_px", "kernel_error_px"]).to_pylist()
    ]
    found = combine(estimates, known["scale"][0].as_py())
    return (
        f"{found.kernel}: what {len(estimates)} items say together, sigma {found.sigma_px:.2f} +- "
        f"{found.error_px:.2f} px; --kernel {found.kernel} takes it for all"
    )


def _numbers(row: dict[str, Any], metrics: tuple[tuple[str, str, int], ...]) -> list[str]:
    return [
        _number(row[f"{prefix}{name}"], digits)
        for name, _, digits in metrics
        for prefix in ("", "floor_")
    ]


def _outcome(row: dict[str, Any]) -> str:
    if row["status"] == "ok":
        return f"{row['width_px']}x{row['height_px']} px"
    return f"{row['status']}: {row['category']}"


def _seconds(row: dict[str, Any]) -> str:
    stages = ("prepare", "reconstruct", "publish")
    return f"{sum(row[f't_{stage}_s'] or 0 for stage in stages):.1f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
