"""Cutting the images of a folder into stacks: by pauses, by count, or by what names say."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from natsort import natsort_keygen

from dfp_batch.archive.layout import in_natural_order
from dfp_batch.archive.stacks import Found, Image, Stack, inside
from dfp_batch.errors import ConfigError
from dfp_batch.runs.row_problems import MIN_SOURCES

_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_PAUSE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>ms|s|min|m|h|)")
_natural = natsort_keygen()
Times = Mapping[str, datetime | str]
"""By path when an image was taken, or why that is not known."""


@dataclass(frozen=True)
class Pause:
    """A new stack begins after a pause between two images of a folder.

    Attributes:
        seconds: Longest time between two frames of one stack.
    """

    seconds: float

    @property
    def option(self) -> tuple[str, str]:
        """Of the command line, and its value."""
        return "--gap", f"{self.seconds:g}s"


@dataclass(frozen=True)
class Count:
    """A new stack begins after so many images of a folder.

    Attributes:
        frames: Of a stack.
    """

    frames: int

    @property
    def option(self) -> tuple[str, str]:
        """Of the command line, and its value."""
        return "--every", str(self.frames)


@dataclass(frozen=True)
class Names:
    """The path of an image, from the root and without its ending, says where it belongs.

    Attributes:
        pattern: With a group ``pair``, and perhaps ``z``, its place in the stack.
    """

    pattern: str

    @property
    def option(self) -> tuple[str, str]:
        """Of the command line, and its value."""
        return "--group", self.pattern


Cut = Pause | Count | Names


def cut_of(gap: str | None, every: int | None, group: str | None) -> Cut | None:
    """What the options of the command line ask for; None if they are not there.

    Raises:
        ConfigError: Two of them, or one that does not make sense.
    """
    given = {"--gap": gap, "--every": every, "--group": group}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ConfigError(f"give one of --gap, --every and --group, got {' and '.join(named)}")
    if gap is not None:
        return Pause(_seconds(gap))
    if group is not None:
        return Names(_checked_pattern(group))
    if every is not None and every < MIN_SOURCES:
        raise ConfigError(f"--every must be at least {MIN_SOURCES}, got {every}")
    return None if every is None else Count(every)


def _seconds(text: str) -> float:
    match = _PAUSE.fullmatch(text.strip())
    seconds = float(match["number"]) * _UNITS[match["unit"]] if match else 0.0
    if seconds <= 0:
        raise ConfigError(f"--gap must be a time like 5s, 500ms or 2min, got {text!r}")
    return seconds


def _checked_pattern(text: str) -> str:
    try:
        groups = re.compile(text).groupindex
    except re.error as error:
        _refuse_pattern(f"a regular expression, got {text!r} ({error})")
    if "pair" not in groups or groups.keys() - {"pair", "z"}:
        found = ", ".join(groups) or "none"
        _refuse_pattern(f"a regular expression with the groups pair and perhaps z, found {found}")
    return text


def _refuse_pattern(problem: str) -> NoReturn:
    example = r"'(?P<pair>.+)_z(?P<z>\d+)'"
    raise ConfigError(f"--group must be {problem}; for example {example}")


def cut(images: Sequence[Image], how: Cut, times: Times) -> Found:
    """Cut images into stacks; every folder for itself, unless names say otherwise.

    Args:
        images: Of the whole tree.
        how: Where to cut.
        times: Of the images; used with a ``Pause`` only.
    """
    if isinstance(how, Names):
        return _by_names(images, re.compile(how.pattern))
    folders = defaultdict[str, list[Image]](list)
    for image in images:
        folders[image.folder].append(image)
    found = Found()
    for path in sorted(folders):
        if isinstance(how, Pause):
            found.add(_by_pauses(path, folders[path], how.seconds, times))
        else:
            found.add(_by_count(path, folders[path], how.frames))
    return found


def _by_count(folder: str, images: Iterable[Image], count: int) -> Found:
    every = in_natural_order(images)
    whole = len(every) // count * count
    runs = [every[start : start + count] for start in range(0, whole, count)]
    found = _stacks(folder, runs)
    if rest := every[whole:]:
        last = f" to {rest[-1].name}" if len(rest) > 1 else ""
        left = "1 image is" if len(rest) == 1 else f"{len(rest)} images are"
        found.leave(f"{rest[0].path}{last}", f"{left} left over, not {count}")
    return found


def _by_pauses(folder: str, images: Iterable[Image], seconds: float, times: Times) -> Found:
    unknown = Found()
    timed: list[tuple[datetime, Image]] = []
    for image in in_natural_order(images):
        taken = times[image.path]
        if isinstance(taken, str):
            unknown.leave(image.path, taken)
        else:
            timed.append((taken, image))
    timed.sort(key=lambda one: one[0])  # the natural order decides between equal times
    runs: list[list[Image]] = []
    last = datetime.min
    for taken, image in timed:
        if not runs or taken - last > timedelta(seconds=seconds):
            runs.append([])
        runs[-1].append(image)
        last = taken
    found = _stacks(folder, [run for run in runs if len(run) >= MIN_SOURCES])
    for run in runs:
        if len(run) < MIN_SOURCES:
            found.leave(run[0].path, f"no other image within {seconds:g} s")
    found.add(unknown)
    return found


def _stacks(folder: str, runs: Iterable[Sequence[Image]]) -> Found:
    """Stacks named by their first frames."""
    return Found([Stack(inside(folder, run[0].stem), tuple(run), run[0].stem) for run in runs])


def _by_names(images: Iterable[Image], pattern: "re.Pattern[str]") -> Found:
    found = Found()
    groups = defaultdict[str, dict[str | None, list[Image]]](lambda: defaultdict(list))
    for image in in_natural_order(images):
        match = pattern.fullmatch(inside(image.folder, image.stem))
        if match is None or not match["pair"]:
            found.leave(image.path, "the name does not fit --group")
        else:
            depth = match["z"] if "z" in pattern.groupindex else None
            groups[match["pair"]][depth].append(image)
    for name, depths in groups.items():
        problem = _group_problem(depths)
        in_order = [one for depth in sorted(depths, key=_depth) for one in depths[depth]]
        if problem:
            found.leave(", ".join(image.path for image in in_order), problem)
        else:
            found.stacks.append(Stack(name, tuple(in_order), name))
    return found


def _group_problem(depths: Mapping[str | None, Sequence[Image]]) -> str | None:
    twice = [z for z, images in depths.items() if z is not None and len(images) > 1]
    if twice:
        return f"{len(depths[twice[0]])} images of one pair have z {twice[0]}, keep one"
    count = sum(map(len, depths.values()))
    return None if count >= MIN_SOURCES else f"is alone, at least {MIN_SOURCES} are needed"


def _depth(text: str | None) -> tuple[int, float, object]:
    """By value where it is a number, which may have a sign and a point; else in natural order."""
    try:
        return 0, float(text or ""), ""
    except ValueError:
        return 1, 0.0, _natural(text or "")
