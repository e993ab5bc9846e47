"""``dfp-batch results``."""

from typing import Annotated

import typer

from dfp_batch.cli import voice
from dfp_batch.cli.options import AsJson, Run


def results(
    run: Run,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Parquet file for the whole table, one row per pair."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """One row per pair: print the table, or write it as Parquet."""
    from dfp_batch.cli.results_table import print_results
    from dfp_batch.io import storage, urls
    from dfp_batch.runs import attempts, status

    rows = status.results(urls.absolute_url(run))
    if output is not None:
        url = urls.absolute_url(output)
        storage.write_bytes(url, attempts.parquet_bytes(rows))
        voice.say(f"{rows.num_rows} rows -> {url}", beside=as_json)
    if as_json:
        voice.answer(rows.to_pylist())
    elif output is None:
        print_results(voice.answers(), rows, limit=rows.num_rows)
