"""Files that hold a whole stack, opened by their names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from dfp_batch.io.codec.frame import Frame
from dfp_batch.io.codec.header import Header
from dfp_batch.io.codec.pages import open_pages
from dfp_batch.io.seekable import open_seekable


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
        url: Of a TIFF.
        axis: Z, or T, that is the depth as well.

    Raises:
        ImageError: It holds no stack.
        StorageError: It cannot be read.
    """
    with open_seekable(url) as file, open_pages(file, url, axis) as pages:
        yield pages
