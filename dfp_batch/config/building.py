"""From nested settings to parts, and back."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from dfp_batch.config.registry import lookup, name_of
from dfp_batch.core.degradation import Kernel
from dfp_batch.core.part import Part, unmet
from dfp_batch.errors import ConfigError

_SIGMA = re.compile(r"sigma=([^x@]+)(?:x([^x@]+)@([^x@]+))?")

Built = TypeVar("Built")


def describe(part: object) -> dict[str, Any]:
    """Nested JSON values of a part, or of a whole composition; the opposite of ``changed``."""
    described: dict[str, Any] = {"use": name_of(type(part))} if is_named(type(part)) else {}
    for each in fields(part):  # type: ignore[arg-type]
        value = getattr(part, each.name)
        if is_dataclass(value):
            described[each.name] = describe(value)
        else:
            described[each.name] = list(value) if isinstance(value, tuple) else value
    return described


def is_named(kind: type) -> bool:
    """Whether a dataclass is one of several that could stand at its place."""
    return issubclass(kind, Part) and bool(kind.seam)


def built(declared: type[Part], current: Part, said: object, path: str) -> Part:
    """What is to stand at a seam.

    Args:
        declared: Type of the field.
        current: The part that stands there.
        said: A name, or a table of settings, perhaps with the name ``use``.
        path: Dotted path of the field, for the messages.

    Raises:
        ConfigError: for an unknown or misplaced part, an unknown setting or a wrong value.
    """
    table = dict(_table(said, path))
    if declared is Kernel:
        table = _spelled_out(table)
    wanted = lookup(table["use"], declared, path) if "use" in table else type(current)
    base = current if wanted is type(current) else _default(wanted, path)
    settings = {name: value for name, value in table.items() if name != "use"}
    return changed(base, settings, path)


def changed(base: Built, settings: Mapping[str, Any], path: str = "") -> Built:
    """A dataclass with some fields changed.

    Args:
        base: A frozen dataclass.
        settings: Nested ``{field: value}``.
        path: Its dotted path, for the messages.

    Raises:
        ConfigError: for an unknown setting or a wrong value.
    """
    kind = type(base)
    hints, plain = get_type_hints(kind, include_extras=True), get_type_hints(kind)
    known = [field.name for field in fields(base)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in settings.items():
        where = f"{path}.{name}" if path else name
        if name not in known:
            owner = name_of(kind) if is_named(kind) else "the configuration"
            names = ", ".join(known) or "none"
            raise ConfigError(f"unknown setting {where!r}; {owner} has: {names}")
        current = getattr(base, name)
        if isinstance(current, Part) and is_named(type(current)):
            values[name] = built(hints[name], current, value, where)
        elif is_dataclass(current) and not isinstance(current, type):
            values[name] = changed(current, _table(value, where), where)
        else:
            values[name] = _checked(hints[name], plain[name], value, where)
    return replace(base, **values)  # type: ignore[type-var]


def _table(said: object, path: str) -> Mapping[str, Any]:
    if isinstance(said, str):
        return {"use": said}
    if not isinstance(said, Mapping):
        raise ConfigError(f"setting {path!r} must be a name or a table, got {said!r}")
    return said


def _spelled_out(table: dict[str, Any]) -> dict[str, Any]:
    """``sigma=1.2`` and ``sigma=1.2x0.8@30`` in place of a kernel's name say its settings, too."""
    name = table.get("use")
    match = _SIGMA.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        return table
    sigma, across, angle = match.groups()
    said = {"use": "gaussian", "sigma_px": sigma}
    if across is not None:
        said["use"] = "anisotropic-gaussian"
        said |= {"sigma_across_px": across, "angle_deg": angle}
    return {**said, **{name: value for name, value in table.items() if name != "use"}}


def _default(wanted: type[Part], path: str) -> Part:
    try:
        return wanted()
    except TypeError as error:
        raise ConfigError(f"{path}: every field of {name_of(wanted)} needs a default") from error


def _checked(hint: Any, plain: Any, value: object, where: str) -> Any:  # noqa: ANN401
    """A value of the type of a field, in its range, which has words of its own."""
    try:
        found = TypeAdapter(plain).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ConfigError(f"setting {where!r}: {reason}, got {value!r}") from error
    problem = unmet(hint, found)
    if problem is not None:
        raise ConfigError(f"{where} must be {problem}")
    return found
