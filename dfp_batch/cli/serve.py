"""``dfp-batch serve``."""

from typing import Annotated

import typer

from dfp_batch.cli.options import Run


def serve(
    run: Run,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = 8642,
    host: Annotated[
        str,
        typer.Option(help="Address to listen at; any but the default lets others look and mark."),
    ] = "127.0.0.1",
    show: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Show the report of a run, also of one that goes on or lies in a bucket, with full images.

    Marks are kept in the run. Nothing else is written, and nothing but the run is shown.
    """
    import webbrowser

    from dfp_batch.io import urls
    from dfp_batch.report import server

    url = urls.absolute_url(run)

    def started(page: str) -> None:
        typer.echo(f"report of {url}: {page}\nstop with Ctrl+C")
        if not server.is_loopback(host):
            typer.echo(f"note: whoever reaches {host} sees this run and may mark it", err=True)
        if show:
            webbrowser.open(page)

    server.serve(url, host, port, started)
