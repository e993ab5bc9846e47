"""``dfp-batch watch``: a run as it goes on, from any machine that can read it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dfp_batch import errors
from dfp_batch.cli import voice
from dfp_batch.cli.exit_codes import ExitCode
from dfp_batch.cli.options import Run

if TYPE_CHECKING:  # --help must not import them
    from rich.console import Console
    from rich.table import Table

    from dfp_batch.runs.snapshot import RunReader, Snapshot

GRACE_S = 15.0  # between the end of a driver and its summary, and before a driver has begun
REST = 4  # times as long as a look has taken: one at a million rows takes three seconds
TODAY_S = 12 * 3600.0  # beyond, a time needs its day
_OUTCOMES: dict[int, str] = {
    ExitCode.OK: "ended: all done",
    ExitCode.PAIRS: "ended: some pairs have failed",
    ExitCode.STOPPED: "stopped before the end; the command of the run goes on from there",
}

Interval = Annotated[float, typer.Option(min=0.5, help="Seconds between two looks.")]
Once = Annotated[bool, typer.Option("--once", help="Look once.")]
_Show = Callable[["Snapshot | None", str], None]


def watch(run: Run, interval: Interval = 5.0, once: Once = False) -> None:
    """Show a run until it ends, with its exit code: 0, 3 or 4; on a terminal, or line by line."""
    from dfp_batch.io import urls
    from dfp_batch.runs.snapshot import RunReader

    console = voice.answers()
    reader = RunReader(urls.absolute_url(run))
    code: int | None
    try:
        with _screen(console) if console.is_terminal else _lines(console) as show:
            code = _look(reader, show, once, interval)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    if code in _OUTCOMES:
        console.print(_OUTCOMES[code], highlight=False)
    raise typer.Exit(code or 0)


def _look(reader: "RunReader", show: _Show, once: bool, interval_s: float) -> int | None:
    """Look again and again until the run has ended; the code of its outcome."""
    snapshot: Snapshot | None = None
    over_since: float | None = None
    while True:
        problem, began = "", time.monotonic()
        try:
            snapshot = reader.read()
        except errors.StorageError as error:
            if once or error.category != "transient":
                raise
            problem = " ".join(str(error).split())
        show(snapshot, problem)
        code = snapshot.exit_code if snapshot and not problem else None
        over_since = (over_since or time.monotonic()) if code is not None else None
        if once or (over_since and _is_certain(code, time.monotonic() - over_since)):
            return code
        time.sleep(max(interval_s, REST * (time.monotonic() - began)))


def _is_certain(code: int | None, over_s: float) -> bool:
    """A driver that is not there may have ended a moment ago, or not have begun."""
    return code in {ExitCode.OK, ExitCode.PAIRS} or over_s > GRACE_S


@contextmanager
def _lines(console: "Console") -> Iterator[_Show]:
    """A line when counts, the driver or the errors have changed."""
    last: tuple[object, ...] = ()
    known: set[tuple[str, str]] = set()

    def say(text: str) -> None:
        console.print(
            f"{datetime.now():%H:%M:%S} {text}", soft_wrap=True, markup=False, highlight=False
        )

    def show(snapshot: "Snapshot | None", problem: str) -> None:
        nonlocal last
        if problem:
            say(problem)
        if snapshot is None or problem:
            return
        status = snapshot.status
        now = (status.ok, status.failed, status.quarantined, status.total, status.driver)
        if now != last:
            last = now
            say(_counts(snapshot))
        for error in reversed(status.last_errors):
            if (key := (error["pair_id"], error["error_message"])) not in known:
                known.add(key)
                say(_error(error))

    yield show


def _counts(snapshot: "Snapshot") -> str:
    from dfp_batch.cli.console import pace_text

    status = snapshot.status
    parts = [f"{status.ok} done", f"{status.failed} failed"]
    parts += [f"{status.quarantined} quarantined"] if status.quarantined else []
    pairs = f"{', '.join(parts)}, {status.pending} pending of {status.total}"
    return "; ".join(filter(None, [pairs, pace_text(status), "" if status.driver else "no driver"]))


def _error(error: dict[str, str]) -> str:
    return f"{error['pair_id']} ({error['category']}): {error['error_message']}"


@contextmanager
def _screen(console: "Console") -> Iterator[_Show]:
    """A picture that is drawn anew."""
    from rich.live import Live
    from rich.text import Text

    with Live(console=console, auto_refresh=False) as live:

        def show(snapshot: "Snapshot | None", problem: str) -> None:
            picture = Text(problem) if snapshot is None else picture_of(snapshot, problem)
            live.update(picture, refresh=True)

        yield show


def picture_of(snapshot: "Snapshot", problem: str = "") -> "Table":
    """What a terminal shows of a run.

    Args:
        snapshot: Of the run.
        problem: Why it could not be read again, if so.
    """
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    status = snapshot.status
    ended = status.ok + status.failed + status.quarantined
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_row("run", Text(status.run, overflow="fold", no_wrap=False))
    table.add_row("", ProgressBar(total=max(1, status.total), completed=ended))
    for name, text in _rows(snapshot, problem):
        style = "red" if name == "store" or text.startswith("no driver") else ""
        table.add_row(name, Text(text, style=style))
    return table


def _rows(snapshot: "Snapshot", problem: str) -> Iterator[tuple[str, str]]:
    """Names and texts, a line each."""
    status, now = snapshot.status, time.time()
    yield "pairs", _counts(snapshot).partition(";")[0]
    yield "pace", _pace(snapshot) or "no pair has ended yet"
    if snapshot.stage_seconds:
        means = (f"{stage} {seconds:.2f} s" for stage, seconds in snapshot.stage_seconds.items())
        yield "stages", ", ".join(means)
    yield "driver", _driver(snapshot, now)
    for number, one in enumerate(snapshot.under_way):
        since = _ago(now - one.since)
        yield "" if number else "now", f"{one.pair_id}, from {one.stage} on, for {since}"
    for category, count in sorted(status.by_category.items()):
        yield "errors", f"{count} {category}"
    for error in status.last_errors:
        yield "", _error(error)
    if problem:
        yield "store", problem


def _pace(snapshot: "Snapshot") -> str:
    """How fast, and when it will be done, on the clock of this machine."""
    from dfp_batch.cli.console import pace_text

    text, eta_s = pace_text(snapshot.status), snapshot.status.eta_s
    if eta_s is None or snapshot.heartbeat_at is None:
        return text
    end = datetime.fromtimestamp(time.time() + eta_s)
    return f"{text}, till {end:%H:%M}" if eta_s < TODAY_S else f"{text}, till {end:%a %H:%M}"


def _driver(snapshot: "Snapshot", now: float) -> str:
    last = snapshot.last_pair_at
    pair = "" if last is None else f"; the last pair ended {_ago(now - last)} ago"
    if snapshot.heartbeat_at is None:
        return f"no driver{pair}"
    return f"{snapshot.status.driver}, seen {_ago(now - snapshot.heartbeat_at)} ago{pair}"


def _ago(seconds: float) -> str:
    from dfp_batch.cli.console import duration

    return duration(max(0.0, seconds))
