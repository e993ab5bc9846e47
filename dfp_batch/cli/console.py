"""What people see: bars and lines while something goes on, status when it has ended."""

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from dfp_batch.runs.status import Counts, RunStatus

LINE_EVERY_S = 10.0


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
        print_as_it_is(self._console, text)


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
    print_as_it_is(console, f"dashboard: {url}")
    print_as_it_is(
        console, "           (log in with the token that `ray get-auth-token` prints here)"
    )


def print_status(console: Console, status: "RunStatus") -> None:
    """The status for people."""
    for line in _status_lines(status):
        print_as_it_is(console, line)


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


def print_places(console: Console, url: str) -> None:
    """Where to look at what a run has made."""
    from dfp_batch.io import storage, urls

    print_as_it_is(console, f"images   {urls.join(url, 'outputs')}/<pair>/fused.*")
    report = urls.join(url, "report.html")
    if storage.exists(report):
        print_as_it_is(console, f"report   {report}")


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


def print_as_it_is(console: Console, text: str) -> None:
    """One line, however long: names and messages hold brackets and numbers that mean nothing."""
    console.print(text, soft_wrap=True, highlight=False, markup=False)
