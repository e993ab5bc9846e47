"""``dfp-batch gc``."""

from typing import Annotated

import typer

from dfp_batch.cli.options import Run

SHOWN = 20


def gc(
    run: Run,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete them; without it they are only shown.")
    ] = False,
) -> None:
    """Find files that this run has written and no row refers to."""
    from contextlib import ExitStack

    from dfp_batch.io import urls
    from dfp_batch.runs import garbage
    from dfp_batch.runs.ledger import Ledger

    url = urls.absolute_url(run)
    count = size = 0
    with ExitStack() as stack:
        if delete:
            found = garbage.collect(stack.enter_context(Ledger.reopen(url)))
        else:
            found = garbage.leftovers(url)
        for leftover in found:
            count, size = count + 1, size + leftover.size_bytes
            if count <= SHOWN:
                typer.echo(f"{leftover.url}  {leftover.size_bytes} bytes")
    if count > SHOWN:
        typer.echo(f"and {count - SHOWN} more")
    files = "1 file" if count == 1 else f"{count} files"
    typer.echo(f"{files}, {size} bytes, {'deleted' if delete else 'that no row refers to'}")
    if count and not delete:
        typer.echo("next: the same command with --delete deletes them")
