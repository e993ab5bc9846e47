"""Reference pages from the code: whatever stands in a page as ``<!-- code: NAME -->`` is made here.

``fill`` is called by Sphinx for every page as it is read; nothing of it is kept in a file.
"""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from part_pages import differences, parts

from dfp_batch import cli, errors
from dfp_batch.cli import examples, exit_codes
from dfp_batch.metrics import names as metric_names
from dfp_batch.runs import columns

if TYPE_CHECKING:
    import typer.core
    from sphinx.application import Sphinx

PLACE = re.compile(r"^<!-- code: ([\w-]+) -->$", re.MULTILINE)
DECISIONS = Path(__file__).parent / "decisions"


def fill(_: "Sphinx", __: str, source: list[str]) -> None:
    """Put what is made from the code into a page.

    Raises:
        KeyError: for a name that is not in ``MADE``.
    """
    source[0] = PLACE.sub(lambda found: MADE[found[1]](), source[0])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown of a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    plain = " ".join(text.replace("|", "\\|").split())
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "&lt;", plain)


# Options


def options() -> str:
    """Every command with its arguments and options, as ``--help`` has them."""
    whole = typer.main.get_command(cli.app)
    parts = ["## Of every command", _options(whole)]
    parts += [_command(name, command) for name, command in whole.commands.items()]  # type: ignore[attr-defined]
    return "\n\n".join(parts)


def _command(name: str, command: "typer.core.TyperCommand") -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(["dfp-batch", name, *command.collect_usage_pieces(context)])
    shown = "\n".join(examples.EXAMPLES[name])
    parts = [f"## {name}", textwrap.dedent(command.help or ""), f"```\n{usage}\n```"]
    return "\n\n".join([*parts, _options(command), f"```sh\n{shown}\n```"])


def _options(command: "typer.core.TyperCommand | typer.core.TyperGroup") -> str:
    rows = [_option(one) for one in command.params if not _is_help(one)]
    return table(("option", "value", "default", "meaning"), rows)


def _is_help(one: "typer.core.TyperOption") -> bool:
    return "--help" in one.opts


def _option(one: "typer.core.TyperOption") -> list[str]:
    is_flag, named = getattr(one, "is_flag", False), one.param_type_name == "option"
    default = one.default if named and not is_flag and one.default is not None else ""
    name = ", ".join(f"`{word}`" for word in one.opts) if named else f"`{one.name.upper()}`"
    needed = "required" if one.required else str(default)
    return [name, "" if is_flag else _value(one), needed, getattr(one, "help", None) or ""]


def _value(one: "typer.core.TyperOption") -> str:
    words = {str: "text", int: "whole number", float: "number", Path: "file"}
    declared = one.type_descriptor.annotation
    text = f"`{one.metavar}`" if one.metavar else words.get(declared, "several")
    limits = [f"{side} {bound}" for side, bound in (("from", one.min), ("to", one.max)) if bound]
    return " ".join([text, *limits])


# Columns


def manifest_columns() -> str:
    """Of the manifest."""
    return _columns(columns.MANIFEST, "needed")


def result_columns() -> str:
    """Of the results."""
    return _columns(columns.RESULTS, "always there")


def _columns(found: Sequence[columns.Column], needed: str) -> str:
    rows = [
        (f"`{one.name}`", _kind(one), "yes" if one.needed else "", one.meaning) for one in found
    ]
    return table(("column", "type", needed, "meaning"), rows)


def _kind(column: columns.Column) -> str:
    return re.sub(r"list<\w+: (\w+)>", r"list of \1s", str(column.kind))


def evaluation_metrics() -> str:
    """Columns of an evaluation, as the table in the docstring has them."""
    lines = (inspect.getdoc(metric_names) or "").split("\n")
    rows: list[list[str]] = []
    for line in [one for one in lines if one and not one.startswith("=")][1:]:
        if line.startswith("``"):
            name, meaning = re.split(r"\s{2,}", line, maxsplit=1)
            rows.append([name.replace("``", "`"), meaning.replace("``", "`")])
        else:
            rows[-1][1] += " " + line.strip().replace("``", "`")
    return table(("column", "meaning"), rows)


# Errors


def error_classes() -> str:
    """Every error with its category, exit code and what to do."""
    rows = [
        (
            f"`{kind.__name__}`",
            f"`{kind.category}`",
            str(int(exit_codes.of_error(kind()))),
            *_docstring(kind),
        )
        for kind in _below(errors.DfpError)
    ]
    return table(("error", "category", "exit code", "meaning", "what to do"), rows)


def _below(kind: type[errors.DfpError]) -> Iterator[type[errors.DfpError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _below(child)


def _docstring(kind: type) -> tuple[str, str]:
    meaning, _, what = (inspect.getdoc(kind) or "").partition("What to do: ")
    return meaning.replace("``", "`"), _capital(what.replace("``", "`"))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def categories() -> str:
    """What the engine does about an error."""
    rows = [(f"`{name}`", meaning) for name, meaning in errors.MEANINGS.items()]
    return table(("category", "meaning"), rows)


def codes() -> str:
    """Of the command."""
    rows = [(str(int(code)), code.meaning) for code in exit_codes.ExitCode]
    return table(("code", "meaning"), rows)


def decisions() -> str:
    """A list of all decisions, by number."""
    lines = [f"- [{_title(path)}]({path.name})" for path in sorted(DECISIONS.glob("0*.md"))]
    hidden = "\n".join(path.stem for path in sorted(DECISIONS.glob("0*.md")))
    return "\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n\n{hidden}\n```"


def _title(path: Path) -> str:
    return path.read_text().split("\n", 1)[0].removeprefix("# ")


MADE: dict[str, Callable[[], str]] = {
    "options": options,
    "manifest-columns": manifest_columns,
    "result-columns": result_columns,
    "evaluation-metrics": evaluation_metrics,
    "errors": error_classes,
    "categories": categories,
    "exit-codes": codes,
    "decisions": decisions,
    "parts": parts,
    "differences": differences,
}
