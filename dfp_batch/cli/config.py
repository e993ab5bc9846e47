"""``dfp-batch config``."""

import json
from typing import Annotated

import typer

from dfp_batch.cli.options import resolve, with_composition


@with_composition()
def config(
    context: typer.Context,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Instead, the JSON schema of such a file, for an editor."),
    ] = False,
) -> None:
    """Print what a run would compute, as a TOML file for --config.

    dfp-batch config --preset fast --set refinement.second.contrast=80 > settings.toml
    """
    from dfp_batch.config.schema import as_toml, json_schema

    if schema:
        typer.echo(json.dumps(json_schema(), indent=1))
    else:
        typer.echo(as_toml(resolve(context)), nl=False)
