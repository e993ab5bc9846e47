"""``dfp-batch report``."""

from typing import Annotated

import typer

from dfp_batch.cli.options import Run


def report(
    run: Run,
    price_per_hour: Annotated[
        float | None,
        typer.Option(min=0, help="Of all machines of the run together; tells the cost."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write RUN/report.html: what happened, what failed, and the results to look at first."""
    import webbrowser
    from pathlib import Path

    from dfp_batch import errors
    from dfp_batch.io import urls
    from dfp_batch.report.writing import write_report

    url = urls.absolute_url(run)
    if show and not urls.is_local(url):
        raise errors.ConfigError(
            f"{url} is no folder of this machine; `dfp-batch serve {url}` shows it"
        )
    page = write_report(url, price_per_hour)
    typer.echo(f"report   {page}")
    if show:
        webbrowser.open(Path(page).as_uri())
