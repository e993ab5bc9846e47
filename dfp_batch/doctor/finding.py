"""What one look has found, and what is to be done about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]
GB = 1e9


@dataclass(frozen=True)
class Finding:
    """How one thing stands.

    Attributes:
        level: "ok"; "warning": runs do without, or are slower; "problem": runs will fail.
        found: In words, with numbers.
        advice: What to do; "" if nothing.
    """

    level: Level
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Place:
    """What is looked at beside this machine.

    Attributes:
        url: Folder for sources or runs, a path or a URL, absolute; None is none.
        temporary: Folder of this machine for what is temporary.
    """

    url: str | None
    temporary: str


Check = Callable[[Place], Finding]
