"""``dfp-batch retry``."""

from datetime import datetime
from typing import Annotated

import typer

from dfp_batch.cli import session
from dfp_batch.cli.options import (
    Address,
    GpusPerPair,
    MaxFailureRate,
    MaxHours,
    Run,
    Takeover,
    Until,
    Wait,
    deadline,
)


def retry(  # noqa: PLR0913, PLR0917 - one parameter per flag
    run: Run,
    category: Annotated[
        str | None,
        typer.Option(help="Only pairs that failed with this category, as `failures` names it."),
    ] = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Also pairs that are left alone otherwise.")
    ] = False,
    pair: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only this pair, even if it is done; any number of times."),
    ] = None,
    gpus_per_pair: GpusPerPair = None,
    address: Address = None,
    wait: Wait = False,
    max_failure_rate: MaxFailureRate = 0.2,
    until: Until = None,
    max_hours: MaxHours = None,
    takeover: Takeover = False,
) -> None:
    """Try pairs of a run again that have failed, with the configuration of the run."""
    from dfp_batch.engine import retry as retrying
    from dfp_batch.io import urls

    address = session.address_of(address)
    remote = session.is_remote(address, wait, [run])
    wish = retrying.Retry(
        urls.absolute_url(run),
        category,
        quarantined,
        tuple(pair or ()),
        address=address,
        gpus_per_pair=gpus_per_pair,
        max_failure_rate=max_failure_rate,
        takeover=takeover,
        until=deadline(until, max_hours, datetime.now().astimezone()),
    )
    session.say_run(wish.output_url)
    if remote:
        session.send(wish, wait)
        return
    status = session.watch(lambda observer: retrying.retry(wish, observer))
    if status is None:
        typer.echo(f"nothing to retry: no pair {wish.described}")
    else:
        session.show(wish.output_url, status)
