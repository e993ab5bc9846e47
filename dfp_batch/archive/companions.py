"""Folders beside the sources that hold no stack: truths, results of other programs, masks.

They bear the names of pairs that lie elsewhere in the tree, and what they hold does not show one
scene. Both must be so: the frames of a stack may be named as pairs are.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice

from dfp_batch.archive.likeness import ONE_SCENE, spread
from dfp_batch.archive.siblings import Alike
from dfp_batch.archive.stacks import Found, Stack

_SHARE = 0.8  # of the names in a folder must be those of pairs elsewhere
_COMPARED = 3  # stacks of a folder
MOST_LOOKED = 200
"""Folders whose images are compared; of more the rest is taken for stacks."""
_SEPARATOR = re.compile(r"[^A-Za-z0-9]+")

Homes = Mapping[str, set[str]]


def without_companions(found: Found, alike: Alike) -> Found:
    """Leave out folders of truths, results or masks of pairs that lie elsewhere.

    Args:
        found: All stacks of the tree.
        alike: Asked about folders whose names are those of pairs elsewhere.

    Raises:
        StorageError: The store failed.
    """
    by_home, homes = defaultdict[str, list[Stack]](list), defaultdict[str, set[str]](set)
    for stack in found.stacks:
        by_home[_home(stack)].append(stack)
        homes[_name(stack)].add(_home(stack))
    asked = ((home, _others(home, by_home[home], homes)) for home in by_home)
    asked = ((home, others) for home, others in asked if others)
    gone = {
        home: others
        for home, others in islice(asked, MOST_LOOKED)
        if home and _is_no_stack(by_home[home], alike)
    }
    stacks = [stack for stack in found.stacks if _home(stack) not in gone]
    kept = Found(stacks, list(found.left_out))
    for home, others in gone.items():
        kept.leave(f"{home}/", _reason(others - gone.keys() or others))
    return kept


def _reason(others: set[str]) -> str:
    place = min(others)
    return (
        f"shows several scenes, under the names of stacks in {place or '.'}/: taken for truths, "
        "results or masks of them"
    )


def _home(stack: Stack) -> str:
    return stack.images[0].folder


def _name(stack: Stack) -> str:
    return stack.pair_id.rpartition("/")[2]


def _others(home: str, stacks: Sequence[Stack], homes: Homes) -> set[str]:
    """Folders of the stacks whose names a folder bears; none if it bears its own."""
    found = [_beginning(image.stem, homes) for stack in stacks for image in stack.images]
    elsewhere = [others - {home} for others in found if others - {home}]
    return set.union(*elsewhere) if elsewhere and len(elsewhere) >= _SHARE * len(found) else set()


def _beginning(stem: str, homes: Homes) -> set[str]:
    """Folders of the stacks whose name a file name is, or begins with: ``x_fused`` of ``x``."""
    ends = [*(match.start() for match in _SEPARATOR.finditer(stem)), len(stem)][::-1]
    return next((homes[stem[:end]] for end in ends if stem[:end] in homes), set())


def _is_no_stack(stacks: Sequence[Stack], alike: Alike) -> bool:
    """Whether what would be frames of one stack shows several scenes."""
    answers = [alike(spread(stack.images)) for stack in stacks[:_COMPARED]]
    known = [answer for answer in answers if answer is not None]
    return bool(known) and max(known) < ONE_SCENE
