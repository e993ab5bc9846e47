"""The command line of a training: options to settings and session, errors to exit codes."""

import argparse
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

from dfp_batch.errors import ConfigError
from dfp_batch.training.checkpoints import Session

Chosen = TypeVar("Chosen")
Say = Callable[[str], None]


def launch(
    parser: argparse.ArgumentParser,
    kind: Callable[..., Chosen],
    train: Callable[[Chosen, Session, Say], None],
) -> None:
    """Train as the command line says.

    Exits with 2 for options that cannot be, and with 1 where the folder holds another training.

    Args:
        parser: With an option for every field of ``kind``, and for some of ``Session``.
        kind: A dataclass of settings.
        train: The training.
    """
    options = parser.parse_args()
    try:
        settings = kind(**_fields_of(kind, options))
    except ConfigError as error:
        parser.error(str(error))
    session = Session(**_fields_of(Session, options))
    session.prepare()
    try:
        train(settings, session, _say)
    except ConfigError as error:
        raise SystemExit(str(error)) from error


def _fields_of(kind: Any, options: argparse.Namespace) -> dict[str, Any]:  # noqa: ANN401 - a dataclass
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in vars(options).items() if name in names}


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - of a command
