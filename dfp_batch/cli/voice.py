"""What is said, and where.

Answers are what a command was asked for: they go to standard output, whatever else was asked.
Words are what it says while it works: none with --quiet; with --json to standard error, so that
standard output is for the program alone.
"""

import json
import sys
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:  # --help must not import it
    from rich.console import Console

_AS_LONG_AS_IT_IS = 100_000  # columns: of a file, or for a program


@dataclass
class _Voice:
    """Whether there are words."""

    quiet: bool = False


_VOICE = _Voice()


def be_quiet(wanted: bool) -> None:
    """From now on there are no words, or there are, in this process."""
    _VOICE.quiet = wanted


def answers() -> "Console":
    """For what was asked for; tables fit a terminal, and are not folded elsewhere."""
    return _console(beside=False, quiet=False)


def words(beside: bool = False) -> "Console":
    """For what is said on the way.

    Args:
        beside: Whether they go to standard error, since standard output is for answers.
    """
    return _console(beside, _VOICE.quiet)


def _console(beside: bool, quiet: bool) -> "Console":
    from rich.console import Console

    is_terminal = (sys.stderr if beside else sys.stdout).isatty()
    width = None if is_terminal else _AS_LONG_AS_IT_IS
    return Console(stderr=beside, quiet=quiet, width=width)


def say(text: str, beside: bool = False) -> None:
    """A line of words, however long; ``beside`` as in ``words``."""
    if not _VOICE.quiet:
        typer.echo(text, err=beside)


def answer(content: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """An answer for a program: JSON, whose numbers are finite and whose times are ISO 8601."""
    typer.echo(json.dumps(_plain(content), indent=1))


def _plain(content: Any) -> Any:  # noqa: ANN401 - likewise
    if isinstance(content, dict):
        return {name: _plain(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, float) and not isfinite(content):
        return None  # JSON has no word for it
    return content.isoformat() if isinstance(content, datetime) else content
