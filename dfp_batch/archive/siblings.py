"""Folders side by side that hold one frame each of the same scenes: ``source_1`` and ``source_2``.

Names alone do not tell them from folders of one stack each, whose frames are numbered alike: where
they leave a doubt, a few images are looked at. Frames of one scene look alike.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from natsort import natsorted

from dfp_batch.archive.endings import order_of_words, word_match
from dfp_batch.archive.stacks import Found, Image, Stack, inside

Alike = Callable[[Sequence[Image]], float | None]
"""How much images look alike, -1 to 1; None if they cannot be compared."""

_LETTERS = re.compile(r"(?P<name>.*?)[_\- ]?(?P<word>[A-Da-d])")
_NUMBERS = re.compile(
    r"(?P<name>source|src|image|images|img|input|focus|view)[_\- ]?(?P<word>[1-9])", re.IGNORECASE
)
_SURE = re.compile(r"(source|src|image|images|img|input)", re.IGNORECASE)
_SHARED = 0.5  # of the names of the fullest folder must be in all of them
_CLEARLY = 0.1
_COMPARED = 3


@dataclass(frozen=True)
class _Group:
    """Folders that may hold a frame each of the same scenes.

    Attributes:
        folders: Their paths, in the order of focus.
        marks: What tells their names apart.
        is_sure: Whether their names leave no doubt if the images cannot be compared.
    """

    folders: tuple[str, ...]
    marks: tuple[str, ...]
    is_sure: bool


def paired_folders(
    folders: Mapping[str, Sequence[Image]], alike: Alike
) -> tuple[Found, dict[str, str]]:
    """Pairs whose frames lie in folders side by side, under equal names.

    Args:
        folders: Images by folder.
        alike: Asked where names leave a doubt.

    Returns:
        The pairs and what is left out of these folders; and the folders, each with a text that
        names them all.

    Raises:
        StorageError: The store failed.
    """
    found, taken = Found(), dict[str, str]()
    for group in _groups(folders):
        every = [_by_name(folders[path], mark) for path, mark in _marked(group)]
        names = [
            {name: images[0] for name, images in one.items() if len(images) == 1} for one in every
        ]
        shared = set.intersection(*map(set, names))
        fullest = max(map(len, names))
        if len(shared) < max(1, _SHARED * fullest) or not _is_paired(group, names, shared, alike):
            continue
        found.add(_pairs(group, names, shared))
        found.left_out += [line for one in every for line in _doubled(one)]
        together = ", ".join(f"{path}/" for path in group.folders)
        taken |= dict.fromkeys(group.folders, together)
    return found, taken


def _groups(folders: Mapping[str, Sequence[Image]]) -> Iterator[_Group]:
    """Folders of one parent whose names differ by a mark alone."""
    children: dict[str, list[str]] = defaultdict(list)
    for path in folders:
        if path and folders[path]:
            parent, _, name = path.rpartition("/")
            children[parent].append(name)
    for parent in natsorted(children):
        for read, order in _READERS:
            yield from _groups_of(parent, children[parent], read, order)


def _groups_of(
    parent: str,
    names: Sequence[str],
    read: Callable[[str], "re.Match[str] | None"],
    order: Callable[[Sequence[str]], list[str] | None],
) -> Iterator[_Group]:
    marked: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        if match := read(name):
            marked[match["name"].lower()][match["word"].lower()] = name
    for shared, by_mark in marked.items():
        if in_order := order(list(by_mark)):
            paths = tuple(inside(parent, by_mark[mark]) for mark in in_order)
            is_sure = read is word_match or _SURE.fullmatch(shared) is not None
            yield _Group(paths, tuple(in_order), is_sure)


def _row(marks: Sequence[str]) -> list[str] | None:
    """A, B, C or 1, 2, 3 without a gap, from the first on."""
    in_order = sorted(marks)
    first = "a" if in_order[0].isalpha() else "1"
    row = [chr(ord(first) + place) for place in range(len(in_order))]
    return in_order if in_order == row and len(row) > 1 else None


_READERS = (
    (word_match, order_of_words),
    (_LETTERS.fullmatch, _row),
    (_NUMBERS.fullmatch, _row),
)


def _marked(group: _Group) -> Iterator[tuple[str, str]]:
    return zip(group.folders, group.marks, strict=True)


def _by_name(images: Sequence[Image], mark: str) -> dict[str, list[Image]]:
    """Images by their names, without the mark of their folder where every one ends in it."""
    own = re.compile(rf"(?P<name>.+)[_\- ]{mark}", re.IGNORECASE)
    matches = [own.fullmatch(image.stem) for image in images]
    found = defaultdict[str, list[Image]](list)
    for match, image in zip(matches, images, strict=True):
        found[match["name"] if match and all(matches) else image.stem].append(image)
    return found


def _doubled(by_name: Mapping[str, Sequence[Image]]) -> Iterator[str]:
    for images in by_name.values():
        if len(images) > 1:
            paths = ", ".join(image.path for image in images)
            yield f"{paths}: {len(images)} files are of one name, keep one"


def _is_paired(
    group: _Group, names: Sequence[Mapping[str, Image]], shared: set[str], alike: Alike
) -> bool:
    """Whether frames of one name look more alike than frames of one folder."""
    some = natsorted(shared)
    chosen = [some[place * (len(some) - 1) // (_COMPARED - 1)] for place in range(_COMPARED)]
    chosen = list(dict.fromkeys(chosen))
    if len(chosen) == 1:
        return group.is_sure
    across = [alike([images[name] for images in names]) for name in chosen]
    within = [alike([images[name] for name in chosen]) for images in names]
    known = [value for value in across if value is not None]
    others = [value for value in within if value is not None]
    if not known or not others:
        return group.is_sure
    return sum(known) / len(known) > sum(others) / len(others) + _CLEARLY


def _pairs(group: _Group, names: Sequence[Mapping[str, Image]], shared: set[str]) -> Found:
    found = Found()
    parent = group.folders[0].rpartition("/")[0]
    for name in shared:
        images = tuple(by_name[name] for by_name in names)
        found.stacks.append(Stack(inside(parent, name), images, name))
    for path, by_name in zip(group.folders, names, strict=True):
        others = ", ".join(f"{other}/" for other in group.folders if other != path)
        for name in by_name.keys() - shared:
            found.leave(by_name[name].path, f"no partner of this name in {others}")
    return found
