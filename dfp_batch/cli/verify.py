"""``dfp-batch verify``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dfp_batch.cli import voice
from dfp_batch.cli.exit_codes import ExitCode
from dfp_batch.cli.options import AsJson, Run

if TYPE_CHECKING:  # --help must not import it
    from dfp_batch.engine.verify import Verification


def verify(
    run: Run,
    sources: Annotated[
        bool, typer.Option("--sources", help="Requeue pairs whose sources have changed, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every result again; what is missing or changed is done again by the next submit."""
    from dfp_batch.cli.console import counting
    from dfp_batch.engine import verify as verifying
    from dfp_batch.io import urls
    from dfp_batch.runs import access
    from dfp_batch.runs.ledger import Ledger

    url = urls.absolute_url(run)
    access.open_run(url)
    with (
        Ledger.reopen(url) as ledger,
        counting(voice.words(beside=True), "verified") as moved,
    ):
        found = verifying.verify(ledger, sources, moved)
    if as_json:
        voice.answer(asdict(found))
    else:
        _tell(found)
    if not found.is_fine:
        raise typer.Exit(ExitCode.PAIRS)


def _tell(found: "Verification") -> None:
    """What is wrong, and what it comes to."""
    for finding in found.findings:
        if finding.fault:
            typer.echo(f"{finding.pair_id}: {finding.fault}")
    for line in found.lines():
        typer.echo(line)
    if found.requeued:
        voice.say("next: the submit command of this run does them again")
