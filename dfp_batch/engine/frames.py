"""The frames of one item, decoded one at a time, whether they are files or pages of one file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfp_batch.errors import ImageError
from dfp_batch.io import codec, seekable, storage
from dfp_batch.io.codec import Frame
from dfp_batch.io.codec.pages import open_pages


def read_frame(url: str) -> Frame:
    """One image of the store.

    Raises:
        ImageError: if it cannot be decoded.
        StorageError: if it cannot be read.
    """
    return codec.decode(storage.read_bytes(url), url)


def read_sources(urls: Sequence[str]) -> list[Frame]:
    """All sources of one item at once.

    Raises:
        ImageError: if one cannot be decoded, or they differ in size, channels or depth.
        StorageError: if one cannot be read.
    """
    with open_frames(urls) as frames:
        return [frames[index] for index in range(len(frames))]


@contextmanager
def open_frames(urls: Sequence[str]) -> Iterator["Frames"]:
    """The frames of one item: every URL is one, or the only URL is a TIFF whose pages they are.

    Raises:
        ImageError: if the only URL is not a stack.
        StorageError: if it cannot be read.
    """
    if len(urls) > 1:
        yield Frames(tuple(urls), lambda index: read_frame(urls[index]))
        return
    with seekable.open_seekable(urls[0]) as file, open_pages(file, urls[0]) as pages:
        names = tuple(f"{urls[0]} page {index}" for index in range(len(pages)))
        yield Frames(names, pages.frame, pages.notes)


class Frames:
    """N frames of one size and kind, decoded whenever they are asked for.

    Args:
        names: Of the N frames, for messages.
        load: Decodes one.
        notes: What people should know of their files, a line each.
    """

    def __init__(
        self, names: tuple[str, ...], load: Callable[[int], Frame], notes: tuple[str, ...] = ()
    ) -> None:
        self.names = names
        self.notes = notes
        self._load = load
        self._kind: tuple[str, str] | None = None  # of the first that was loaded, and its name

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Frame:
        """Decode a frame.

        Raises:
            ImageError: if it cannot be decoded, or differs from the others in size or kind.
            StorageError: if it cannot be read.
        """
        frame = self._load(index)
        if self._kind is None:
            self._kind = frame.kind, self.names[index]
        kind, name = self._kind
        if frame.kind != kind:
            raise ImageError(
                f"sources differ: {name} is {kind}, {self.names[index]} is {frame.kind}; "
                "register, crop or convert them to one size and kind"
            )
        return frame

    def white(self) -> float:
        """Value of white in all frames.

        What the files say, or for 16-bit samples without a word the range of 10, 12, 14 or 16 bits
        that holds all values of all frames.
        """
        first = self[0]
        if first.white is not None or first.pixels.dtype != np.uint16:
            return codec.white(first)
        white = 0.0
        for index in range(len(self)):
            white = max(white, codec.white_of(int(self[index].pixels.max())))
            if white == codec.white(first):
                break
        return white


@dataclass(frozen=True)
class Colours:
    """The colours of frames, as ``Images``."""

    frames: Frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int, /) -> NDArray[Any]:
        """(h, w, C)."""
        return self.frames[index].pixels


@dataclass(frozen=True)
class Alphas:
    """The alpha of frames that have one, as ``Images``."""

    frames: Frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int, /) -> NDArray[Any]:
        """(h, w, 1)."""
        alpha = self.frames[index].alpha
        if alpha is None:
            raise ImageError(f"{self.frames.names[index]} has no alpha")
        return np.asarray(alpha)[..., None]
