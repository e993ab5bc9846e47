"""What people see: bars and lines while something goes on, status and tables when it has ended."""

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    import pyarrow as pa

    from dfp_batch.runs.status import Counts, RunStatus

SHOWN_ROWS = 20
LINE_EVERY_S = 10.0
_WITH_REFERENCE = (("psnr_db", "PSNR dB", 2), ("ssim", "SSIM", 4))
_WITHOUT = (("mg", "MG", 2), ("ei", "EI", 1))
_Metrics = tuple[tuple[str, str, int], ...]  # column, heading, digits


class LiveProgress:
    """A progress bar on a terminal; in a log file a line when something has changed.

    At most one in ten seconds.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_line = 0.0
        self._last_line = ""
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

    def moved(self, counts: "Counts") -> None:
        """Show the counts."""
        text = f"{counts.ok} done, {counts.failed} failed, {counts.running} running"
        text += f", {counts.quarantined} quarantined" if counts.quarantined else ""
        completed = counts.ok + counts.failed + counts.quarantined
        if self._bar.tasks[0].total is None:  # what earlier sessions did says nothing of the speed
            self._bar.reset(self._task, total=counts.total, completed=completed)
        self._bar.update(self._task, description=text, completed=completed)
        is_due = text != self._last_line and time.monotonic() >= self._next_line
        if not self._console.is_terminal and is_due:
            self._last_line, self._next_line = text, time.monotonic() + LINE_EVERY_S
            eta = self._bar.tasks[0].time_remaining
            left = "" if eta is None else f", about {duration(eta)} left"
            self._console.print(f"{text} of {counts.total}{left}")

    def noted(self, text: str) -> None:
        """Show a line of text."""
        _print_as_it_is(self._console, text)


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


def print_dashboard(console: Console, url: str) -> None:
    """Where to watch, and how to get in."""
    if not url:
        return
    _print_as_it_is(console, f"dashboard: {url}")
    _print_as_it_is(
        console, "           (log in with the token that `ray get-auth-token` prints here)"
    )


def print_status(console: Console, status: "RunStatus") -> None:
    """The status for people."""
    for line in _status_lines(status):
        _print_as_it_is(console, line)


def _status_lines(status: "RunStatus") -> Iterator[str]:
    yield f"run      {status.run}"
    yield (
        f"pairs    {status.ok} done, {status.failed} failed, {status.quarantined} quarantined, "
        f"{status.pending} pending of {status.total}"
    )
    yield f"driver   {status.driver or 'none'}, {status.running} running"
    if status.pairs_per_minute:
        yield f"rate     {pace_text(status)}"
    if status.compared_mean is not None:
        name = {"psnr_db": "PSNR in dB", "mg": "mean gradient"}[str(status.compared_metric)]
        yield (
            f"floor    {name} {status.compared_mean:.2f}, classical floor "
            f"{status.compared_floor:.2f}, on {status.compared} sampled pairs"
        )
    for category, count in sorted(status.by_category.items()):
        yield f"errors   {count} {category}"
    for error in status.last_errors:
        yield f"         {error['pair_id']} ({error['category']}): {error['error_message']}"
    if status.last_errors:
        yield f"next     dfp-batch failures {shlex.quote(status.run)}"


def pace_text(status: "RunStatus") -> str:
    """How fast, and how long it still takes; "" before the first pair."""
    parts = []
    if status.pairs_per_minute is not None:
        parts.append(f"{status.pairs_per_minute:.1f} pairs per minute")
    if status.megapixels_per_second is not None:
        parts.append(f"{status.megapixels_per_second:.3g} MP/s")
    if status.eta_s is not None:
        parts.append(f"about {duration(status.eta_s)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """In the unit that fits: 42 s, 12 min, 3.4 h, 2.1 days."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 2 * 86400)):
        if seconds < most:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.1f} days"


def _print_as_it_is(console: Console, text: str) -> None:
    """One line, however long: names and messages hold brackets and numbers that mean nothing."""
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def print_results(console: Console, rows: "pa.Table", limit: int = SHOWN_ROWS) -> None:
    """A table of the first rows: what came out, and beside each metric that of the floor."""
    import pyarrow.compute as pc

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
        for name, means in _mean_rows(done):
            table.add_row(name, "", *_numbers(means, metrics), "")
    console.print(table)
    if kernel := archive_kernel(done):
        _print_as_it_is(console, f"kernel   {kernel}")


def _mean_rows(done: "pa.Table") -> Iterator[tuple[str, dict[str, float | None]]]:
    """Means of all pairs, and of those that were compared with the floor where these are fewer."""
    import pyarrow.compute as pc

    compared = done.filter(pc.is_valid(done["floor_mg"]))
    all_compared = compared.num_rows == done.num_rows
    own = _means(done)
    floors = {name: value for name, value in own.items() if name.startswith("floor_")}
    yield f"mean of {done.num_rows}", own if all_compared else own | dict.fromkeys(floors)
    if not all_compared:
        yield f"on {compared.num_rows} sampled pairs", _means(compared)


def _means(rows: "pa.Table") -> dict[str, float | None]:
    import pyarrow.compute as pc

    from dfp_batch.runs.attempts import METRIC_COLUMNS

    return {name: pc.mean(rows[name]).as_py() for name in METRIC_COLUMNS}


def archive_kernel(rows: "pa.Table") -> str:
    """What the estimates of ``--kernel auto-item`` say together; "" if there are none."""
    import pyarrow.compute as pc

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


def _numbers(row: dict[str, Any], metrics: _Metrics) -> list[str]:
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
