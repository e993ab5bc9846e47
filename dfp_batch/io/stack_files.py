"""Files that hold a whole stack, opened by their names."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from dfp_batch.errors import ObjectMissingError
from dfp_batch.io import microscope, ome_zarr, storage
from dfp_batch.io.codec import pages
from dfp_batch.io.codec.frame import Frame
from dfp_batch.io.codec.header import Header
from dfp_batch.io.codec.names import stack_kind
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.urls import without_version


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


def holds_stack(url: str, size_bytes: int | None = None) -> bool:
    """Whether a file or folder holds two images or more; of others than TIFF its name says so.

    Args:
        url: Of it.
        size_bytes: Of the file, if it is known.

    Raises:
        ImageError: It is damaged.
        StorageError: It cannot be read.
    """
    if stack_kind(without_version(url)) != "tiff":
        return stack_kind(without_version(url)) is not None
    with open_seekable(url, size_bytes) as file:
        return pages.holds_stack(file, url)


def version_of(url: str) -> str:
    """What identifies the content of a source, without reading it: a file, or a folder as a whole.

    Raises:
        ObjectMissingError: Nothing is there.
        ObjectAccessError: It cannot be read.
        StorageError: The store failed.
    """
    if stack_kind(url) != "zarr":
        return storage.version(url)
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
    "nd2": microscope.open_nd2,
    "czi": microscope.open_czi,
    "lif": microscope.open_lif,
}
