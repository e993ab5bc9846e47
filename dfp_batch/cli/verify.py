"""``dfp-batch verify``."""

from typing import Annotated

import typer

from dfp_batch.cli.options import Run


def verify(
    run: Run,
    sources: Annotated[
        bool, typer.Option("--sources", help="Requeue pairs whose sources have changed, too.")
    ] = False,
) -> None:
    """Read every result again; what is missing or changed is done again by the next submit."""
    from rich.console import Console

    from dfp_batch.cli.console import counting
    from dfp_batch.engine import verify as verifying
    from dfp_batch.io import urls
    from dfp_batch.runs import access
    from dfp_batch.runs.ledger import Ledger

    url = urls.absolute_url(run)
    access.open_run(url)
    with (
        Ledger.reopen(url) as ledger,
        counting(Console(stderr=True), "verified") as moved,
    ):
        found = verifying.verify(ledger, sources, moved)
    for finding in found.findings:
        if finding.fault:
            typer.echo(f"{finding.pair_id}: {finding.fault}")
    for line in found.lines():
        typer.echo(line)
    if found.requeued:
        typer.echo("next: the submit command of this run does them again")
    if not found.is_fine:
        raise typer.Exit(3)
