"""``dfp-batch submit``."""

from typing import TYPE_CHECKING, Annotated

import typer

from dfp_batch.cli import session
from dfp_batch.cli.options import CompareFloor, resolve, with_composition, with_session

if TYPE_CHECKING:  # --help must not import it
    from dfp_batch.engine.driver import Submission

Manifest = Annotated[str, typer.Argument(help="Parquet manifest: path or URL.")]
Output = Annotated[
    str | None, typer.Option(help="Run directory; default <manifest>-x<scale>/ beside it.")
]
Append = Annotated[
    str | None,
    typer.Option(
        metavar="MORE",
        help="Parquet manifest of further pairs, which belong to the run from now on.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N pairs.")]
RetryQuarantined = Annotated[
    bool, typer.Option("--retry-quarantined", help="Also retry pairs that killed a process.")
]
Verify = Annotated[
    bool,
    typer.Option("--verify", help="Before: read all results, redo the missing and changed."),
]


@with_composition()
@with_session
def submit(  # noqa: PLR0913, PLR0917 - one parameter per flag
    context: typer.Context,
    manifest: Manifest,
    output: Output = None,
    append: Append = None,
    limit: Limit = None,
    compare_floor: CompareFloor = "sample",
    retry_quarantined: RetryQuarantined = False,
    verify: Verify = False,
) -> None:
    """Fuse and enlarge every pair of a manifest; the same command again resumes."""
    from dfp_batch.engine.driver import Submission
    from dfp_batch.io import urls

    run = resolve(context)
    manifest_url = urls.absolute_url(manifest)
    stem = urls.without_version(manifest_url).removesuffix(".parquet")
    submission = Submission(
        manifest_url,
        urls.absolute_url(output or f"{stem}-x{run.fusion.scale}"),
        run,
        append=append and urls.absolute_url(append),
        limit=limit,
        retry_quarantined=retry_quarantined,
        verify=verify,
        compare_floor=session.floor_mode(compare_floor),
        **session.settings(context),
    )
    _start(context, submission, [manifest, append, output, context.params["align_from"]])


def _start(context: typer.Context, submission: "Submission", places: list[str | None]) -> None:
    """Run it here, or send it to a cluster."""
    from dfp_batch.engine import driver

    wait = context.params["wait"]
    remote = session.is_remote(submission.address, wait, places)
    session.say_run(submission.output_url)
    if remote:
        session.send(submission, wait)
    else:
        status = session.watch(lambda observer: driver.submit(submission, observer))
        session.show(submission.output_url, status)
