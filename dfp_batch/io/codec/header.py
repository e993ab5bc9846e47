"""What the header of an image says, and the limits that are checked before any pixel is decoded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from dfp_batch.errors import ImageError
from dfp_batch.io.codec.frame import Metadata, Pixels, kind_text, samples_text

_SIDEWAYS = range(5, 9)  # orientations that exchange width and height

LARGEST_PX = 400_000_000
"""Largest image that is read: 20,000x20,000 px, 1.2 GB at 8 bits and three channels."""


class RefusedError(Exception):
    """Why an image cannot be used, without its name; :func:`named` adds that."""


class RawFileError(RefusedError):
    """It is a camera RAW file, although it starts like a TIFF."""


@contextmanager
def named(name: str) -> Iterator[None]:
    """Whatever is refused in here is an error of what has this name.

    Raises:
        ImageError: with the name before the reason.
    """
    try:
        yield
    except RefusedError as error:
        raise ImageError(f"{name}: {error}") from error


@dataclass(frozen=True)
class Header:
    """What is known before pixels are decoded.

    Attributes:
        format: One of those that ``names.FORMATS`` lists.
        width: In px, after the orientation has been applied.
        height: In px, after the orientation has been applied.
        channels: 1 (grey) or 3 (colour), without alpha.
        has_alpha: Whether there is an alpha channel as well.
        dtype: uint8, uint16, float32 or one of ``OPEN_DTYPES``, as a frame will hold it.
        bits: Bits that a sample uses as far as the header says.
    """

    format: str
    width: int
    height: int
    channels: int
    has_alpha: bool
    dtype: str
    bits: int

    @property
    def kind(self) -> str:
        """As that of the ``Frame``: what sources of one item share."""
        size = f"{self.width}x{self.height} px"
        samples = samples_text(self.dtype, self.bits)
        return kind_text(size, self.channels, self.has_alpha, samples)


@dataclass(frozen=True)
class Stored:
    """Pixels as they are in the file.

    Attributes:
        pixels: (h, w, C + alpha); red, green, blue.
        white: As in ``Frame``.
    """

    pixels: Pixels
    white: float | None = None


@dataclass(frozen=True)
class Opened:
    """A file whose header has been read and found usable.

    Attributes:
        header: Width and height as stored, the orientation not yet applied.
        orientation: 1 to 8, as in EXIF.
        metadata: Of the pixels as stored.
        load: Decodes the pixels; raises ``RefusedError``.
    """

    header: Header
    orientation: int
    metadata: Metadata
    load: Callable[[], Stored]


def damaged(kind: str, size_bytes: int) -> RefusedError:
    """The error for a file that starts well."""
    return RefusedError(
        f"starts like a {kind} but does not decode ({size_bytes} bytes): truncated or damaged; "
        "expected a whole image"
    )


def check_size(width: int, height: int) -> None:
    """Refuse an empty or enormous image.

    Raises:
        RefusedError: One of the two.
    """
    if width < 1 or height < 1:
        raise RefusedError(f"is {width}x{height} px, expected at least 1x1 px; it is damaged")
    if width * height > LARGEST_PX:
        raise RefusedError(
            f"is {width}x{height} px, expected at most {LARGEST_PX:,} px; cut it into parts"
        )


def check_fill(kind: str, needed_bytes: int, stored_bytes: int, most: int, size_bytes: int) -> None:
    """Refuse a file too short for the image it promises, before memory for that is taken.

    Args:
        kind: Format, for the message.
        needed_bytes: Size of the decoded image.
        stored_bytes: Size of the compressed data.
        most: Decoded bytes that the compression can make of one stored byte.
        size_bytes: Size of the file, for the message.

    Raises:
        RefusedError: Even the best compression could not have made it this small.
    """
    if needed_bytes > most * (stored_bytes + 1):
        raise damaged(kind, size_bytes)


def check_frames(count: int) -> None:
    """Refuse an animation.

    Raises:
        RefusedError: There is more than one frame.
    """
    if count > 1:
        raise RefusedError(
            f"holds {count} frames of an animation, expected one image; save each frame as its "
            "own file"
        )


def channel_names(count: int) -> str:
    """The clause of all messages about a number of channels."""
    return (
        f"has {count} channels, expected 1 (grey) or 3 (colour), with or without alpha; "
        "flatten it first"
    )


def upright(header: Header, orientation: int) -> Header:
    """A header whose width and height are as stored, after EXIF orientation 1 to 8."""
    if not is_sideways(orientation):
        return header
    return replace(header, width=header.height, height=header.width)


def is_sideways(orientation: int) -> bool:
    """Whether EXIF orientation 1 to 8 makes rows columns."""
    return orientation in _SIDEWAYS


def oriented(pixels: Pixels, orientation: int) -> Pixels:
    """Turn (h, w, ...) pixels the way EXIF orientation 1 to 8 asks for."""
    if is_sideways(orientation):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
