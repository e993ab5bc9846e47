"""``dfp-batch gc``."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dfp_batch.cli import voice
from dfp_batch.cli.options import AsJson, Run

if TYPE_CHECKING:  # --help must not import it
    from dfp_batch.runs.garbage import Leftover

SHOWN = 20


def gc(
    run: Run,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete them; without it they are only shown.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find files that this run has written and no row refers to."""
    from dfp_batch.io import urls

    found = _leftovers(urls.absolute_url(run), delete)
    if as_json:
        voice.answer({"deleted": delete, "files": [asdict(leftover) for leftover in found]})
    else:
        _tell(found, delete)


def _leftovers(url: str, delete: bool) -> "Iterator[Leftover]":
    """Of the run, deleted on the way if asked for."""
    from dfp_batch.runs import garbage
    from dfp_batch.runs.ledger import Ledger

    if not delete:
        yield from garbage.leftovers(url)
        return
    with Ledger.reopen(url) as ledger:
        yield from garbage.collect(ledger)


def _tell(found: "Iterable[Leftover]", delete: bool) -> None:
    """The first of them, and what they come to."""
    count = size = 0
    for leftover in found:
        count, size = count + 1, size + leftover.size_bytes
        if count <= SHOWN:
            typer.echo(f"{leftover.url}  {leftover.size_bytes} bytes")
    if count > SHOWN:
        typer.echo(f"and {count - SHOWN} more")
    files = "1 file" if count == 1 else f"{count} files"
    typer.echo(f"{files}, {size} bytes, {'deleted' if delete else 'that no row refers to'}")
    if count and not delete:
        voice.say("next: the same command with --delete deletes them")
