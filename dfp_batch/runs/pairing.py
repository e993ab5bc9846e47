"""Making a manifest: which images of a folder belong together."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable
from string import ascii_uppercase
from typing import NoReturn

from natsort import natsorted

from dfp_batch.errors import ImageError, ObjectAccessError, ObjectMissingError
from dfp_batch.io.codec.names import is_image_name
from dfp_batch.io.codec.pages import holds_stack
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.storage import list_folder
from dfp_batch.io.urls import absolute_url, join
from dfp_batch.runs.manifest import MIN_SOURCES, TIFF_NAME, Pair, id_problems, refuse

_MEMBER = re.compile(r"(?P<name>.+)_(?P<letter>[A-Za-z])")


def image_names(files: Iterable[str]) -> list[str]:
    """The names of images among these, in natural order (1, 2, 10)."""
    return natsorted(name for name in files if _is_visible(name) and is_image_name(name))


def build_manifest(directory: str) -> tuple[list[Pair], list[str]]:
    """Pair the images of a folder.

    Pairs are ``<name>_A.*`` with ``<name>_B.*`` (and ``_C``, ``_D``...) directly in the folder, all
    images of one subfolder in natural order (1, 2, 10), or a TIFF of 2 or more pages, directly in
    the folder and in none of the former, or alone in a subfolder. All may be mixed; only the last
    are opened. Files that are no images by name are left out, and so is what
    starts with a dot.

    Args:
        directory: URL or path.

    Returns:
        The pairs in natural order of their ids, with absolute URLs; and for each file or subfolder
        that is in no pair a line with the reason.

    Raises:
        ManifestError: Nothing could be paired.
        StorageError: The store failed.
    """
    root = absolute_url(directory)
    files, folders = list_folder(root)
    pairs, left_out = _file_pairs(root, image_names(files))
    taken = {pair.pair_id: _owner(pair) for pair in pairs}
    for folder in natsorted(filter(_is_visible, folders)):
        stack, reason = _stack(root, folder, taken)
        pairs += [stack] if stack else []
        left_out += [f"{folder}/: {reason}"] if reason else []
    if not pairs:
        _refuse_empty(root, left_out)
    return natsorted(pairs, key=lambda pair: pair.pair_id), left_out


def _is_visible(name: str) -> bool:
    return not name.startswith(".")


def _file_pairs(root: str, images: list[str]) -> tuple[list[Pair], list[str]]:
    """Pairs of the files of a folder: lettered ones, stacks in one file; reasons for the rest."""
    pairs, _ = _lettered_pairs(root, images)
    paired = {url for pair in pairs for url in pair.sources}
    loose = [image for image in images if join(root, image) not in paired]
    stacks, damaged = _stack_files(root, loose)
    others = [image for image in images if image not in {*stacks, *damaged}]
    pairs, left_out = _lettered_pairs(root, others)
    left_out += [f"{image}: {reason}" for image, reason in damaged.items()]
    taken = {pair.pair_id: _owner(pair) for pair in pairs}
    for image in stacks:
        pair = Pair(_stem(image), (join(root, image),))
        reason = _claim(pair.pair_id, image, taken)
        pairs += [] if reason else [pair]
        left_out += [f"{image}: {reason}"] if reason else []
    return pairs, left_out


def _stack_files(root: str, images: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Those of the images that are a TIFF of several pages; those that are damaged, and why."""
    stacks, damaged = [], {}
    for image in filter(TIFF_NAME.fullmatch, images):
        url = join(root, image)
        try:
            with open_seekable(url) as file:
                stacks += [image] if holds_stack(file, url) else []
        except (ImageError, ObjectMissingError, ObjectAccessError) as error:
            damaged[image] = str(error).removeprefix(f"{url}: ")
    return stacks, damaged


def _stem(image: str) -> str:
    """The name of a TIFF without ``.tif``, ``.tiff``, ``.ome.tif`` or ``.ome.tiff``."""
    match = TIFF_NAME.fullmatch(image)
    return match["name"] if match else image


def _owner(pair: Pair) -> str:
    """What took a pair_id, for people: the file of a stack, or the first of the lettered files."""
    one_file = posixpath.basename(pair.sources[0])
    return one_file if len(pair.sources) == 1 else f"{pair.pair_id}_A.*"


def _claim(pair_id: str, owner: str, taken: dict[str, str]) -> str | None:
    """Take a pair_id, or say why it cannot be taken."""
    holder = taken.setdefault(pair_id, owner)
    if holder != owner:
        return f"pair_id {pair_id!r} is taken by {holder}, rename one"
    return next(iter(id_problems(pair_id)), None)


def _lettered_pairs(root: str, images: list[str]) -> tuple[list[Pair], list[str]]:
    """Pairs from ``<name>_A.*`` and ``<name>_B.*``; reasons for all other images."""
    pairs, left_out = [], []
    groups: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for image in images:
        member = _MEMBER.fullmatch(posixpath.splitext(image)[0])
        if member:
            groups[member["name"]][member["letter"].upper()].append(image)
        else:
            left_out.append(f"{image}: the name does not end in _A, _B...")
    for name, members in groups.items():
        reason = _group_problem(name, members)
        if reason:
            left_out.append(f"{', '.join(_members(members))}: {reason}")
        else:
            pairs.append(Pair(name, tuple(join(root, image) for image in _members(members))))
    return pairs, left_out


def _members(members: dict[str, list[str]]) -> list[str]:
    return [image for letter in sorted(members) for image in members[letter]]


def _group_problem(name: str, members: dict[str, list[str]]) -> str | None:
    """Say why the images of one name are no pair: a letter is missing, or is there twice."""
    last = max("B", *members)
    letters = ascii_uppercase[: ascii_uppercase.index(last) + 1]
    missing = [f"{name}_{letter}.*" for letter in letters if letter not in members]
    if missing:
        return f"no partner {', '.join(missing)}"
    twice = [letter for letter in letters if len(members[letter]) > 1]
    if twice:
        return f"{len(members[twice[0]])} files are {name}_{twice[0]}, keep one"
    return next(iter(id_problems(name)), None)


def _stack(root: str, folder: str, taken: dict[str, str]) -> tuple[Pair | None, str | None]:
    """The stack in one subfolder, or the reason why it is none."""
    files, _ = list_folder(join(root, folder))
    images = image_names(files)
    if len(images) < MIN_SOURCES:
        stacks, damaged = _stack_files(join(root, folder), images)
        if damaged:
            return None, "; ".join(f"{image} {reason}" for image, reason in damaged.items())
        if not stacks:
            count = "1 image" if len(images) == 1 else f"{len(images)} images"
            return None, f"holds {count}, at least {MIN_SOURCES} are needed"
    reason = _claim(folder, f"{folder}/", taken)
    if reason:
        return None, reason
    return Pair(folder, tuple(join(root, folder, image) for image in images)), None


def _refuse_empty(root: str, left_out: list[str]) -> NoReturn:
    expected = (
        "expected <name>_A.jpg with <name>_B.jpg..., one subfolder of images per stack, "
        "or TIFFs of 2 or more pages"
    )
    refuse(root, [f"holds no pair; {expected}", *left_out])
