"""``dfp-batch status``."""

import json
from typing import Annotated

import typer

from dfp_batch.cli.options import Run


def status(
    run: Run,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Counts by state and category, rate, ETA and the last errors of a run."""
    from rich.console import Console

    from dfp_batch.cli.console import print_status
    from dfp_batch.io import urls
    from dfp_batch.runs.status import RunStatus

    found = RunStatus.read(urls.absolute_url(run))
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        print_status(Console(), found)
