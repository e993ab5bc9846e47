"""``dfp-batch submit``."""

from datetime import datetime
from typing import Annotated

import typer

from dfp_batch.cli import session
from dfp_batch.cli.options import (
    Address,
    CompareFloor,
    GpusPerPair,
    MaxFailureRate,
    MaxHours,
    Takeover,
    Until,
    Wait,
    deadline,
    floor_mode,
    resolve,
    with_composition,
)


@with_composition()
def submit(  # noqa: PLR0913, PLR0917 - one parameter per flag
    context: typer.Context,
    manifest: Annotated[str, typer.Argument(help="Parquet manifest: path or URL.")],
    output: Annotated[
        str | None, typer.Option(help="Run directory; default <manifest>-x<scale>/ beside it.")
    ] = None,
    append: Annotated[
        str | None,
        typer.Option(
            metavar="MORE",
            help="Parquet manifest of further pairs, which belong to the run from now on.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N pairs.")] = None,
    gpus_per_pair: GpusPerPair = None,
    address: Address = None,
    wait: Wait = False,
    max_failure_rate: MaxFailureRate = 0.2,
    until: Until = None,
    max_hours: MaxHours = None,
    takeover: Takeover = False,
    compare_floor: CompareFloor = "sample",
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Also retry pairs that killed a process.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Before: read all results, redo the missing and changed."),
    ] = False,
) -> None:
    """Fuse and enlarge every pair of a manifest; the same command again resumes."""
    from dfp_batch.engine import driver
    from dfp_batch.io import urls

    address = session.address_of(address)
    remote = session.is_remote(
        address, wait, [manifest, append, output, context.params["align_from"]]
    )
    resolved = resolve(context)
    manifest_url = urls.absolute_url(manifest)
    stem = urls.without_version(manifest_url).removesuffix(".parquet")
    default = f"{stem}-x{resolved.fusion.scale}"
    submission = driver.Submission(
        manifest_url,
        urls.absolute_url(output or default),
        resolved,
        append=append and urls.absolute_url(append),
        limit=limit,
        address=address,
        gpus_per_pair=gpus_per_pair,
        max_failure_rate=max_failure_rate,
        takeover=takeover,
        until=deadline(until, max_hours, datetime.now().astimezone()),
        retry_quarantined=retry_quarantined,
        verify=verify,
        compare_floor=floor_mode(compare_floor),
    )
    session.say_run(submission.output_url)
    if remote:
        session.send(submission, wait)
    else:
        status = session.watch(lambda observer: driver.submit(submission, observer))
        session.show(submission.output_url, status)
