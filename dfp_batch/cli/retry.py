"""``dfp-batch retry``."""

from typing import Annotated

import typer

from dfp_batch.cli import session, voice
from dfp_batch.cli.options import AsJson, Run, with_session

Category = Annotated[
    str | None,
    typer.Option(help="Only pairs that failed with this category, as `failures` names it."),
]
Quarantined = Annotated[
    bool, typer.Option("--quarantined", help="Also pairs that are left alone otherwise.")
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="Only this pair, even if it is done; any number of times."),
]


@with_session
def retry(
    context: typer.Context,
    run: Run,
    category: Category = None,
    quarantined: Quarantined = False,
    pair: Pairs = None,
    as_json: AsJson = False,
) -> None:
    """Try pairs of a run again that have failed, with the configuration of the run."""
    from dfp_batch.engine import retry as retrying
    from dfp_batch.io import urls
    from dfp_batch.runs.status import RunStatus

    chosen = (category, quarantined, tuple(pair or ()))
    wish = retrying.Retry(urls.absolute_url(run), *chosen, **session.settings(context))
    wait = context.params["wait"]
    remote = session.is_remote(wish.address, wait, [run])
    voice.say(f"run: {wish.output_url}", beside=as_json)
    if remote:
        session.send(wish, wait, as_json)
        return
    status = session.watch(wish, lambda observer: retrying.retry(wish, observer), as_json)
    if status is not None:
        session.show(wish.output_url, status, as_json)
        return
    voice.say(f"nothing to retry: no pair {wish.described}", beside=as_json)
    if as_json:
        voice.answer(RunStatus.read(wish.output_url).to_json())
