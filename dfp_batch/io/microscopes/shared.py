"""What the readers of the three formats share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from dfp_batch.io.codec.header import RefusedError, named
from dfp_batch.io.codec.names import cut_part
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.volume import DAMAGE, Part, Volume

NOT_AXES = ("Y", "X", "S")
UM_PER_M = 1e6


@dataclass(frozen=True)
class Format:
    """One of the three formats, and the library that reads it.

    Attributes:
        what: It is called, as in "an ND2".
        module: Of the library.
        reader: Class in it that opens a file.
        volume: Of an opened file, its URL and the axis of the depth.
        parts: Of an opened file.
        place: What the class is given for the URL of a file.
    """

    what: str
    module: str
    reader: str
    volume: Callable[[Any, str, str], Volume]
    parts: Callable[[Any], tuple[Part, ...]]
    place: Callable[[str], AbstractContextManager[Any]] = open_seekable

    @contextmanager
    def open(self, url: str, axis: str) -> Iterator[Volume]:
        """The images of one stack in a file.

        Args:
            url: Of the file; ``#K`` at its end names one of several stacks in it.
            axis: Z, or T, that is the depth as well.

        Raises:
            ImageError: It is none, or holds no stack, or several and none of them is named.
            StorageError: The store failed.
        """
        with self._opened(url) as file:
            with self._damage():
                volume = self.volume(file, url, axis)
            yield volume

    def parts_of(self, url: str) -> tuple[Part, ...]:
        """What a file holds: scenes, positions or images.

        Raises:
            ImageError: It is none, or its reader is not installed.
            StorageError: The store failed.
        """
        with self._opened(url) as file, self._damage():
            return self.parts(file)

    @contextmanager
    def _opened(self, url: str) -> Iterator[Any]:
        """A file as the library has it."""
        with named(url):
            library = self._library()
            with self.place(cut_part(url)[0]) as place:
                with self._damage():
                    file = getattr(library, self.reader)(place)
                with closing(file):
                    yield file

    @contextmanager
    def _damage(self) -> Iterator[None]:
        """What is read in here belongs to a file of this format; if it is damaged, say so."""
        try:
            yield
        except DAMAGE as error:
            name = self.what.rpartition(" ")[2]
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RefusedError(f"is not a whole {name} ({reason})") from error

    def _library(self) -> ModuleType:
        try:
            return import_module(self.module)
        except ImportError as error:
            package = self.module.partition(".")[0]
            raise RefusedError(
                f"is {self.what}, which needs the package {package}; "
                "pip install 'dfp-batch[microscopy]'"
            ) from error


def chosen(url: str, count: int, what: str) -> int:
    """The index that a URL names, of so many.

    Raises:
        RefusedError: It names none, or one that is not there.
    """
    place, part = cut_part(url)
    if part is None and count == 1:
        return 0
    name = place.rpartition("/")[2]
    if part is None:
        raise RefusedError(f"holds {count} {what}; name one of them, as in {name}#0")
    if part >= count:
        raise RefusedError(f"holds {count} {what}, {name}#0 to #{count - 1}, and no #{part}")
    return part


def channel_names(found: Sequence[str | None], count: int) -> tuple[str, ...]:
    """A name for each channel: their numbers, where they have none."""
    named = [*found, *[None] * count][:count]
    return tuple(name or str(k) for k, name in enumerate(named))


def depth_of(sizes: Mapping[str, int]) -> int:
    """Images along the depth: Z, or T where that is stored in its place."""
    depth = sizes.get("Z", 1)
    return depth if depth > 1 else sizes.get("T", 1)
