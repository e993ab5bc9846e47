"""What the beginnings of files say: size and kind of an image, and when it was taken.

Many are read at once, and of each no more than it takes.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import BinaryIO, TypeVar

from dfp_batch.archive.stacks import Image, Stack
from dfp_batch.errors import ImageError, ObjectAccessError, ObjectMissingError
from dfp_batch.io import codec
from dfp_batch.io.codec import Header
from dfp_batch.io.codec.names import stack_kind
from dfp_batch.io.codec.pages import open_pages
from dfp_batch.io.codec.taken import taken_at
from dfp_batch.io.parallel import in_parallel
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.stack_files import open_stack
from dfp_batch.io.storage import read_bytes
from dfp_batch.io.urls import join

THREADS = 32
_HEAD_BYTES = 64 * 1024
NO_TIME = "has no EXIF time"
Answer = TypeVar("Answer")
Moved = Callable[[int, int], None]
"""Told how many of how many files are done."""


@dataclass(frozen=True)
class Head:
    """What is known of one file.

    Attributes:
        header: Of its image, or of the first one that it holds.
        problem: Why it cannot be used, or "".
        frames: How many images it holds.
        digest: Of its first bytes.
    """

    header: Header | None
    problem: str = ""
    frames: int = 1
    digest: bytes = b""


def heads(root: str, stacks: Sequence[Stack], moved: Moved) -> Iterator[tuple[Head, ...]]:
    """Look at the files of stacks, in their order.

    Args:
        root: URL of the tree.
        stacks: Of it.
        moved: Told how far it is.

    Raises:
        StorageError: The store failed.
    """
    whole = {stack.images[0].path for stack in stacks if len(stack.images) == 1}

    def look(url: str, image: Image) -> Head:
        if stack_kind(url) not in ("tiff", None):
            with open_stack(url) as stack:
                return Head(stack.header(0), frames=len(stack))
        with _opened(url, image) as file:
            digest = hashlib.blake2b(file.read(_HEAD_BYTES), digest_size=16).digest()
            if image.path not in whole:
                return Head(codec.inspect_file(file, url), digest=digest)
            with open_pages(file, url) as pages:
                return Head(pages.header(0), frames=len(pages), digest=digest)

    images = [image for stack in stacks for image in stack.images]
    answers = _looked(root, images, look, moved)
    for stack in stacks:
        found = islice(answers, len(stack.images))
        yield tuple(Head(None, one) if isinstance(one, str) else one for one in found)


def times(root: str, images: Sequence[Image], moved: Moved) -> dict[str, datetime | str]:
    """When images were taken, by path; or why that is not known.

    Raises:
        StorageError: The store failed.
    """

    def look(url: str, image: Image) -> datetime | str:
        with _opened(url, image) as file:
            return taken_at(file, url) or NO_TIME

    answers = _looked(root, images, look, moved)
    return {image.path: answer for image, answer in zip(images, answers, strict=True)}


def content_digest(root: str, image: Image) -> bytes:
    """Of a whole file.

    Raises:
        StorageError: It cannot be read.
    """
    return hashlib.sha256(read_bytes(join(root, image.path))).digest()


def _opened(url: str, image: Image) -> BinaryIO:
    """A file whose beginning is fetched at once."""
    return open_seekable(url, image.size_bytes, _HEAD_BYTES + 1)


def _looked(
    root: str,
    images: Sequence[Image],
    look: Callable[[str, Image], Answer],
    moved: Moved,
) -> Iterator[Answer | str]:
    """What ``look`` says of each file, or why it cannot be read."""

    def one(image: Image) -> Answer | str:
        url = join(root, image.url_path)
        try:
            return look(url, image)
        except (ImageError, ObjectMissingError, ObjectAccessError) as error:
            return str(error).removeprefix(f"{url}: ")

    for count, answer in enumerate(in_parallel(one, images, threads=THREADS), 1):
        moved(count, len(images))
        yield answer


def unmoved(_done: int, _of: int) -> None:
    """Nobody wants to know how far it is."""
