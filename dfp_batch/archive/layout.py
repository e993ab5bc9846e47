"""What the images of one folder are: several stacks by their names, one stack, or stacks in files.

The names that a folder may hold, in the order in which they are looked for: ``<name>_A`` with
``<name>_B``; files that hold a whole stack; ``<name>-A``; ``<name>_near`` with ``<name>_far``;
``<name>_1`` with ``<name>_2``. Below the root all images of a folder are one stack unless such
names divide nearly all of them into several.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from natsort import natsort_keygen

from dfp_batch.archive.endings import (
    Key,
    Split,
    by_letter,
    by_number,
    by_other_letter,
    by_word,
)
from dfp_batch.archive.stacks import Found, Image, Stack, inside
from dfp_batch.errors import ImageError, ObjectAccessError, ObjectMissingError
from dfp_batch.io.codec.names import STACK_NAME
from dfp_batch.io.parallel import in_parallel
from dfp_batch.io.stack_files import parts_of
from dfp_batch.io.urls import join
from dfp_batch.io.volume import Part
from dfp_batch.runs.row_problems import MIN_SOURCES

NOT_NAMED = "the name does not end in _A, _B..."
_MOST_OF = 0.5  # of the images of a folder must be in groups, for it to hold several stacks
_SEVERAL = 2
_natural = natsort_keygen()


def in_natural_order(images: Iterable[Image]) -> list[Image]:
    """1, 2, 10."""
    return sorted(images, key=lambda image: _natural(image.path))


@dataclass
class StackFiles:
    """Which files hold whole stacks. Each is opened once at most.

    Attributes:
        root: URL of the tree.
    """

    root: str
    _known: dict[str, tuple[Part, ...] | str] = field(default_factory=dict)

    def ask(self, images: Iterable[Image]) -> None:
        """Open those that are not known, many at once.

        Raises:
            StorageError: The store failed.
        """
        new = [image for image in images if may_hold_stack(image) and image.path not in self._known]
        for image, answer in zip(new, in_parallel(self._look, new), strict=True):
            self._known[image.path] = answer

    def is_one(self, image: Image) -> bool:
        """Whether a file that was asked for holds a stack, or several."""
        known = self._known.get(image.path)
        return not isinstance(known, str) and bool(known)

    def stacks(self, image: Image, name: str) -> Found:
        """What a file holds that was asked for.

        Args:
            image: The file.
            name: Of its stack; if it holds several, they are named below it.
        """
        found, known = Found(), self._known[image.path]
        for part in () if isinstance(known, str) else known:
            one = image._replace(part=part.mark)
            if part.depth < MIN_SOURCES:
                found.leave(one.url_path, f"{part.name!r} is one image, no stack")
            else:
                found.stacks.append(Stack(inside(name, part.name) if part.mark else name, (one,)))
        return found

    def damage(self, image: Image) -> str:
        """Why it cannot be known; "" if it is."""
        known = self._known.get(image.path)
        return known if isinstance(known, str) else ""

    def apart(self, folders: Mapping[str, Sequence[Image]]) -> tuple[Found, list[Image]]:
        """Stacks that lie in one file each, and all other images.

        Of a folder of TIFFs the first one tells whether the others are opened.

        Raises:
            StorageError: The store failed.
        """
        self.ask(image for path in folders for image in _first_asked("-", folders[path]))
        found, frames = Found(), list[Image]()
        for path, images in folders.items():
            if any(map(self.is_one, images)):
                self.ask(images)
            stacks, damaged = _file_stacks(path, images, self)
            found.add(stacks)
            known = damaged | {image.path for stack in stacks.stacks for image in stack.images}
            frames += [image for image in images if image.path not in known]
        return found, frames

    def _look(self, image: Image) -> tuple[Part, ...] | str:
        url = join(self.root, image.path)
        try:
            parts = parts_of(url, image.size_bytes)
        except (ImageError, ObjectMissingError, ObjectAccessError) as error:
            return str(error).removeprefix(f"{url}: ")
        if parts and all(part.depth < MIN_SOURCES for part in parts):
            images = "one image" if len(parts) == 1 else f"{len(parts)} images"
            return f"holds {images} of one plane and no stack"
        return parts


def may_hold_stack(image: Image) -> bool:
    """Whether it is a TIFF, or a file of a microscope, by its name."""
    return STACK_NAME.fullmatch(image.name) is not None


def layouts(folders: Mapping[str, Sequence[Image]], files: StackFiles) -> Found:
    """The stacks in each folder of a tree.

    Args:
        folders: Images by folder, "" being the root.
        files: Asked which files hold a stack.

    Raises:
        StorageError: The store failed.
    """
    files.ask(image for path in folders for image in _first_asked(path, folders[path]))
    divided = [path for path in folders if path and _is_divided(folders[path], files)]
    files.ask(image for path in divided for image in folders[path])
    found = Found()
    for path, images in folders.items():
        found.add(_of_folder(path, images, files) if path else _of_root(images, files))
    return found


def whole_folder(path: str, images: Sequence[Image]) -> Stack:
    """All images of a folder as one stack, in natural order."""
    return Stack(path, tuple(in_natural_order(images)))


def _first_asked(path: str, images: Sequence[Image]) -> list[Image]:
    """Files that may hold a stack: all that no letter pairs, or one to know what a folder holds."""
    loose = [image for image in images if may_hold_stack(image)]
    if not path:
        paired = _paths(by_letter(images).groups)
        return [image for image in loose if image.path not in paired]
    return loose if len(images) < MIN_SOURCES else in_natural_order(loose)[:1]


def _is_divided(images: Sequence[Image], files: StackFiles) -> bool:
    return len(images) >= MIN_SOURCES and any(map(files.is_one, images))


def _of_root(images: Sequence[Image], files: StackFiles) -> Found:
    paired = _paths(by_letter(images).groups)
    asked = [image for image in images if image.path not in paired]
    in_files, damaged = _file_stacks("", asked, files)
    known = {image.path for stack in in_files.stacks for image in stack.images} | damaged
    others = [image for image in images if image.path not in known]
    found = _named(by_letter(others), "")
    found.add(in_files)
    rest = by_letter(others).loose
    for read in (by_other_letter, by_word, by_number):
        split = read(rest)
        found.add(_named(split, ""))
        rest = split.loose
    for image in in_natural_order(rest):
        found.leave(image.path, NOT_NAMED)
    return found


def _of_folder(path: str, images: Sequence[Image], files: StackFiles) -> Found:
    if len(images) < MIN_SOURCES:
        return _of_few(path, images, files)
    if _is_divided(images, files):
        found, damaged = _file_stacks(path, images, files)
        known = {image.path for stack in found.stacks for image in stack.images} | damaged
        found.add(_of_rest(path, [image for image in images if image.path not in known]))
        return found
    return _of_rest(path, images)


def _of_rest(path: str, images: Sequence[Image]) -> Found:
    """Images that hold one frame each."""
    if len(images) >= MIN_SOURCES:
        return _by_names(path, images) or Found([whole_folder(path, images)])
    found = Found()
    for image in images:
        found.leave(image.path, "holds one frame, and there is no other beside the stacks in files")
    return found


def _of_few(path: str, images: Sequence[Image], files: StackFiles) -> Found:
    """A folder of one image, which may hold a stack; it is named by the folder."""
    found = Found()
    (image,) = images
    if files.is_one(image):
        found.add(files.stacks(image, path))
    elif damage := files.damage(image):
        found.leave(f"{path}/", f"{image.name} {damage}")
    else:
        found.leave(f"{path}/", f"holds 1 image, at least {MIN_SOURCES} are needed")
    return found


def _by_names(path: str, images: Sequence[Image]) -> Found | None:
    """Several stacks in a folder below the root; None if it is one."""
    for read in (by_letter, by_other_letter, by_word):
        split = read(images)
        several = len(split.groups) + len(split.problems) >= _SEVERAL and split.groups
        if several and split.grouped >= _MOST_OF * len(images):
            found = _named(split, path)
            for image in in_natural_order(split.loose):
                found.leave(image.path, NOT_NAMED)
            return found
    split = by_number(images)
    return None if split.loose else _named(split, path)


def _named(split: Split, folder: str) -> Found:
    found = Found()
    for key, images in split.groups.items():
        found.stacks.append(Stack(inside(folder, key.name), tuple(images), key.name))
    for images, reason in split.problems:
        found.leave(", ".join(image.path for image in images), reason)
    return found


def _file_stacks(folder: str, images: Sequence[Image], files: StackFiles) -> tuple[Found, set[str]]:
    """Stacks in one file each; and the paths of files that are damaged, which are left out."""
    found, damaged = Found(), set()
    for image in images:
        if files.is_one(image):
            found.add(files.stacks(image, inside(folder, file_stem(image))))
        elif damage := files.damage(image):
            found.leave(image.path, damage)
            damaged.add(image.path)
    return found, damaged


def file_stem(image: Image) -> str:
    """The name of a TIFF without ``.tif``, ``.tiff``, ``.ome.tif`` or ``.ome.tiff``."""
    match = STACK_NAME.fullmatch(image.name)
    return match["name"] if match else image.name


def _paths(groups: Mapping[Key, Sequence[Image]]) -> set[str]:
    return {image.path for images in groups.values() for image in images}
