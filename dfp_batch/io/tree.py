"""All files below a folder, at any depth and in any store, by as few questions as it takes.

On S3 that is one listing, page after page; a local folder is walked, and links in it are followed
once. What starts with a dot is never looked at.
"""

import os
import posixpath
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dfp_batch.errors import ObjectAccessError, ObjectMissingError
from dfp_batch.io.storage import store_of, translated
from dfp_batch.io.urls import is_local, protocol_and_path

_LAST = "\U0010ffff"  # sorts after every other character of a name
_CONTENT_MARKS = ("ETag", "md5Hash", "crc32c", "content_md5")  # of S3, Google, Azure


class File(NamedTuple):
    """One file.

    Attributes:
        name: In its folder.
        size_bytes: Of its content.
        mark: Files of one size and mark have one content; "" where the store does not say.
    """

    name: str
    size_bytes: int
    mark: str = ""


@dataclass(frozen=True)
class Folder:
    """One folder that holds a file, or a folder that counts as one thing.

    Attributes:
        path: From the root, with slashes between; "" is the root itself.
        files: That were asked for.
        wholes: Names of subfolders that are one thing each, and were not entered.
        others: How many other files there are, by the ending of their names.
    """

    path: str
    files: tuple[File, ...] = ()
    wholes: tuple[str, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What to look for, and whom to tell of what was passed by.

    Attributes:
        is_file: Whether a file of this name is asked for.
        is_whole: Whether a folder of this name is one thing, whose inside does not matter.
        left_out: Told of a path that is passed by, and the reason.
    """

    is_file: Callable[[str], bool]
    is_whole: Callable[[str], bool] = lambda _: False
    left_out: Callable[[str, str], None] = lambda _path, _reason: None


def walk(url: str, wanted: Wanted) -> Iterator[Folder]:
    """Every folder below ``url`` that holds something, itself included, in no certain order.

    Nothing comes of a folder that does not exist. In a store whose keys hold empty names
    (``a//b``), what is below these is passed by.

    Raises:
        ObjectAccessError: It cannot be listed, is a file, or the bucket does not exist.
        StorageError: The store failed.
    """
    if is_local(url):
        return _LocalWalk(url, wanted).folders()
    return _folders(_objects(url, wanted), wanted)


# On this machine


class _LocalWalk:
    """Depth first; links to folders come last, so that what is really there keeps its own name."""

    def __init__(self, root: str, wanted: Wanted) -> None:
        self._root = root
        self._wanted = wanted
        self._seen: dict[tuple[int, int], str] = {}
        self._links: deque[str] = deque()

    def folders(self) -> Iterator[Folder]:
        if not os.path.lexists(self._root):
            return
        yield from self._below("")
        while self._links:
            yield from self._below(self._links.popleft())

    def _below(self, top: str) -> Iterator[Folder]:
        ahead = [top]
        while ahead:
            path = ahead.pop()
            first = self._seen.setdefault(self._identity(path), path)
            if first != path:
                self._wanted.left_out(f"{path}/", f"is {first or '.'}/ once more, by a link")
                continue
            folder, inner = self._listed(path)
            ahead += reversed(inner)
            if folder.files or folder.wholes or folder.others:
                yield folder

    def _listed(self, path: str) -> tuple[Folder, list[str]]:
        """One folder, and the paths of those in it that are to be entered."""
        files, wholes, others = [], [], Counter[str]()
        inner: list[str] = []
        for entry in self._entries(path):
            own, kind = posixpath.join(path, entry.name), _kind(entry)
            if kind == "folder":
                if self._wanted.is_whole(entry.name):
                    wholes.append(entry.name)
                else:
                    (self._links if entry.is_symlink() else inner).append(own)
            elif not self._wanted.is_file(entry.name):
                others[_ending(entry.name)] += 1
            elif kind == "file":
                files.append(_local_file(entry))
            else:
                self._wanted.left_out(own, "is a link to nothing that can be read")
        return Folder(path, tuple(files), tuple(wholes), others), inner

    def _entries(self, path: str) -> list["os.DirEntry[str]"]:
        try:
            with translated("list", self._url(path)), os.scandir(self._url(path)) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except ObjectAccessError as error:
            if not path:
                raise
            self._wanted.left_out(f"{path}/", str(error).removeprefix(f"{self._url(path)}: "))
            return []
        for entry in entries:
            if not _is_text(entry.name):
                own = ascii(posixpath.join(path, entry.name)).strip("'")
                self._wanted.left_out(own, "the name is not UTF-8, rename it")
        readable = filter(lambda entry: _is_text(entry.name), entries)
        return sorted(readable, key=lambda entry: entry.name)

    def _identity(self, path: str) -> tuple[int, int]:
        with translated("list", self._url(path)):
            found = os.stat(self._url(path))
        return found.st_dev, found.st_ino

    def _url(self, path: str) -> str:
        return os.path.join(self._root, path) if path else self._root


def _kind(entry: "os.DirEntry[str]") -> str:
    """What an entry is, or what it links to: "folder", "file" or "", which is nothing usable."""
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else ""
    except OSError:  # where a link leads is not ours to see
        return ""


def _is_text(name: str) -> bool:
    """Whether a name can be written into a manifest."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _local_file(entry: "os.DirEntry[str]") -> File:
    """Two names of one file, by links, have one mark; content is not read."""
    found = entry.stat()
    return File(entry.name, found.st_size, f"inode:{found.st_dev}:{found.st_ino}")


def _ending(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


# In a store of objects


class _Object(NamedTuple):
    """A key from the root on, and what is known of it."""

    path: str
    size_bytes: int
    mark: str


def _folders(objects: Iterator[_Object], wanted: Wanted) -> Iterator[Folder]:
    files: dict[str, list[File]] = defaultdict(list)
    wholes: dict[str, dict[str, None]] = defaultdict(dict)
    others: dict[str, Counter[str]] = defaultdict(Counter)
    nameless: set[str] = set()
    for found in objects:
        path, name = posixpath.split(found.path)
        if not name or _is_hidden(found.path):
            continue
        if whole := _whole(found.path, wanted):
            above, inner = posixpath.split(whole.rstrip("/"))
            wholes[above][inner] = None
        elif "//" in f"/{found.path}":
            nameless.add(f"/{found.path}".partition("//")[0].lstrip("/"))
        elif wanted.is_file(name):
            files[path].append(File(name, found.size_bytes, found.mark))
        else:
            others[path][_ending(name)] += 1
    for path in sorted(nameless):
        wanted.left_out(f"{path}//", "is a folder without a name; name its files in a manifest")
    for path in [*dict.fromkeys([*files, *wholes, *others])]:  # what is taken is let go of
        own, inside = tuple(files.pop(path, ())), tuple(wholes.get(path, ()))
        yield Folder(path, own, inside, others.get(path, Counter()))


def _objects(url: str, wanted: Wanted) -> Iterator[_Object]:
    """What is below a folder; folders that are one thing need not be whole."""
    with translated("list", url):
        fs, path = store_of(url)
        top = path.rstrip("/")
    if protocol_and_path(url)[0] == "s3":
        yield from _s3_objects(fs, url, top, wanted)
        return
    found: dict[str, Any] = {}
    with suppress(ObjectMissingError), translated("list", url):
        found = fs.find(top, detail=True)
    for name, info in found.items():
        own = name.removeprefix(f"/{top.lstrip('/')}/").removeprefix(f"{top}/")
        yield _Object(own, int(info["size"]), _mark(info))


def _s3_objects(fs: Any, url: str, top: str, wanted: Wanted) -> Iterator[_Object]:  # noqa: ANN401
    """One listing: a thousand keys at once, and nothing of what is passed by."""
    bucket, _, key = top.partition("/")
    prefix = f"{key}/" if key else ""
    place: dict[str, str] = {}
    while True:
        with translated("list", url):
            page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **place)
        for found in page.get("Contents", []):
            yield _Object(found["Key"][len(prefix) :], int(found["Size"]), _mark(found))
        if not page.get("IsTruncated"):
            return
        last = page["Contents"][-1]["Key"]
        if whole := _whole(last[len(prefix) :], wanted) or _hidden_folder(last[len(prefix) :]):
            place = {"StartAfter": f"{prefix}{whole}{_LAST}"}
        else:
            place = {"ContinuationToken": page["NextContinuationToken"]}


def _mark(info: Mapping[str, Any]) -> str:
    """What is the same exactly where the content is; a time or a generation would not do."""
    known = (str(info.get(key) or "").strip('"') for key in _CONTENT_MARKS)
    return next(filter(None, known), "")


def _whole(path: str, wanted: Wanted) -> str:
    """The folder on a path that is one thing, with a slash at its end; "" if there is none."""
    return _above(path, wanted.is_whole)


def _hidden_folder(path: str) -> str:
    return _above(path, lambda name: name.startswith("."))


def _above(path: str, is_it: Callable[[str], bool]) -> str:
    steps = path.split("/")
    for count, step in enumerate(steps[:-1], 1):
        if is_it(step):
            return "/".join(steps[:count]) + "/"
    return ""


def _is_hidden(path: str) -> bool:
    return any(step.startswith(".") for step in path.split("/"))
