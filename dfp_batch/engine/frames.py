"""The frames of one item, decoded one at a time, whether they are files or pages of one file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from dfp_batch.config.run_config import Reading
from dfp_batch.engine.fitting import CommonPart
from dfp_batch.errors import ImageError
from dfp_batch.io import codec, seekable, storage
from dfp_batch.io.codec import Development, Frame, Header
from dfp_batch.io.codec.names import is_raw_name
from dfp_batch.io.stack_files import StackFile, open_stack
from dfp_batch.io.urls import without_version

USUAL = Reading()


def middle(count: int) -> int:
    """Index of the middle one of so many, the first of two."""
    return (count - 1) // 2


def read_frame(url: str, shared: Development | None = None) -> Frame:
    """One image of the store.

    Args:
        url: Of it.
        shared: What it is developed with, if it is a camera RAW file; None is its own.

    Raises:
        ImageError: if it cannot be decoded.
        StorageError: if it cannot be read.
    """
    return codec.decode(storage.read_bytes(url), url, shared)


def read_header(url: str) -> tuple[Header, int]:
    """What one image of the store will be, and the bytes of its file.

    Raises:
        ImageError: if it cannot be decoded, as far as the header tells.
        StorageError: if it cannot be read.
    """
    with seekable.open_seekable(url) as file:
        return codec.inspect_file(file, url), file.seek(0, 2)


def read_sources(urls: Sequence[str]) -> list[Frame]:
    """All sources of one item at once.

    Raises:
        ImageError: if one cannot be decoded, or they differ in size, channels or depth.
        StorageError: if one cannot be read.
    """
    with open_frames(urls) as frames:
        return [frames[index] for index in range(len(frames))]


@contextmanager
def open_frames(
    urls: Sequence[str], reading: Reading = USUAL, reference: Callable[[int], int] = middle
) -> Iterator["Frames"]:
    """The frames of one item: every URL is one, or the only URL is a file whose images they are.

    Args:
        urls: Of the files.
        reading: How they become frames.
        reference: Index of the reference among so many; camera RAW files are developed like it.

    Raises:
        ImageError: if the only URL is not a stack.
        StorageError: if it cannot be read.
    """
    if len(urls) > 1:
        files = _Files(urls, reference(len(urls)))
        yield _fitted(files) if reading.fit == "crop" else Frames(tuple(urls), files.frame)
        return
    with open_stack(urls[0], reading.stack_axis) as stack:
        yield _frames_of(stack, urls[0], reading)


@dataclass(frozen=True)
class _Files:
    """Frames in a file each.

    Attributes:
        urls: Of the files.
        reference: Which of them camera RAW files are developed like.
    """

    urls: Sequence[str]
    reference: int

    def frame(self, index: int) -> Frame:
        """Decode one."""
        return read_frame(self.urls[index], *self._shared)

    @cached_property
    def _shared(self) -> tuple[Development, ...]:
        """What camera RAW files are developed with; nothing if they are others, by their names."""
        if not all(is_raw_name(without_version(url)) for url in self.urls):
            return ()
        url = self.urls[self.reference]
        found = codec.development_of(storage.read_bytes(url), url)
        return () if found is None else (found,)


def _fitted(files: _Files) -> "Frames":
    """The part that all have of frames of several sizes, which their headers tell."""
    part = CommonPart.of([read_header(url)[0] for url in files.urls])
    return Frames(tuple(files.urls), lambda index: part.of_frame(files.frame(index)), part.notes)


def _frames_of(stack: StackFile, url: str, reading: Reading) -> "Frames":
    names = tuple(f"{url} page {index}" for index in range(len(stack)))
    if len(stack.channels) == 1:
        return Frames(names, stack.frame, stack.notes)
    check_channel(stack, url, reading)
    channels = Channels(
        stack.channels,
        tuple(
            Frames(tuple(f"{name} channel {k}" for name in names), partial(stack.frame, channel=k))
            for k in range(len(stack.channels))
        ),
    )
    chosen = reading.focus_channel
    load = partial(stack.frame, channel=chosen) if isinstance(chosen, int) else channels.mean
    return Frames(names, load, stack.notes, channels)


def check_channel(stack: StackFile, url: str, reading: Reading) -> None:
    """Refuse a channel to decide by that is not there.

    Raises:
        ImageError: if it is not.
    """
    count, chosen = len(stack.channels), reading.focus_channel
    if isinstance(chosen, int) and chosen >= count > 1:
        names = ", ".join(f"{k} ({name})" for k, name in enumerate(stack.channels))
        raise ImageError(f"{url} has {count} channels, {names}; --focus-channel asks for {chosen}")


@dataclass(frozen=True)
class Channels:
    """Channels of the same N frames.

    Attributes:
        names: Of each.
        frames: Of each, grey.
    """

    names: tuple[str, ...]
    frames: tuple["Frames", ...]

    def mean(self, index: int) -> Frame:
        """The mean of all channels of a frame, at the depth of their file."""
        found = [frames[index] for frames in self.frames]
        total = np.sum([one.pixels for one in found], axis=0, dtype=np.float32) / len(found)
        dtype = found[0].pixels.dtype
        whole = total if dtype.kind == "f" else np.rint(total)
        return replace(found[0], pixels=whole.astype(dtype))


class Frames:
    """N frames of one size and kind, decoded whenever they are asked for.

    Args:
        names: Of the N frames, for messages.
        load: Decodes one.
        notes: What people should know of their files, a line each.
        channels: Where the frames are what is decided by, and there are several.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        load: Callable[[int], Frame],
        notes: tuple[str, ...] = (),
        channels: Channels | None = None,
    ) -> None:
        self.names = names
        self.notes = notes
        self.channels = channels
        self._load = load
        self._kind: tuple[str, str] | None = None  # of the first that was loaded, and its name
        self._held: WeakValueDictionary[int, Frame] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_channels(self) -> int:
        """Images that a frame stands for: 1, or the channels of a file that has several."""
        return 1 if self.channels is None else len(self.channels.names)

    @property
    def n_images(self) -> int:
        """Images that are merged: of several channels also what is decided by."""
        return 1 if self.channels is None else 1 + len(self.channels.names)

    def __getitem__(self, index: int, /) -> Frame:
        """Decode a frame, unless somebody still holds it.

        Raises:
            ImageError: if it cannot be decoded, or differs from the others in size or kind.
            StorageError: if it cannot be read.
        """
        held = self._held.get(index)
        if held is not None:
            return held
        frame = self.decoded(index)
        self._held[index] = frame
        if self._kind is None:
            self._kind = frame.kind, self.names[index]
        kind, name = self._kind
        if frame.kind != kind:
            raise ImageError(
                f"sources differ: {name} is {kind}, {self.names[index]} is {frame.kind}; "
                "register, crop or convert them to one size and kind"
            )
        return frame

    def decoded(self, index: int) -> Frame:
        """Decode a frame, whoever holds it, and whatever it is."""
        return self._load(index)

    def white(self) -> float:
        """Value of white in all frames.

        What the files say, or for 16-bit samples without a word the range of 10, 12, 14 or 16 bits
        that holds all values of all frames, and of all channels.
        """
        if self.channels is not None:
            return max(frames.white() for frames in self.channels.frames)
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
