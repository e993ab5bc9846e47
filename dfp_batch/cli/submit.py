"""``dfp-batch submit``."""

from typing import TYPE_CHECKING, Annotated

import typer

from dfp_batch.cli import session, voice
from dfp_batch.cli.options import (
    Anonymous,
    AsJson,
    CompareFloor,
    Every,
    Gap,
    Group,
    Source,
    resolve,
    with_composition,
    with_session,
)

if TYPE_CHECKING:  # --help must not import it
    from dfp_batch.engine.driver import Submission

Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="Run directory; default <manifest>-x<scale>/ beside it, DIR/manifest-x<scale>/ in it.",
    ),
]
Append = Annotated[
    str | None,
    typer.Option(
        metavar="MORE",
        help="Manifest or folder of further pairs, which belong to the run from now on.",
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
    manifest: Source,
    output: Output = None,
    append: Append = None,
    limit: Limit = None,
    compare_floor: CompareFloor = "sample",
    retry_quarantined: RetryQuarantined = False,
    verify: Verify = False,
    gap: Gap = None,
    every: Every = None,
    group: Group = None,
    anonymous: Anonymous = False,
    as_json: AsJson = False,
) -> None:
    """Fuse and enlarge every pair of a manifest, or of a folder; the same command again resumes."""
    from dfp_batch.archive.cuts import cut_of
    from dfp_batch.engine.driver import Submission
    from dfp_batch.io import urls

    run = resolve(context)
    manifest_url = urls.absolute_url(manifest)
    submission = Submission(
        manifest_url,
        _run_url(manifest_url, output, run.fusion.scale, anonymous),
        run,
        append=append and urls.absolute_url(append),
        limit=limit,
        retry_quarantined=retry_quarantined,
        verify=verify,
        compare_floor=session.floor_mode(compare_floor),
        cut=cut_of(gap, every, group),
        anonymous=anonymous,
        **session.settings(context),
    )
    _start(context, submission, [manifest, append, output, context.params["align_from"]])


def _run_url(source: str, output: str | None, scale: int, anonymous: bool) -> str:
    """Where the run is."""
    from dfp_batch import errors
    from dfp_batch.engine import intake
    from dfp_batch.io import urls

    if output is not None:
        return urls.absolute_url(output)
    if anonymous and not urls.is_local(source):
        raise errors.ConfigError(
            f"--anonymous reads {source} without credentials, which cannot write there; give "
            "--output RUN"
        )
    return intake.run_beside(source, scale)


def _start(context: typer.Context, submission: "Submission", places: list[str | None]) -> None:
    """Run it here, or send it to a cluster."""
    from dfp_batch.engine import driver

    wait, as_json = context.params["wait"], context.params["as_json"]
    remote = session.is_remote(submission.address, wait, places)
    voice.say(f"run: {submission.output_url}", beside=as_json)
    if remote:
        session.send(submission, wait, as_json)
    else:
        status = session.watch(
            submission, lambda observer: driver.submit(submission, observer), as_json
        )
        session.show(submission.output_url, status, as_json)
