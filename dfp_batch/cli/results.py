"""``dfp-batch results``."""

from typing import Annotated

import typer

from dfp_batch.cli.options import Run


def results(
    run: Run,
    output: Annotated[
        str | None, typer.Option(help="Parquet file for the whole table, one row per pair.")
    ] = None,
) -> None:
    """One row per pair: print the table, or write it as Parquet."""
    from rich.console import Console

    from dfp_batch.cli.console import print_results
    from dfp_batch.io import storage, urls
    from dfp_batch.runs import attempts, status

    rows = status.results(urls.absolute_url(run))
    if output is None:
        print_results(Console(), rows, limit=rows.num_rows)
    else:
        url = urls.absolute_url(output)
        storage.write_bytes(url, attempts.parquet_bytes(rows))
        typer.echo(f"{rows.num_rows} rows -> {url}")
