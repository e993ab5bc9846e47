"""What the readers of the three formats share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from dfp_batch.io.codec.header import RefusedError
from dfp_batch.io.codec.names import cut_part
from dfp_batch.io.volume import DAMAGE

NOT_AXES = ("Y", "X", "S")
UM_PER_M = 1e6


@contextmanager
def opened(name: str, opener: Callable[[], Any]) -> Iterator[Any]:
    """A file as the library of its format has it, which is closed at the end."""
    with damage(name):
        file = opener()
    with closing(file):
        yield file


@contextmanager
def damage(name: str) -> Iterator[None]:
    """What is read in here belongs to a file of this format; if it is damaged, say so."""
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RefusedError(f"is not a whole {name} ({reason})") from error


def library(name: str, what: str) -> ModuleType:
    """The module that reads a format.

    Raises:
        RefusedError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise RefusedError(
            f"is {what}, which needs the package {package}; pip install 'dfp-batch[microscopy]'"
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
