"""From a folder to its stacks: the way through all layouts, and names that are unique."""

import hashlib
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from natsort import natsort_keygen

from dfp_batch.archive import heads
from dfp_batch.archive.companions import without_companions
from dfp_batch.archive.cuts import Cut, Pause, cut
from dfp_batch.archive.layout import NOT_NAMED, StackFiles, file_stem, layouts, whole_folder
from dfp_batch.archive.likeness import Likeness
from dfp_batch.archive.siblings import paired_folders
from dfp_batch.archive.stacks import Found, Image, Stack, inside
from dfp_batch.io import storage
from dfp_batch.io.codec.names import is_image_name, is_raw_name, stack_kind
from dfp_batch.io.tree import Wanted, walk
from dfp_batch.io.urls import absolute_url, join
from dfp_batch.runs.manifest import Pair, id_problems, refuse
from dfp_batch.runs.row_problems import MIN_SOURCES

_RUN, _RESULTS = "run.json", "outputs"
_OF_RUN = ("", "appended", "lease", "results")  # folders of a run without images
_MICROSCOPES = ("nd2", "czi", "lif")
_MOST_ENDINGS = 3
_MARK_BYTES = 9  # of what tells a shortened id from others
_natural = natsort_keygen()


@dataclass(frozen=True)
class Archive:
    """What a folder holds.

    Attributes:
        root: Its URL.
        stacks: In natural order of their ids, which are unique.
        left_out: For everything that is in no stack a line with the reason.
        others: How many files are no images by their names, by ending.
    """

    root: str
    stacks: tuple[Stack, ...]
    left_out: tuple[str, ...]
    others: Mapping[str, int]

    @property
    def frames(self) -> int:
        """Number of files in stacks."""
        return len({image.path for stack in self.stacks for image in stack.images})

    def pairs(self) -> Iterator[Pair]:
        """The rows of its manifest."""
        for stack in self.stacks:
            yield Pair(stack.pair_id, tuple(join(self.root, one.url_path) for one in stack.images))


def find_stacks(
    directory: str, how: Cut | None = None, moved: heads.Moved = heads.unmoved
) -> Archive:
    """Find which images of a folder, and of those below it, belong together.

    Without ``how`` the names of files and folders say it (README, "Your own archive"). Only TIFFs
    that may hold a stack are opened then, and a few images where names leave a doubt.

    Args:
        directory: URL or path.
        how: Cut the images of folders into stacks this way instead.
        moved: Told how many files were opened, where every one is.

    Raises:
        ManifestError: There is no stack.
        ObjectAccessError: The folder cannot be listed.
        StorageError: The store failed.
    """
    root = absolute_url(directory)
    if is_stack_file(root):
        return _alone(root.rstrip("/"))
    tree = _Tree.read(root)
    found = tree.cut(how, moved) if how else tree.by_names()
    stacks = _named(found)
    if not stacks:
        _refuse_empty(tree.root, [*found.left_out, *tree.left_out])
    return Archive(tree.root, stacks, (*found.left_out, *tree.left_out), tree.others)


def _alone(url: str) -> Archive:
    """A file or a folder that holds one stack, or several."""
    parent, _, name = url.rpartition("/")
    image, files = Image(name), StackFiles(parent)
    files.ask([image])
    found = files.stacks(image, file_stem(image))
    if problem := files.damage(image):
        found.leave(name, problem)
    if not found.stacks:
        _refuse_empty(url, found.left_out)
    return Archive(parent, _named(found), tuple(found.left_out), {})


@dataclass(frozen=True)
class _Tree:
    """Images by folder, the root first, and what was passed by on the way."""

    root: str
    folders: Mapping[str, Sequence[Image]]
    left_out: Sequence[str]
    others: Mapping[str, int]

    @classmethod
    def read(cls, root: str) -> "_Tree":
        passed = Found()
        wanted = Wanted(_is_wanted, _is_zarr, passed.leave)
        folders: dict[str, list[Image]] = {}
        others: dict[str, Mapping[str, int]] = {}
        runs = set()
        for folder in walk(root, wanted):
            others[folder.path] = folder.others
            files = {file.name: file for file in folder.files}
            if files.pop(_RUN, None):
                runs.add(folder.path)
            found = [
                Image(inside(folder.path, file.name), file.size_bytes, file.mark)
                for file in files.values()
            ] + [Image(inside(folder.path, name), 0, "") for name in folder.wholes]
            folders[folder.path] = _without_negatives(folder.path, found, passed)
        results = {inside(run, _RESULTS) for run in runs}
        for path in sorted(results & {_top(path, results) for path in folders}):
            passed.leave(f"{path}/", "holds the results of a run")
        kept = {path: folders[path] for path in folders if not _top(path, results)}
        in_order = sorted(kept, key=lambda path: (path != "", _natural(path)))
        known = {inside(run, name).strip("/") for run in runs for name in _OF_RUN}
        _note_empty({path: kept[path] for path in kept if path not in known}, others, passed)
        counted = (Counter(others[path]) for path in kept if path not in known)
        total = sum(counted, Counter[str]())
        images = {path: kept[path] for path in in_order if kept[path]}
        return cls(root, images, passed.left_out, total)

    def by_names(self) -> Found:
        """As the names of files and folders say."""
        alike = Likeness(self.root)
        beside, taken = paired_folders(self.folders, alike)
        rest = {path: images for path, images in self.folders.items() if path not in taken}
        found = layouts(rest, StackFiles(self.root))
        found.add(beside)
        found = without_companions(found, alike)
        return found if found.stacks else self._root_alone(found)

    def cut(self, how: Cut, moved: heads.Moved) -> Found:
        """As asked for; files that hold a stack stay whole."""
        files = StackFiles(self.root)
        found, frames = files.apart(self.folders)
        times = heads.times(self.root, frames, moved) if isinstance(how, Pause) else {}
        found.add(cut(frames, how, times))
        return found

    def _root_alone(self, found: Found) -> Found:
        """The folder itself is a stack if it holds frames and nothing else."""
        images = self.folders.get("", [])
        reasons = {f"{image.path}: {NOT_NAMED}" for image in images}
        if len(images) < MIN_SOURCES or not reasons <= set(found.left_out):
            return found
        name = posixpath.basename(self.root.rstrip("/")) or "stack"
        others = [line for line in found.left_out if line not in reasons]
        return Found([whole_folder(name, images)], others)


