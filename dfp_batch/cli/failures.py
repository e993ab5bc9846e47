"""``dfp-batch failures``."""

import typer

from dfp_batch.cli.options import Run


def failures(run: Run) -> None:
    """Why pairs have failed, one group per cause, and the command to give next."""
    from rich.console import Console

    from dfp_batch.io import urls
    from dfp_batch.runs import failures as failing

    url = urls.absolute_url(run)
    groups = failing.failures(url)
    if not groups:
        typer.echo("no pair has failed")
    failing.print_failures(Console(), url, groups)
