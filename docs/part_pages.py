"""What the docstrings of the method say: the settings of every part, where it leaves the paper."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import dfp_batch
from dfp_batch.config.building import describe, is_named
from dfp_batch.config.registry import COMPONENTS
from dfp_batch.config.run_config import Output, Reading
from dfp_batch.core.part import Part
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.presets import PRESETS

SEAMS = {
    "focus": "sources to decision",
    "refinement": "decision to a better one",
    "merge": "sources and decision to one image",
    "reconstruction": "that to the enlarged image",
    "kernel": "the blur between the result and the sources",
    "network": "generators that are fitted to an item",
    "align": "registration",
    "exposure": "exposure and white balance",
}
DIFFERS = "Differs from "
PACKAGE = Path(dfp_batch.__file__).parent


def parts() -> str:
    """Every part with its settings: name, type and range, default, meaning."""
    own = [_section("the configuration itself", FusionConfig), _section("output", Output)]
    own.append(_section("reading", Reading))
    seams = [
        "\n\n".join(
            [f"## {seam}: {meaning}", *(_section(n, p) for n, p in COMPONENTS[seam].items())]
        )
        for seam, meaning in SEAMS.items()
    ]
    return "\n\n".join(["## Of a run", *own, *seams])


def _section(name: str, part: type) -> str:
    body, meanings = _read(inspect.getdoc(part) or "")
    hints = get_type_hints(part, include_extras=True)
    cells = [
        (f"`{one.name}`", _kind(hints[one.name]), _default(one), _cell(meanings[one.name]))
        for one in fields(part)
    ]
    rows = [f"| {' | '.join(row)} |" for row in cells]
    head = "| setting | type and range | default | meaning |\n| --- | --- | --- | --- |"
    uses = [preset for preset in PRESETS if _stands_in(part, preset)] if is_named(part) else []
    more = [f"In {', '.join(f'`{preset}`' for preset in uses)}."] if uses else []
    shown = ["\n".join([head, *rows])] if rows else []
    return "\n\n".join([f"### {name}", _markdown(body), *more, *shown])


def _stands_in(part: type, preset: str) -> bool:
    """Whether a preset is made of this part, at any depth."""
    return part in {type(one) for one in _within(FusionConfig.preset(preset))}


def _within(value: object) -> Iterator[object]:
    for one in fields(value):  # type: ignore[arg-type]
        inner = getattr(value, one.name)
        if isinstance(inner, Part):
            yield inner
            yield from _within(inner)


def _read(text: str) -> tuple[str, dict[str, str]]:
    """A docstring without its sections, and what it says of the attributes."""
    body, _, rest = text.partition("\nAttributes:\n")
    meanings: dict[str, str] = {}
    name = ""
    for line in re.split(r"\n\n|\nRaises:", rest)[0].splitlines():
        if found := re.match(r"    (\w+): (.*)", line):
            name = found[1]
            meanings[name] = found[2]
        elif name:
            meanings[name] += " " + line.strip()
    return re.split(r"\nRaises:", body)[0].strip(), meanings


def _kind(hint: Any) -> str:  # noqa: ANN401 - a type
    """Type and range, in words."""
    if get_origin(hint) is Annotated:
        kind, *limits = get_args(hint)
        return ", ".join([_kind(kind), *map(_limit, limits)])
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Part):
        return f"a part: {hint.seam}" if hint.seam else "a part"
    words = {"int": "whole number", "float": "number", "bool": "true or false", "str": "text"}
    text = getattr(hint, "__name__", str(hint)) if isinstance(hint, type) else str(hint)
    return words.get(text, _cell(text.replace("typing.", "")))


def _limit(constraint: Any) -> str:  # noqa: ANN401
    for sign, name in ((">", "gt"), (">=", "ge"), ("<", "lt"), ("<=", "le")):
        if hasattr(constraint, name):
            return f"{sign} {getattr(constraint, name)}".replace("<", "\\<").replace(">", "\\>")
    return str(constraint.func.__doc__).removesuffix(".").lower()


def _default(one: Field[Any]) -> str:
    value = one.default_factory() if one.default_factory is not MISSING else one.default
    if value is MISSING:
        return "required"
    if isinstance(value, Part):
        return f"`{describe(value).get('use', '')}`"
    return f"`{value}`"


def _cell(text: str) -> str:
    return _markdown(text).replace("|", "\\|")


def _markdown(text: str) -> str:
    return text.replace("``", "`")


# Where the method leaves the paper


def differences() -> str:
    """What every docstring of the package says of it, by place."""
    found = sorted(
        (f"{module}.{name}", paragraph)
        for path in PACKAGE.rglob("*.py")
        for module in [".".join(path.relative_to(PACKAGE).with_suffix("").parts)]
        for name, paragraph in _paragraphs(ast.parse(path.read_text()))
    )
    return "\n".join(f"- `{place}`: {_markdown(' '.join(text.split()))}" for place, text in found)


def _paragraphs(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                if paragraph.startswith(DIFFERS):
                    yield node.name, paragraph
