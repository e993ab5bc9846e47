"""Command line: flags to configuration, errors to exit codes; no logic of its own."""

import logging
import sys
from typing import Annotated, NoReturn

import typer

from dfp_batch import errors
from dfp_batch.cli import (
    bench,
    compact,
    config,
    evaluate,
    exit_codes,
    failures,
    fuse,
    gc,
    manifest,
    plan,
    results,
    retry,
    status,
    submit,
    synth,
    verify,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fuse, enlarge and measure archives of multi-focus photographs. "
    "Errors are one line; add --debug anywhere for the traceback.",
    epilog=exit_codes.table(),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from dfp_batch import __version__

        typer.echo(f"dfp-batch {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


for _command in (
    submit.submit,
    plan.plan,
    config.config,
    fuse.fuse,
    manifest.manifest,
    synth.synth,
    status.status,
    results.results,
    failures.failures,
    retry.retry,
    verify.verify,
    gc.gc,
    compact.compact,
    evaluate.evaluate,
    bench.bench,
):
    app.command()(_command)


def main() -> NoReturn:
    """Entry point of the ``dfp-batch`` command."""
    debug = "--debug" in sys.argv
    logging.basicConfig()
    logging.getLogger("dfp_batch").setLevel(logging.DEBUG if debug else logging.ERROR)
    try:
        app(args=[argument for argument in sys.argv[1:] if argument != "--debug"])
    except errors.DfpError as error:
        if debug:
            raise
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(exit_codes.of_error(error))
    sys.exit(exit_codes.ExitCode.OK)
