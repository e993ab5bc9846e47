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
    doctor,
    evaluate,
    examples,
    exit_codes,
    failures,
    fuse,
    gc,
    manifest,
    plan,
    report,
    results,
    retry,
    serve,
    status,
    submit,
    synth,
    verify,
    voice,
    watch,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fuse, enlarge and measure archives of multi-focus photographs. "
    "DIR, MANIFEST and RUN are paths or URLs. Errors are one line that says what to do.",
    epilog=exit_codes.table(),
)
_ANYWHERE = ("--quiet", "--debug")  # of the options below; the others come first


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
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            help="Say nothing but errors and what was asked for. Anywhere on the line.",
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Tracebacks and the log. Anywhere on the line."),
    ] = False,
) -> None:
    voice.be_quiet(quiet)
    logging.getLogger("dfp_batch").setLevel(logging.DEBUG if debug else logging.ERROR)


for _command in (
    submit.submit,
    plan.plan,
    config.config,
    doctor.doctor,
    fuse.fuse,
    manifest.manifest,
    synth.synth,
    status.status,
    watch.watch,
    results.results,
    failures.failures,
    report.report,
    serve.serve,
    retry.retry,
    verify.verify,
    gc.gc,
    compact.compact,
    evaluate.evaluate,
    bench.bench,
):
    app.command(epilog=examples.of_command(_command.__name__))(_command)


def main() -> NoReturn:
    """Entry point of the ``dfp-batch`` command."""
    logging.basicConfig()
    arguments = sorted(sys.argv[1:], key=lambda argument: argument not in _ANYWHERE)
    try:
        app(args=arguments, prog_name="dfp-batch")
    except errors.DfpError as error:
        if "--debug" in arguments:
            raise
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(exit_codes.of_error(error))
    sys.exit(exit_codes.ExitCode.OK)
