"""Stacks in one file: the pages of a TIFF, an OME-TIFF or an ImageJ TIFF, one image at a time.

A page is decoded like a source in a file of its own: what is read, refused and carried over is the
same. Page numbers count from 0.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from types import TracebackType
from typing import Any, BinaryIO, Self, cast
from xml.etree import ElementTree

from tifffile import TiffFile, TiffPage

from dfp_batch.errors import ImageError
from dfp_batch.io.codec import imagej, reading, stack_layout, tiff_page
from dfp_batch.io.codec import tiff as tiff_codec
from dfp_batch.io.codec.frame import Frame
from dfp_batch.io.codec.header import Header, RefusedError, is_sideways, named
from dfp_batch.io.codec.stack_facts import Facts, facts_of, with_facts
from dfp_batch.io.codec.stack_layout import LEAST_PAGES, TRUNCATED, Plane, count_text, refuse, shown

# Of TiffFile; these two would open other files beside this one.
_NEVER: dict[str, Any] = {"is_mmstack": False, "is_ndtiff": False}
_NEEDED_TAGS = {  # what one image needs, and its description
    256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 296, 317,
    320, 322, 323, 324, 325, 338, 339, 340, 341, 347, 529, 530, 531, 532, 32997, 32998, 34675,
}  # fmt: skip
_DAMAGE = (*tiff_page.DAMAGE, ElementTree.ParseError)


class Pages:
    """The images of one stack, in an open file; ``len(pages)`` of them, at least two.

    A context manager, for one thread. Closing it leaves the file open, which is the caller's.

    Attributes:
        channels: Names of the channels, each of which has so many images.
        notes: What people should know of the file, a line each.
    """

    def __init__(
        self,
        tiff: TiffFile,
        url: str,
        planes: Sequence[Sequence[Plane]],
        facts: Facts,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.channels = facts.names_of(len(planes))
        self.notes = notes
        self._tiff = tiff
        self._url = url
        self._planes = planes
        self._facts = facts

    def __len__(self) -> int:
        return len(self._planes[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._tiff.close()

    def header(self, k: int) -> Header:
        """What image ``k`` of every channel will be (0 <= k < N), from the header of its page.

        Raises:
            ImageError: Not an image that can be used.
            StorageError: The store failed.
        """
        with named(f"{self._url} page {k}"):
            return tiff_codec.page_header(self._page_of(k, 0))

    def frame(self, k: int, channel: int = 0) -> Frame:
        """Read image ``k`` (0 <= k < N) of the stack; no other is read.

        Args:
            k: Which along the depth.
            channel: Which of the channels.

        Returns:
            The image, (h, w, C) at its own bit depth; float64 becomes float32.

        Raises:
            ImageError: This page is damaged, or not an image that can be used.
            StorageError: The store failed.
        """
        plane = self._planes[channel][k]
        with named(f"{self._url} page {k}"):
            found = tiff_codec.opened_page(self._page_of(k, channel), plane.offset)
            frame = reading.loaded(found, self._tiff.filehandle.size)
        return with_facts(frame, self._facts, is_sideways(found.orientation))

    def _page_of(self, k: int, channel: int) -> TiffPage:
        plane = self._planes[channel][k]
        try:
            return _page(self._tiff, plane.page)
        except _DAMAGE as error:
            raise RefusedError(f"cannot be read, {TRUNCATED}") from error


def open_pages(file: BinaryIO, url: str, axis: str = "Z") -> Pages:
    """Look through a stack in one file; no pixels are read.

    Args:
        file: The whole TIFF, open for reading in any order.
        url: Where it comes from; used in error messages only.
        axis: Z, or T, that is the depth as well.

    Returns:
        Its images along the depth.

    Raises:
        ImageError: Damaged, fewer than two images, another axis than depth, several positions,
            one of several files, or images that differ in size or kind or cannot be decoded.
        StorageError: The store failed.
    """
    with _whole_tiff(url):
        tiff, root = _opened(file, url)
        facts = facts_of(tiff, root)
    try:
        with _whole_tiff(url):
            return Pages(tiff, url, _planes(tiff, url, axis), facts)
    except ImageError:
        planes, note = _planes_that_are_there(tiff, url, axis)
        if not planes:
            raise
        return Pages(tiff, url, [planes], facts, (note,))


def _planes(tiff: TiffFile, url: str, axis: str) -> list[list[Plane]]:
    """All images of the stack, channel by channel, none of which is missing."""
    directories = [
        stack_layout.directory_of(page, tiff.filehandle.size) for page in _walk(tiff, url)
    ]
    planes = stack_layout.planes_of(tiff, directories, url, axis)
    stack_layout.check_planes(planes, directories, url)
    return planes


def _planes_that_are_there(tiff: TiffFile, url: str, axis: str) -> tuple[list[Plane], str]:
    """The images of a stack of ImageJ that was not written to its end, and what to say of it."""
    pages: list[TiffPage] = []
    is_cut_off = True
    with suppress(ImageError, *_DAMAGE):
        for page in _walk(tiff, url):
            pages.append(page)
        is_cut_off = False
    with suppress(*_DAMAGE):
        _, following = _entries(tiff, _page(tiff, 0).offset)
        promised = imagej.promised_images(tiff, axis)
        planes = imagej.planes_that_are_there(tiff, pages, following, promised)
        if is_cut_off or len(planes) < promised:
            note = f"holds {len(planes)} of the {promised} pages that its description names"
            return planes, f"{note}; it is not whole"
    return [], ""


def holds_stack(file: BinaryIO, url: str) -> bool:
    """Say whether a TIFF holds two images or more, from its first pages alone.

    Whether they make a stack is found by :func:`open_pages`.

    Raises:
        ImageError: Not a TIFF, or damaged.
        StorageError: The store failed.
    """
    with _whole_tiff(url):
        file.seek(0)
        with TiffFile(file, **_NEVER) as tiff:
            try:
                return _has_two_images(tiff, url) or bool(_planes_that_are_there(tiff, url, "T")[0])
            except ImageError:
                if _planes_that_are_there(tiff, url, "T")[0]:
                    return True
                raise


def _has_two_images(tiff: TiffFile, url: str) -> bool:
    images = (page for page in _walk(tiff, url) if not stack_layout.is_aside(page))
    next(images, None)
    if next(images, None) is not None:
        return True
    return not tiff.is_ome and stack_layout.images_in_one_page(tiff) >= LEAST_PAGES


@contextmanager
def _whole_tiff(url: str) -> Iterator[None]:
    """What is read in here belongs to a TIFF; if it is damaged, say so."""
    try:
        yield
    except _DAMAGE as error:
        raise ImageError(f"{url}: is not a whole TIFF ({_reason(error)})") from error


def _opened(file: BinaryIO, url: str) -> tuple[TiffFile, ElementTree.Element | None]:
    """Open a TIFF with its OME-XML, from which the names of other files are taken out."""
    file.seek(0)
    tiff = TiffFile(file, **_NEVER)
    if not tiff.is_ome or tiff.ome_metadata is None:
        return tiff, None
    root = ElementTree.fromstring(tiff.ome_metadata)
    _check_one_file(root, url)
    for data in root.iterfind(".//{*}TiffData"):
        for uuid in data.findall("{*}UUID"):
            data.remove(uuid)
    tiff.close()
    file.seek(0)
    return TiffFile(file, omexml=ElementTree.tostring(root, "unicode"), **_NEVER), root


def _check_one_file(root: ElementTree.Element, url: str) -> None:
    """Refuse a data set that is spread over several files; they are not looked for."""
    if root.find("{*}BinaryOnly") is not None:
        refuse(
            url, "is described in another file (BinaryOnly), expected one file with the whole stack"
        )
    parts = {part.text: part.get("FileName") for part in root.iterfind(".//{*}TiffData/{*}UUID")}
    own = root.get("UUID")
    if len(parts) > 1 or (own is not None and parts.keys() - {own}):
        names = shown(sorted(filter(None, parts.values())))
        refuse(
            url,
            f"is one of several files of an OME-TIFF ({names}), expected one file with the "
            "whole stack; save it as one, or list the files as sources",
        )


def _walk(tiff: TiffFile, url: str) -> Iterator[TiffPage]:
    """The pages one by one; tifffile itself would follow a ring of pages without end."""
    seen: set[int] = set()
    for index in count():
        page = _page(tiff, index)
        codes, following = _entries(tiff, page.offset)
        if codes & _NEEDED_TAGS - set(page.tags.keys()):  # tifffile leaves them out without a word
            refuse(url, f"page {index} names values that the file does not hold: {TRUNCATED}")
        seen.add(page.offset)
        yield page
        if following == 0:
            return
        if following in seen or following >= tiff.filehandle.size:
            refuse(url, f"breaks off after {count_text(index + 1)}: {TRUNCATED}")


def _page(tiff: TiffFile, index: int) -> TiffPage:
    return cast(TiffPage, tiff.pages.get(index))


def _entries(tiff: TiffFile, offset: int) -> tuple[set[int], int]:
    """The codes of the tags of the page at ``offset``, and where the next page is; 0: nowhere."""
    form = tiff.tiff
    start = offset + form.tagnosize
    (n_tags,) = struct.unpack(form.tagnoformat, _read(tiff, offset, start))
    end = start + n_tags * form.tagsize
    table = _read(tiff, start, end + form.offsetsize)
    (following,) = struct.unpack(form.offsetformat, table[end - start :])
    codes = struct.iter_unpack(f"{tiff.byteorder}H{form.tagsize - 2}x", table[: end - start])
    return {code for (code,) in codes}, int(following)


def _read(tiff: TiffFile, start: int, end: int) -> bytes:
    tiff.filehandle.seek(start)
    return bytes(tiff.filehandle.read(end - start))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
