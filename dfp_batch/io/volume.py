"""Stacks that a library of their format reads image by image, as our frames."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.parsers.expat import ExpatError

import numpy as np

from dfp_batch.io.codec import reading
from dfp_batch.io.codec.frame import OPEN_DTYPES, Frame, Metadata, Pixels
from dfp_batch.io.codec.header import Header, Opened, RefusedError, Stored, check_size, named
from dfp_batch.io.codec.stack_layout import LEAST_PAGES, axes_problem, axes_text, count_text, refuse

DAMAGE = (  # what such libraries let through on a damaged file
    ArithmeticError,
    AssertionError,
    AttributeError,
    ExpatError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,  # also of XML
    TypeError,
    ValueError,
    struct.error,
)
_DTYPES = {"uint8", "uint16", "float16", "float32", "float64", *OPEN_DTYPES}
_COLOURS = (1, 3)
_MOST_ALONG = 100_000  # images along an axis, as no microscope takes them


class Part(NamedTuple):
    """One of the stacks or images in a file, or in a folder.

    Attributes:
        mark: What names it at the end of the URL: ``#2``, or ``/A/1/0``; "" for the whole.
        name: For people.
        depth: Images of each channel.
    """

    mark: str
    name: str
    depth: int


@dataclass(frozen=True)
class Axes:
    """The axes of a volume other than Y, X and the samples of a pixel, which come last.

    Attributes:
        lengths: By name, in the order in which the file has them.
        depth: Name of that along the depth.
    """

    lengths: tuple[tuple[str, int], ...]
    depth: str

    @classmethod
    def of(
        cls, lengths: Sequence[tuple[str, int]], size: tuple[int, int], samples: int, axis: str
    ) -> "Axes":
        """Those of a stack.

        Args:
            lengths: By name.
            size: Height and width.
            samples: Of a pixel.
            axis: Z, or T, that is the depth as well.

        Raises:
            RefusedError: It has other axes.
        """
        most = max((length for _, length in lengths), default=1)
        if most > _MOST_ALONG:
            raise RefusedError(f"names {most} images along an axis: truncated or damaged")
        longer = [(name, length) for name, length in lengths if length > 1]
        problem = axes_problem(longer, samples, axis)
        if problem:
            text = axes_text([*longer, ("Y", size[0]), ("X", size[1])])
            raise RefusedError(f"has axes {text}: {problem}")
        depth = next((name for name, _ in longer if name != "C"), "Z")
        return cls(tuple(lengths), depth)

    def length(self, name: str) -> int:
        """Of an axis; 1 if there is none."""
        return dict(self.lengths).get(name, 1)

    @property
    def place(self) -> Callable[[int, int], tuple[int, ...]]:
        """Index along all axes of an image, by its channel and its depth."""
        names = [name for name, _ in self.lengths]
        return lambda channel, k: tuple(
            channel if name == "C" else k if name == self.depth else 0 for name in names
        )


@dataclass(frozen=True)
class Kind:
    """What all images of a volume are.

    Attributes:
        format: Name of the format.
        size: Height and width in px.
        samples: Of a pixel, 1 or 3.
        dtype: Of a sample.
        channels: Names of the channels.
        depth: Number of images of each channel.
        pixel_size_um: Width and height of a pixel.
    """

    format: str
    size: tuple[int, int]
    samples: int
    dtype: str
    channels: tuple[str, ...]
    depth: int
    pixel_size_um: tuple[float, float] | None = None


class Volume:
    """A ``StackFile``.

    Args:
        url: Where it comes from.
        kind: What its images are.
        read: Image (h, w) or (h, w, 3) of a channel and a depth.
        notes: What people should know of it.
    """

    def __init__(
        self,
        url: str,
        kind: Kind,
        read: Callable[[int, int], Pixels],
        notes: tuple[str, ...] = (),
    ) -> None:
        self.channels = kind.channels
        self.notes = notes
        self._url = url
        self._kind = kind
        self._read = read
        self._check()

    def __len__(self) -> int:
        return self._kind.depth

    def header(self, k: int) -> Header:
        """What image ``k`` of every channel will be."""
        kind = self._kind
        dtype = "float32" if kind.dtype.startswith("float") else kind.dtype
        bits = 8 * np.dtype(dtype).itemsize
        height, width = kind.size
        return Header(kind.format, width, height, kind.samples, False, dtype, bits)

    def frame(self, k: int, channel: int = 0) -> Frame:
        """Read image ``k`` of a channel; no other is read.

        Raises:
            ImageError: It is damaged.
            StorageError: The store failed.
        """
        metadata = Metadata(pixel_size_um=self._kind.pixel_size_um)
        found = Opened(self.header(k), 1, metadata, lambda: self._stored(k, channel))
        with named(f"{self._url} page {k}"):
            return reading.loaded(found, 0)

    def _stored(self, k: int, channel: int) -> Stored:
        try:
            pixels = np.asarray(self._read(channel, k))
            return Stored(pixels.reshape(*self._kind.size, self._kind.samples))
        except DAMAGE as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RefusedError(f"cannot be read ({reason}): truncated or damaged") from error

    def _check(self) -> None:
        kind = self._kind
        if kind.depth < LEAST_PAGES:
            needed = "a pair needs 2 or more sources, or one file with 2 or more images"
            refuse(self._url, f"holds {count_text(kind.depth)}: {needed}")
        if kind.dtype not in _DTYPES or kind.samples not in _COLOURS:
            samples = f"{kind.samples} x {kind.dtype} samples"
            refuse(self._url, f"holds {samples}, expected grey or RGB of 8, 16 or 32 bits")
        try:
            check_size(kind.size[1], kind.size[0])
        except RefusedError as error:
            refuse(self._url, str(error))
