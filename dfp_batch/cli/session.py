"""What the commands have in common that run pairs: here or on a cluster, watched and shown."""

import os
from collections.abc import Callable
from datetime import datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from dfp_batch import errors
from dfp_batch.cli import voice
from dfp_batch.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from dfp_batch.engine.driver import Observer, Submission
    from dfp_batch.engine.retry import Retry
    from dfp_batch.runs.status import RunStatus

Status = TypeVar("Status", bound="RunStatus | None")


def settings(context: typer.Context) -> dict[str, Any]:
    """How the session runs: arguments of ``Submission`` and ``Retry``.

    Args:
        context: Of a command with the options of ``with_session``.

    Raises:
        ConfigError: if it is not to stop at a time that can be, or nobody can be told at a URL.
    """
    from dfp_batch.engine.notify import check_url

    flags = context.params
    names = ("gpus_per_pair", "max_failure_rate", "takeover")
    return {
        "address": flags["address"] or os.environ.get("RAY_ADDRESS"),
        "notify": flags["notify"] and check_url(flags["notify"]),
        "until": deadline(flags["until"], flags["max_hours"], datetime.now().astimezone()),
        **{name: flags[name] for name in names},
    }


def deadline(until: str | None, max_hours: float | None, now: datetime) -> datetime | None:
    """When a run is to stop; None is when it is done.

    Args:
        until: Time of day, the next one from now, or date and time, as ISO 8601 writes them.
        max_hours: From now.
        now: With a time zone, which those without one are in.

    Raises:
        ConfigError: for both, for what is no time, or for one that is past.
    """
    if until is None:
        return None if max_hours is None else now + timedelta(hours=max_hours)
    if max_hours is not None:
        raise errors.ConfigError("give --until or --max-hours, not both")
    try:
        if "-" in until:
            end = datetime.fromisoformat(until)
            end = end if end.tzinfo else end.replace(tzinfo=now.tzinfo)
        else:
            end = datetime.combine(now.date(), time.fromisoformat(until), now.tzinfo)
            end += timedelta(days=end <= now)
    except ValueError as error:
        expected = "a time like 07:00, or 2026-12-01T07:00"
        raise errors.ConfigError(f"--until must be {expected}, got {until!r}") from error
    if end <= now:
        raise errors.ConfigError(f"--until {until} is past; now is {now:%Y-%m-%dT%H:%M}")
    return end


def floor_mode(given: str) -> Any:  # noqa: ANN401 - CompareFloor of the engine, which --help must not import
    """Which pairs are compared with the classical floor.

    Raises:
        ConfigError: for another word.
    """
    if given not in ("all", "sample", "none"):
        raise errors.ConfigError(f"--compare-floor must be all, sample or none, got {given!r}")
    return given


def watch(
    task: "Submission | Retry", start: "Callable[[Observer], Status]", as_json: bool
) -> "Status":
    """Run pairs on this machine, or from it, with live counts; tell of the end if asked to."""
    from dfp_batch.cli.console import LiveProgress, print_dashboard
    from dfp_batch.engine import driver
    from dfp_batch.engine.notify import telling

    console = voice.words(beside=as_json)
    with LiveProgress(console) as progress:
        show_dashboard = partial(print_dashboard, console)
        observer = driver.Observer(show_dashboard, progress.moved, progress.noted)
        try:
            return telling(lambda: start(observer), task.notify, task.output_url, progress.noted)
        except errors.RunStoppedError:
            leave_report(task.output_url)
            raise


def leave_report(url: str) -> None:
    """Write the page of a run that has ended; whatever goes wrong with it is said, and no more."""
    from dfp_batch.report.writing import write_report

    try:
        write_report(url)
    except Exception as error:  # noqa: BLE001 - the run has ended, and is not to fail for its page
        reason = " ".join(str(error).split()) or repr(error)
        typer.echo(
            f"note: the run has ended, but its report.html was not written: {reason}", err=True
        )


def show(url: str, status: "RunStatus", as_json: bool) -> None:
    """How it ended: the closing table, or the status for a program.

    Raises:
        typer.Exit: if pairs of the run have failed.
    """
    leave_report(url)
    if as_json:
        voice.answer(status.to_json())
    else:
        _show(url, status)
    if status.failed or status.quarantined:
        raise typer.Exit(ExitCode.PAIRS)


def _show(url: str, status: "RunStatus") -> None:
    """The closing table, and where to look."""
    from dfp_batch.cli.console import print_places, print_status
    from dfp_batch.cli.results_table import print_results
    from dfp_batch.runs.status import results

    console = voice.words()
    print_results(console, results(url))
    print_status(console, status)
    print_places(console, url)


def is_remote(address: str | None, wait: bool, urls: list[str | None]) -> bool:
    """Whether the run is sent to a cluster, which must be able to read the URLs."""
    from dfp_batch.engine import cluster

    if not cluster.takes_jobs(address):
        if wait:
            raise errors.ConfigError("--wait goes with --address http://HEAD:8265")
        return False
    from dfp_batch.engine import jobs

    for url in filter(None, urls):
        if not jobs.check_reachable(url):
            voice.say(
                f"note: {url} must be on a file system that every machine there shares", beside=True
            )
    return True


def send(task: Any, wait: bool, as_json: bool) -> None:  # noqa: ANN401 - Submission or Retry, which import Ray
    """Hand it to the cluster, and follow it if asked to."""
    from dfp_batch.engine import jobs

    job = jobs.send(task)
    told = {"job": job.job_id, "follow": job.follow_command, "stop": job.stop_command}
    if as_json:
        voice.answer({"run": task.output_url, **told})
    for name, text in told.items():
        voice.say(f"{name + ':':<7} {text}", beside=as_json)
    if wait:
        raise typer.Exit(jobs.follow(job, partial(typer.echo, nl=False, err=as_json)))
