"""Parts: frozen dataclasses whose fields are settings, with their ranges in the annotations.

A range is written once, ``sigma_px: Positive`` or ``share: Annotated[float, Ge(0), Lt(1)]``. It
holds for whoever makes the part, in Python as well as from a file, and comes out in the schema.
"""

import math
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, Predicate

from dfp_batch.errors import ConfigError


def is_odd(number: int) -> bool:
    """Odd."""
    return number % 2 == 1


def is_finite(number: float) -> bool:
    """A finite number."""
    return math.isfinite(number)


Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]
Count = Annotated[int, Ge(1)]
CountOrNone = Annotated[int, Ge(0)]
OddCount = Annotated[int, Ge(1), Predicate(is_odd)]


class Part:
    """Base of whatever has settings; it is made as a frozen dataclass.

    Attributes:
        seam: Where it belongs in a configuration: begins the names of its settings in messages.
    """

    seam: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_ranges(self)


def check_ranges(part: Part) -> None:
    """Refuse settings that are out of the range in their annotation.

    Raises:
        ConfigError: naming the setting, its range and what it is.
    """
    hints = get_type_hints(type(part), include_extras=True)
    for field in fields(part):  # type: ignore[arg-type]
        problem = unmet(hints[field.name], getattr(part, field.name))
        if problem is not None:
            where = f"{part.seam}.{field.name}" if part.seam else field.name
            raise ConfigError(f"{where} must be {problem}")


def unmet(hint: Any, value: object) -> str | None:  # noqa: ANN401 - a type
    """What a value must be and is not, ``"> 0, got -1"``; None if it is in its range.

    Args:
        hint: Annotation of the field, with its range.
        value: One value, a tuple of which each must be in the range, or None.
    """
    constraints = _constraints(hint)
    for one in value if isinstance(value, tuple) else (value,):
        expected = [_expected(constraint, one) for constraint in constraints]
        if one is not None and not all(holds for _, holds in expected):
            return f"{' and '.join(text for text, _ in expected)}, got {one!r}"
    return None


def _constraints(hint: Any) -> list[Any]:  # noqa: ANN401 - a type
    """Of a value, of each item of a tuple, or of what may be None."""
    if get_origin(hint) is Annotated:
        kind, *metadata = get_args(hint)
        return [*_constraints(kind), *metadata]
    if get_origin(hint) is Literal:
        return [hint]
    return [constraint for inner in get_args(hint) for constraint in _constraints(inner)]


def _expected(constraint: Any, value: Any) -> tuple[str, bool]:  # noqa: ANN401 - of a setting
    """What a constraint wants, in words, and whether a value meets it; nan meets none."""
    match constraint:
        case Gt(bound):
            return f"> {bound}", value is not None and value > bound
        case Ge(bound):
            return f">= {bound}", value is not None and value >= bound
        case Lt(bound):
            return f"< {bound}", value is not None and value < bound
        case Le(bound):
            return f"<= {bound}", value is not None and value <= bound
        case Predicate(func=test):
            return str(test.__doc__).removesuffix(".").lower(), value is not None and test(value)
        case _:
            known = get_args(constraint)
            return f"one of {', '.join(map(str, known))}", value in known
