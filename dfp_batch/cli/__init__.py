"""Command line: flags to configuration, errors to exit codes; no logic of its own.

Exit codes: 0 all ok; 2 bad usage, configuration or manifest; 3 some pairs failed, or were requeued
by ``verify``; 4 stopped before the end, the same command goes on; 5 another driver holds the run.
"""

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
    watch,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fuse, enlarge and measure archives of multi-focus photographs. "
    "Errors are one line; add --debug anywhere for the traceback.",
)
_EXIT_CODES: tuple[tuple[type[errors.DfpError], int], ...] = (
    (errors.ConfigError, 2),
    (errors.ManifestError, 2),
    (errors.PairError, 3),
    (errors.ObjectMissingError, 2),
    (errors.RunHeldError, 5),
    (errors.DfpError, 4),
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
    watch.watch,
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
        sys.exit(next(code for kind, code in _EXIT_CODES if isinstance(error, kind)))
    sys.exit(0)
