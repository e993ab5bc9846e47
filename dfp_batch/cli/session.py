"""What the commands have in common that run pairs: here or on a cluster, watched and shown."""

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from dfp_batch import errors

if TYPE_CHECKING:
    from dfp_batch.engine.driver import Observer
    from dfp_batch.runs.status import RunStatus

Status = TypeVar("Status", bound="RunStatus | None")


def address_of(given: str | None) -> str | None:
    """Of the cluster, if there is one."""
    return given or os.environ.get("RAY_ADDRESS")


def say_run(url: str) -> None:
    """The first line."""
    typer.echo(f"run: {url}")


def watch(start: "Callable[[Observer], Status]") -> "Status":
    """Run pairs on this machine, or from it, with live counts."""
    from rich.console import Console

    from dfp_batch.cli.console import LiveProgress, print_dashboard
    from dfp_batch.engine import driver

    console = Console()
    with LiveProgress(console) as progress:
        show_dashboard = partial(print_dashboard, console)
        return start(driver.Observer(show_dashboard, progress.moved, progress.noted))


def show(url: str, status: "RunStatus") -> None:
    """The closing table.

    Raises:
        typer.Exit: with 3, if pairs of the run have failed.
    """
    from rich.console import Console

    from dfp_batch.cli.console import print_results, print_status
    from dfp_batch.io import urls
    from dfp_batch.runs.status import results

    console = Console()
    print_results(console, results(url))
    print_status(console, status)
    folder = urls.join(url, "outputs")
    console.print(f"images   {folder}/<pair>/fused.*", soft_wrap=True, highlight=False)
    if status.failed or status.quarantined:
        raise typer.Exit(3)


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
            typer.echo(
                f"note: {url} must be on a file system that every machine there shares", err=True
            )
    return True


def send(task: Any, wait: bool) -> None:  # noqa: ANN401 - Submission or Retry, which import Ray
    """Hand it to the cluster, and follow it if asked to."""
    from dfp_batch.engine import jobs

    job = jobs.send(task)
    typer.echo(f"job:    {job.job_id}\nfollow: {job.follow_command}\nstop:   {job.stop_command}")
    if wait:
        raise typer.Exit(jobs.follow(job, partial(typer.echo, nl=False)))
