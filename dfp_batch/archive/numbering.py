"""Gaps in the numbers of the frames of a stack: what is missing was perhaps never copied."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

_DIGITS = re.compile(r"\d+")
_USUAL = 0.5  # of the steps must be alike, for the numbers to be those of frames
_MOST_MISSING = 1.0  # frames per frame that is there; more is another series, or a counter anew
_SHOWN = 5


def missing_numbers(stems: Sequence[str]) -> list[str]:
    """Numbers that are missing between the frames of a stack, as their names would have them.

    The one number that differs between the names counts, where its usual step leaves no doubt.
    """
    numbers = _varying(stems)
    if len(numbers) < 3:  # noqa: PLR2004 - two numbers have any step
        return []
    values = sorted(int(number) for number in numbers)
    steps = Counter(later - earlier for earlier, later in pairwise(values))
    step, count = min(steps.most_common(), key=lambda one: (-one[1], one[0]))
    if step < 1 or count < _USUAL * (len(values) - 1):
        return []
    span = (values[-1] - values[0]) // step + 1
    on_the_way = all((value - values[0]) % step == 0 for value in values)
    if not on_the_way or span - len(values) > _MOST_MISSING * len(values):
        return []
    absent = sorted(set(range(values[0], values[-1], step)) - set(values))
    digits = min(map(len, numbers))
    return [str(value).zfill(digits) for value in absent]


def missing_text(numbers: Sequence[str]) -> str:
    """The first of them, for people."""
    more = len(numbers) - _SHOWN
    return ", ".join(numbers[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _varying(stems: Sequence[str]) -> list[str]:
    """The number in which names differ, of each of them; nothing if they differ otherwise."""
    if len({_DIGITS.sub("#", stem) for stem in stems}) != 1:
        return []
    columns = list(zip(*(_DIGITS.findall(stem) for stem in stems), strict=True))
    varying = [column for column in columns if len(set(column)) > 1]
    return list(varying[0]) if len(varying) == 1 else []