def is_stack_file(url: str) -> bool:
    """Whether a URL names a file of a microscope or an OME-Zarr, not a folder of images."""
    return stack_kind(url.rstrip("/")) in {"zarr", *_MICROSCOPES}


def _is_wanted(name: str) -> bool:
    is_stack = stack_kind(name) in _MICROSCOPES
    return name == _RUN or is_image_name(name) or is_raw_name(name) or is_stack


def _is_zarr(name: str) -> bool:
    return stack_kind(name) == "zarr"


def _without_negatives(path: str, images: list[Image], passed: Found) -> list[Image]:
    """The images of a folder; camera RAW files count only where they are alone."""
    developed = [image for image in images if not is_raw_name(image.name)]
    count = len(images) - len(developed)
    if developed and count:
        files = "1 camera RAW file" if count == 1 else f"{count} camera RAW files"
        passed.leave(f"{path}/".lstrip("/") or "./", f"{files} beside developed images")
    return developed or images


def _top(path: str, runs: set[str]) -> str:
    """The folder of results on a path; "" if there is none."""
    steps = path.split("/")
    tops = ("/".join(steps[: count + 1]) for count in range(len(steps)))
    return next((top for top in tops if top in runs), "")


def _note_empty(
    folders: Mapping[str, Sequence[Image]], others: Mapping[str, Mapping[str, int]], passed: Found
) -> None:
    """Name folders without an image, unless there are some further down."""
    used = set()
    for path in (path for path, images in folders.items() if images):
        steps = path.split("/")
        used |= {"/".join(steps[:count]) for count in range(len(steps) + 1)}
    for path in sorted(folders.keys() - used, key=_natural):
        counts = Counter(others[path]).most_common(_MOST_ENDINGS)
        held = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in counts)
        passed.leave(f"{path}/", f"holds 0 images ({held}), at least {MIN_SOURCES} are needed")


# Ids


def _named(found: Found) -> tuple[Stack, ...]:
    """The stacks in natural order; those whose id is taken are left out."""
    taken: dict[str, Stack] = {}
    for stack in found.stacks:
        pair_id = usable_id(stack.pair_id)
        problem = next(iter(id_problems(pair_id)), None)
        if problem is None and pair_id in taken:
            problem = f"pair_id {pair_id!r} is taken by {taken[pair_id].owner}, rename one"
        if problem:
            paths = ", ".join(image.path for image in stack.images)
            found.leave(paths if stack.name else stack.owner, problem)
        else:
            taken[pair_id] = stack._replace(pair_id=pair_id)
    return tuple(taken[pair_id] for pair_id in sorted(taken, key=_natural))


def usable_id(pair_id: str) -> str:
    """An id that is short enough: the end of a long one, and a mark of all of it."""
    if not any("must be at most" in problem for problem in id_problems(pair_id)):
        return pair_id
    mark = "~" + hashlib.sha256(pair_id.encode()).hexdigest()[: _MARK_BYTES - 1]
    ends = (pair_id[start:] for start in range(len(pair_id)))
    end = next(end for end in ends if not id_problems(f"{end}{mark}"))
    return f"{end.partition('/')[2] or end}{mark}"


def _refuse_empty(root: str, left_out: Sequence[str]) -> NoReturn:
    if not storage.exists(root):
        refuse(root, ["nothing is there, expected a folder of images; look at its name"])
    expected = (
        "expected <name>_A.jpg with <name>_B.jpg..., a folder of images per stack, or TIFFs of "
        "2 or more pages; --gap, --every and --group cut other folders into stacks"
    )
    refuse(root, [f"holds no pair; {expected}", *left_out])
