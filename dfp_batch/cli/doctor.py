"""``dfp-batch doctor``."""

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dfp_batch.cli import voice
from dfp_batch.cli.exit_codes import ExitCode
from dfp_batch.cli.options import AsJson

if TYPE_CHECKING:  # --help must not import it
    from dfp_batch.doctor.finding import Finding

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL",
            help="Folder for sources or runs, path or URL: is listed, and one small file is "
            "written, read and deleted in it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look whether this machine, and a store, are ready for a run: half a minute, for Ray starts.

    A warning is what runs do without; exits with 1 if there is a problem.
    """
    from dfp_batch import doctor as looking
    from dfp_batch.io import urls

    findings = []
    for name, finding in looking.examine(urls.absolute_url(url) if url else None):
        findings.append({"check": name, **asdict(finding)})
        if not as_json:
            _show(name, finding)
    levels = Counter(finding["level"] for finding in findings)
    if as_json:
        voice.answer(findings)
    else:
        voice.say(f"{levels['problem']} problems, {levels['warning']} warnings")
    if levels["problem"]:
        raise typer.Exit(ExitCode.PROBLEM)


def _show(name: str, finding: "Finding") -> None:
    """A line or more, as soon as it is known."""
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 2, 0, 0))
    for width in (7, 14):
        row.add_column(width=width)
    row.add_column(overflow="fold")
    row.add_row(Text(finding.level, _STYLES[finding.level]), Text(name), Text(finding.found))
    if finding.advice:
        row.add_row("", "", Text(f"-> {finding.advice}"))
    voice.answers().print(row)
