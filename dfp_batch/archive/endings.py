"""How the names of images say which belong together: by a letter, a number, or near and far.

Each function sorts the images of one folder into groups of one name, in the order of focus.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import NamedTuple

from dfp_batch.archive.stacks import Image, inside

_LETTER = re.compile(r"(?P<name>.+?)(?P<mark>[_\- ]?[A-Za-z])")
_NUMBER = re.compile(r"(?P<name>.*\D)(?P<number>\d{1,4})")
_SEPARATORS = "_- ."
FAMILIES = (("near", "mid", "far"), ("front", "back"), ("foreground", "background"), ("fg", "bg"))
_ALIKE = {"middle": "mid"}
_WORD = "near|mid|middle|far|front|back|foreground|background|fg|bg"
_WORD_LAST = re.compile(rf"(?P<name>.*?)[_\-. ]?(?P<word>{_WORD})", re.IGNORECASE)
_WORD_FIRST = re.compile(rf"(?P<word>{_WORD})[_\-. ](?P<name>.+)", re.IGNORECASE)
_DECIMALS = 10  # from _0 to _9 it is the last digit of a number, not that of a frame


class Key(NamedTuple):
    """What the images of a group share; ``style`` keeps apart what only looks alike."""

    name: str
    style: str = ""


@dataclass
class Split:
    """The images of one folder by their names.

    Attributes:
        groups: Images of one name, in the order of focus.
        problems: Images that a name says belong together but cannot, and why.
        loose: All others.
    """

    groups: dict[Key, list[Image]]
    problems: list[tuple[list[Image], str]]
    loose: list[Image]

    @property
    def grouped(self) -> int:
        """Number of images in groups."""
        return sum(map(len, self.groups.values()))


def by_letter(images: Sequence[Image]) -> Split:
    """``<name>_A``, ``<name>_B`` and so on."""
    return _by_letter(images, {"_"})


def by_other_letter(images: Sequence[Image]) -> Split:
    """``<name>-A``, ``<name> A`` or ``<name>A`` and so on."""
    return _by_letter(images, {"-", " ", "lower", "upper"})


def _by_letter(images: Sequence[Image], styles: Collection[str]) -> Split:
    members: dict[Key, dict[str, list[Image]]] = defaultdict(lambda: defaultdict(list))
    split = Split({}, [], [])
    for image in images:
        key, letter = _letter_of(image.stem)
        if key.style in styles:
            members[key][letter].append(image)
        else:
            split.loose.append(image)
    for key, letters in members.items():
        in_order = [image for letter in sorted(letters) for image in letters[letter]]
        problem = _letter_problem(key, letters)
        if not problem:
            split.groups[key] = in_order
        elif key.style in _SEPARATORS:
            split.problems.append((in_order, problem))
        else:  # a word that ends in a letter, as all words do
            split.loose += in_order
    return split


def _letter_of(stem: str) -> tuple[Key, str]:
    match = _LETTER.fullmatch(stem)
    if match is None:
        return Key(stem), ""
    mark = match["mark"]
    style = mark[:-1] or ("lower" if mark.islower() else "upper")
    return Key(match["name"], style), mark[-1].upper()


def _letter_problem(key: Key, members: Mapping[str, Sequence[Image]]) -> str | None:
    """Say why the images of one name are no pair: a letter is missing, or is there twice."""
    own = f"{key.name}{key.style}"
    folder = next(iter(members.values()))[0].folder
    letters = ascii_uppercase[: ascii_uppercase.index(max("B", *members)) + 1]
    missing = [inside(folder, f"{own}{one}.*") for one in letters if one not in members]
    if missing:
        return f"no partner {', '.join(missing)}"
    twice = [letter for letter in letters if len(members[letter]) > 1]
    if twice:
        return f"{len(members[twice[0]])} files are {inside(folder, own)}{twice[0]}, keep one"
    return None


def by_word(images: Sequence[Image]) -> Split:
    """``<name>_near`` and ``<name>_far``, front and back, foreground and background, fg and bg."""
    return _by_order(images, _word_of, _word_order)


def _word_of(stem: str) -> tuple[Key, str] | None:
    match = word_match(stem)
    return (Key(match["name"]), match["word"].lower()) if match and match["name"] else None


def word_match(text: str) -> "re.Match[str] | None":
    """Groups ``word``, which says near or far, and ``name``, what stands before or behind it."""
    return _WORD_LAST.fullmatch(text) or _WORD_FIRST.fullmatch(text)


def _word_order(words: Iterable[str]) -> list[str] | None:
    return order_of_words(list(words))


def order_of_words(words: Sequence[str]) -> list[str] | None:
    """The words from near to far, if they are those of one family and its ends are there."""
    plain = {_ALIKE.get(word, word): word for word in words}
    for family in FAMILIES:
        if len(plain) == len(words) and plain.keys() <= set(family):
            ends = family[0] in plain and family[-1] in plain
            return [plain[word] for word in family if word in plain] if ends else None
    return None


def by_number(images: Sequence[Image]) -> Split:
    """``<name>_1``, ``<name>_2``..., without a gap, of two names or more.

    The numbers of one name alone are those of the frames of one stack, which the folder names.
    """
    split = _by_order(images, _number_of, _number_order)
    if len(split.groups) > 1:
        return split
    return Split({}, [], list(images))


def _number_of(stem: str) -> tuple[Key, str] | None:
    match = _NUMBER.fullmatch(stem)
    if match is None:
        return None
    name = match["name"]
    plain = name[:-1] if name[-1] in _SEPARATORS else name
    return (Key(plain, name[len(plain) :]), match["number"]) if plain else None


def _number_order(numbers: Iterable[str]) -> list[str] | None:
    in_order = sorted(numbers, key=int)
    first, count = int(in_order[0]), len(in_order)
    is_row = [int(number) for number in in_order] == list(range(first, first + count))
    starts = first == 1 or (first == 0 and count < _DECIMALS)
    return in_order if is_row and starts and count > 1 else None


def _by_order(
    images: Sequence[Image],
    read: Callable[[str], tuple[Key, str] | None],
    order: Callable[[Iterable[str]], list[str] | None],
) -> Split:
    """Groups of images whose marks have an order; what has none, or is there twice, is loose."""
    members: dict[Key, dict[str, Image]] = defaultdict(dict)
    loose = []
    for image in images:
        found = read(image.stem)
        if found is None or found[1] in members[found[0]]:
            loose.append(image)
        else:
            members[found[0]][found[1]] = image
    groups = {}
    for key, marks in members.items():
        in_order = order(marks) if marks else None
        if in_order:
            groups[key] = [marks[mark] for mark in in_order]
        else:
            loose += marks.values()
    return Split(groups, [], loose)
