"""Files that hold a whole stack, opened by their names."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from dfp_batch.errors import ObjectMissingError
from dfp_batch.io import ome_zarr, storage
from dfp_batch.io.codec import pages
from dfp_batch.io.codec.frame import Frame
from dfp_batch.io.codec.header import Header
from dfp_batch.io.codec.names import cut_part, stack_kind
from dfp_batch.io.codec.stack_layout import LEAST_PAGES
from dfp_batch.io.microscopes.czi import CZI
from dfp_batch.io.microscopes.lif import LIF
from dfp_batch.io.microscopes.nd2 import ND2
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.urls import without_version
from dfp_batch.io.volume import Part

_WHOLE = Part("", "", LEAST_PAGES)


class StackFile(Protocol):
    """N >= 2 images of every channel, read one at a time."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, one at least."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of the file, a line each."""
        ...

    def __len__(self) -> int:
        """N."""
        ...

    def header(self, k: int) -> Header:
        """What image ``k`` of every channel will be."""
        ...

    def frame(self, k: int, channel: int = 0) -> Frame:
        """Image ``k`` of a channel."""
        ...


@contextmanager
def open_stack(url: str, axis: str = "Z") -> Iterator[StackFile]:
    """The images of one stack; no pixels are read before they are asked for.

    Args:
        url: Of a TIFF, ND2, CZI or LIF, or of the folder of an OME-Zarr, as its name says.
        axis: Z, or T, that is the depth as well.

    Raises:
        ImageError: It holds no stack, or the package that reads it is not installed.
        StorageError: It cannot be read.
    """
    opener = _OPENERS.get(stack_kind(without_version(url)) or "tiff", _open_tiff)
    with opener(url, axis) as stack:
        yield stack


def parts_of(url: str, size_bytes: int | None = None) -> tuple[Part, ...]:
    """The stacks in a file or a folder, and the single images beside them.

    Where it holds one stack the URL is enough to name it, and that part has no mark.

    Args:
        url: Of it.
        size_bytes: Of the file, if it is known.

    Raises:
        ImageError: It is damaged, or the package that reads it is not installed.
        StorageError: It cannot be read.
    """
    kind = stack_kind(without_version(url))
    if kind == "tiff":
        with open_seekable(url, size_bytes) as file:
            return (_WHOLE,) if pages.holds_stack(file, url) else ()
    found = _LISTED[kind](url) if kind else ()
    is_only = kind != "zarr" and sum(part.depth >= LEAST_PAGES for part in found) == 1
    return tuple(
        part._replace(mark="") if is_only and part.depth >= LEAST_PAGES else part for part in found
    )


def version_of(url: str) -> str:
    """What identifies the content of a source, without reading it: a file, or a folder as a whole.

    Raises:
        ObjectMissingError: Nothing is there.
        ObjectAccessError: It cannot be read.
        StorageError: The store failed.
    """
    if stack_kind(url) != "zarr":
        return storage.version(cut_part(url)[0])
    files = storage.list_tree(url)
    if not files:
        raise ObjectMissingError(f"{url}: cannot read: no such folder")
    total = sum(size for size, _ in files.values())
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    return f"{total} files:{digest[:32]}"


@contextmanager
def _open_tiff(url: str, axis: str) -> Iterator[StackFile]:
    with open_seekable(url) as file, pages.open_pages(file, url, axis) as stack:
        yield stack


_OPENERS: dict[str, Callable[[str, str], AbstractContextManager[StackFile]]] = {
    "zarr": ome_zarr.open_zarr,
    "nd2": ND2.open,
    "czi": CZI.open,
    "lif": LIF.open,
}
_LISTED: dict[str, Callable[[str], tuple[Part, ...]]] = {
    "zarr": ome_zarr.parts_of_zarr,
    "nd2": ND2.parts_of,
    "czi": CZI.parts_of,
    "lif": LIF.parts_of,
}
