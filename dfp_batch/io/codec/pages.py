"""Stacks in one file: the pages of a TIFF, an OME-TIFF or an ImageJ TIFF, one image at a time.

Which pages make the stack, and in which order, follows the description in the file (OME-XML,
ImageJ, tifffile); without one it is the order of the pages. Copies at a lower resolution are passed
over. A page is made a TIFF of its own in memory, and that is decoded like a source in a file of its
own: what is read, refused and carried over is the same. Page numbers count from 0.
"""

import math
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self, cast
from xml.etree import ElementTree

import numpy as np
from tifffile import TiffFile, TiffFileError, TiffPage, TiffPageSeries

from dfp_batch.errors import ImageError
from dfp_batch.io.codec import tiff as tiff_codec
from dfp_batch.io.codec.files import decode
from dfp_batch.io.codec.frame import Frame
from dfp_batch.io.codec.header import Header, RefusedError, check_size, is_sideways

_MIN_PAGES = 2
_SEPARATE = 2  # planar configuration
_SIGNIFICANT_BITS = range(8, 16)  # that a frame of 16 bits may have
# These two would open other files beside this one.
_NEVER: dict[str, Any] = {"is_mmstack": False, "is_ndtiff": False}
_PLAIN = {"uniform", "generic"}  # series that tifffile makes of pages without a description
_STACK_AXES = {"Z", "I", "Q"}  # depth; pages of which the file says no more
_AXES = {
    "T": "a time series",
    "C": "several channels",
    "R": "several positions",
    "P": "several positions",
    "M": "a mosaic",
}
_DAMAGE = (  # what tifffile lets through on a damaged file
    TiffFileError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    ElementTree.ParseError,
)
_UM = {
    "nm": 1e-3,
    "Å": 1e-4,
    "pm": 1e-6,
    "mm": 1e3,
    "cm": 1e4,
    "dm": 1e5,
    "m": 1e6,
    "in": 25_400.0,
    "inch": 25_400.0,
    "mil": 25.4,
    "thou": 25.4,
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer"), 1.0),
}
_IMAGE_TAGS = {  # what one image needs
    256, 257, 258, 259, 262, 266, 274, 277, 278, 280, 281, 282, 283, 284, 296, 317, 320, 322, 323,
    338, 339, 340, 341, 347, 529, 530, 531, 532, 32997, 32998, 34675,
}  # fmt: skip
_PIECE_TAGS = {278, 322, 323}  # size of strips and tiles
_KEPT_TAGS = _IMAGE_TAGS | {271, 272, 305, 306, 315, 33432}  # maker to copyright
_NEEDED_TAGS = _IMAGE_TAGS | {270, 273, 279, 324, 325}
_TRUNCATED = "truncated or damaged"
_SHOWN = 3
_Tag = tuple[int, int, bytes]  # type, number of values, values
_NEAR_BYTES = 64 * 1024  # a gap that is cheaper to read than to skip


@dataclass(frozen=True)
class _Directory:
    """What one page of the file says of itself; ``problem`` is why it cannot be decoded."""

    kind: str
    aside: bool
    problem: str | None


@dataclass(frozen=True)
class _Plane:
    """Where one image of the stack is: a page, or bytes within a page that holds many images."""

    page: int
    offset: int | None = None


@dataclass(frozen=True)
class _Facts:
    """What the description says of all images; None is what each page says itself.

    Attributes:
        pixel_size_um: (width, height) of a pixel.
        significant_bits: Bits of a sample that are in use.
    """

    pixel_size_um: tuple[float, float] | None = None
    significant_bits: int | None = None


class Pages:
    """The images of one stack, in an open file; ``len(pages)`` of them, at least two.

    A context manager, for one thread. Closing it leaves the file open, which is the caller's.
    """

    def __init__(self, tiff: TiffFile, url: str, planes: Sequence[_Plane], facts: _Facts) -> None:
        self._tiff = tiff
        self._url = url
        self._planes = planes
        self._facts = facts

    def __len__(self) -> int:
        return len(self._planes)

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
        """What image ``k`` will be (0 <= k < N), from the header of its page.

        Raises:
            ImageError: Not an image that can be used.
            StorageError: The store failed.
        """
        try:
            return tiff_codec.page_header(_page(self._tiff, self._planes[k].page))
        except RefusedError as error:
            raise ImageError(f"{self._url} page {k}: {error}") from error

    def frame(self, k: int) -> Frame:
        """Read image ``k`` (0 <= k < N) of the stack; no other is read.

        Returns:
            The image, (h, w, C) at its own bit depth; float64 becomes float32.

        Raises:
            ImageError: This page is damaged, or not an image that can be used.
            StorageError: The store failed.
        """
        plane = self._planes[k]
        name = f"{self._url} page {k}"
        try:
            page = _page(self._tiff, plane.page)
            data = _as_file(self._tiff, page, plane.offset)
        except _DAMAGE as error:
            raise ImageError(f"{name}: cannot be read, truncated or damaged") from error
        return _with_facts(decode(data, name), self._facts, _is_turned(page))


def open_pages(file: BinaryIO, url: str) -> Pages:
    """Look through a stack in one file; no pixels are read.

    Args:
        file: The whole TIFF, open for reading in any order.
        url: Where it comes from; used in error messages only.

    Returns:
        Its images along the depth.

    Raises:
        ImageError: Damaged, fewer than two images, another axis than depth, several positions,
            one of several files, or images that differ in size or kind or cannot be decoded.
        StorageError: The store failed.
    """
    try:
        tiff, root = _opened(file, url)
        directories = [_directory(page, tiff.filehandle.size) for page in _walk(tiff, url)]
        planes = _planes(tiff, directories, url)
        facts = _facts(tiff, root)
    except _DAMAGE as error:
        raise ImageError(f"{url}: is not a whole TIFF ({_reason(error)})") from error
    _check_planes(planes, directories, url)
    return Pages(tiff, url, planes, facts)


def holds_stack(file: BinaryIO, url: str) -> bool:
    """Say whether a TIFF holds two images or more, from its first pages alone.

    Whether they make a stack is found by :func:`open_pages`.

    Raises:
        ImageError: Not a TIFF, or damaged.
        StorageError: The store failed.
    """
    try:
        file.seek(0)
        with TiffFile(file, **_NEVER) as tiff:
            images = (page for page in _walk(tiff, url) if not _is_aside(page))
            next(images, None)
            if next(images, None) is not None:
                return True
            return not tiff.is_ome and _in_one_page(tiff) >= _MIN_PAGES
    except _DAMAGE as error:
        raise ImageError(f"{url}: is not a whole TIFF ({_reason(error)})") from error


# The file


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
        _refuse(
            url, "is described in another file (BinaryOnly), expected one file with the whole stack"
        )
    parts = {part.text: part.get("FileName") for part in root.iterfind(".//{*}TiffData/{*}UUID")}
    own = root.get("UUID")
    if len(parts) > 1 or (own is not None and parts.keys() - {own}):
        names = _shown(sorted(filter(None, parts.values())))
        _refuse(
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
            _refuse(url, f"page {index} names values that the file does not hold: {_TRUNCATED}")
        seen.add(page.offset)
        yield page
        if following == 0:
            return
        if following in seen or following >= tiff.filehandle.size:
            _refuse(url, f"breaks off after {_count(index + 1)}: {_TRUNCATED}")


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


def _directory(page: TiffPage, file_bytes: int) -> _Directory:
    """Look at one page as far as that needs no pixels; the rest is for the decoder."""
    channels, dtype = page.samplesperpixel, page.dtype.name if page.dtype else "unknown"
    size = f"{page.imagewidth}x{page.imagelength} px"
    samples = f"{channels} channel{'s' * (channels > 1)} of {page.bitspersample}-bit {dtype}"
    problem = _size_problem(page) or _extent_problem(page, file_bytes)
    return _Directory(f"{size}, {samples}", _is_aside(page), problem)


def _is_aside(page: TiffPage) -> bool:
    """Say whether a page is a copy at a lower resolution, or a mask, of another."""
    return page.is_reduced or page.is_mask


def _size_problem(page: TiffPage) -> str | None:
    try:
        check_size(page.imagewidth, page.imagelength)
    except RefusedError as error:
        return str(error)
    return None


def _extent_problem(page: TiffPage, file_bytes: int) -> str | None:
    """Find pixels that were never written or are beyond the end of the file."""
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    empty = sum(not place or not length for place, length in pieces)
    if empty or not pieces:
        return f"lacks {empty} of {len(pieces)} pieces of its pixels: not written to the end"
    end = max(map(sum, pieces))
    if end > file_bytes or sum(length for _, length in set(pieces)) > file_bytes:
        return f"ends at byte {end}, the file has {file_bytes} bytes: {_TRUNCATED}"
    return None


# The stack


def _planes(tiff: TiffFile, directories: Sequence[_Directory], url: str) -> list[_Plane]:
    """The images along the depth: as described in the file, else in the order of the pages."""
    series = [one for one in tiff.series if not one.keyframe.is_reduced]
    _check_description(tiff, series, url)
    described = tiff.is_ome or any(map(_lengths, series))
    if not described or series[0].kind in _PLAIN:
        return [_Plane(index) for index, page in enumerate(directories) if not page.aside]
    if len(series) > 1:
        shown = _shown(map(_axes_text, series))
        _refuse(url, f"holds {len(series)} images or positions, {shown}; expected one stack")
    return _series_planes(series[0], len(directories), url)


def _check_description(tiff: TiffFile, series: Sequence[TiffPageSeries], url: str) -> None:
    """Refuse a file that tifffile reads as plain pages because its description is wrong."""
    described = tiff.is_ome or tiff.is_imagej
    if not series or (described and any(one.kind in _PLAIN for one in series)):
        _refuse(url, f"does not hold the pages that its description names: {_TRUNCATED}")


def _series_planes(series: TiffPageSeries, n_pages: int, url: str) -> list[_Plane]:
    lengths = _lengths(series)
    wrong = next((axis for axis, _ in lengths if axis not in _STACK_AXES), None)
    if wrong or len(lengths) > 1:
        what = _AXES.get(wrong, f"an axis {wrong}") if wrong else "several stacks"
        expected = "expected Z (Y, X) with optional RGB"
        _refuse(url, f"has axes {_axes_text(series)}: {what}; {expected}")
    n = _n_images(series)
    if len(series) < n or (n_pages < n and series.dataoffset is not None):
        return _planes_of_page(series, n, url)
    pages = list(series)
    missing = [str(k) for k, page in enumerate(pages) if page is None]
    if missing:
        named = f"{_count(n)} that its description names"
        _refuse(url, f"lacks {len(missing)} of {named}: {_shown(missing)}")
    return [_Plane(page.index) for page in pages if page is not None]


def _planes_of_page(series: TiffPageSeries, n: int, url: str) -> list[_Plane]:
    """Images that follow each other in one page, as ImageJ writes stacks above 4 GB."""
    page, start = series.keyframe, series.dataoffset
    if start is None or start + n * page.nbytes > page.parent.filehandle.size:
        _refuse(url, f"holds less than the {_count(n)} that its description names: truncated?")
    return [_Plane(page.index, start + k * page.nbytes) for k in range(n)]


def _lengths(series: TiffPageSeries) -> list[tuple[str, int]]:
    """Length of each axis that is neither of one image nor 1, e.g. ``[("Z", 12)]``."""
    axes = zip(series.axes, series.shape, strict=True)
    return [(axis, length) for axis, length in axes if axis not in "YXS" and length > 1]


def _n_images(series: TiffPageSeries) -> int:
    return math.prod(length for _, length in _lengths(series))


def _axes_text(series: TiffPageSeries) -> str:
    """Axes for people, ``ZYX (12, 512, 512)``; those of length 1 are left out."""
    axes = zip(series.axes, series.shape, strict=True)
    kept = [(axis, length) for axis, length in axes if axis in "YX" or length > 1]
    names, lengths = zip(*kept, strict=True)
    return f"{''.join(names)} ({', '.join(map(str, lengths))})"


def _check_planes(planes: Sequence[_Plane], directories: Sequence[_Directory], url: str) -> None:
    """Refuse what is no stack, and images that cannot be decoded or differ from the first."""
    if len(planes) < _MIN_PAGES:
        needed = "a pair needs 2 or more sources, or one TIFF with 2 or more pages"
        _refuse(url, f"holds {_count(len(planes))}: {needed}")
    first = directories[planes[0].page]
    for k, plane in enumerate(planes):
        page = directories[plane.page]
        if page.problem:
            _refuse(f"{url} page {k}", page.problem)
        if page.kind != first.kind:
            alike = "all pages of a stack must be alike"
            _refuse(url, f"page {k} is {page.kind}, page 0 is {first.kind}; {alike}")


def _in_one_page(tiff: TiffFile) -> int:
    """Images in a file that has one page."""
    series = tiff.series[0]
    return _n_images(series) if series.dataoffset is not None else 1


# What the description says of all images


def _facts(tiff: TiffFile, root: ElementTree.Element | None) -> _Facts:
    if root is not None:
        pixels = root.find(".//{*}Pixels")
        return _Facts() if pixels is None else _ome_facts(pixels.attrib)
    if tiff.is_imagej:
        return _imagej_facts(tiff)
    return _Facts()


def _ome_facts(pixels: Mapping[str, str]) -> _Facts:
    sides = [
        _size_um(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "XY"
    ]
    return _Facts(_both(*sides), int(pixels.get("SignificantBits", 0)) or None)


def _imagej_facts(tiff: TiffFile) -> _Facts:
    """The resolution tags count pixels per unit, and the description names the unit."""
    unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    tags = tiff.pages.first.tags
    sides = [_size_um(_inverse(tags.valueof(code)), unit) for code in (282, 283)]
    return _Facts(_both(*sides))


def _inverse(resolution: Any) -> float | None:  # noqa: ANN401 - whatever the tag holds
    """Units per pixel, from the numerator and denominator of pixels per unit."""
    return resolution[1] / resolution[0] if resolution and resolution[0] else None


def _size_um(length: str | float | None, unit: str) -> float | None:
    size = float(length or 0) * _UM.get(unit.strip(), 0)
    return size if 0 < size < math.inf else None


def _both(width: float | None, height: float | None) -> tuple[float, float] | None:
    return None if width is None or height is None else (width, height)


def _with_facts(frame: Frame, facts: _Facts, turned: bool) -> Frame:
    """Add what the description says to what the page says; the former wins."""
    bits, size = facts.significant_bits, facts.pixel_size_um
    if bits is not None and bits in _SIGNIFICANT_BITS and frame.pixels.dtype == np.uint16:
        frame = replace(frame, white=float(2**bits - 1))
    if size is not None:
        size = size[::-1] if turned else size
        frame = replace(frame, metadata=replace(frame.metadata, pixel_size_um=size))
    return frame


def _is_turned(page: TiffPage) -> bool:
    """Say whether the orientation of a page makes its rows columns."""
    return is_sideways(page.tags.valueof(274, 1))


# One page as a file of its own


def _as_file(tiff: TiffFile, page: TiffPage, offset: int | None) -> bytes:
    """Copy what makes one image, and only that, to a TIFF of one page.

    Args:
        tiff: The file.
        page: The page that is or holds the image.
        offset: Where the image starts in a page that holds several; None for the whole page.

    Returns:
        A TIFF of the same byte order and offset size.
    """
    tags = _image_tags(tiff, page)
    places, lengths = page.dataoffsets, page.databytecounts
    codes = (324, 325) if page.is_tiled else (273, 279)
    if offset is not None:  # not compressed, one colour plane or one image after the other
        n = page.samplesperpixel if page.planarconfig == _SEPARATE else 1
        lengths = (page.nbytes // n,) * n
        places, codes = tuple(offset + k * lengths[0] for k in range(n)), (273, 279)
        tags = {code: tag for code, tag in tags.items() if code not in _PIECE_TAGS}
    spans = _spans(places, lengths)
    moved = _moved(places, spans)
    tags |= {code: _numbers(tiff, lengths) for code in codes}
    start = len(_header(tiff, tags))
    tags[codes[0]] = _numbers(tiff, [place + start for place in moved])
    return b"".join([_header(tiff, tags), *(_read(tiff, *span) for span in spans)])


def _image_tags(tiff: TiffFile, page: TiffPage) -> dict[int, _Tag]:
    tags: dict[int, _Tag] = {}
    for tag in page.tags:
        if tag.code in _KEPT_TAGS and tag.code not in tags:
            value = _read(tiff, tag.valueoffset, tag.valueoffset + tag.valuebytecount)
            tags[tag.code] = int(tag.dtype), tag.count, value
    return tags


def _read(tiff: TiffFile, start: int, end: int) -> bytes:
    tiff.filehandle.seek(start)
    return bytes(tiff.filehandle.read(end - start))


def _spans(places: Sequence[int], lengths: Sequence[int]) -> list[tuple[int, int]]:
    """The parts of the file that hold these pieces, as few as is sensible: start and end."""
    spans: list[tuple[int, int]] = []
    for place, length in sorted(zip(places, lengths, strict=True)):
        start, end = spans[-1] if spans else (0, -math.inf)
        if place <= end + _NEAR_BYTES:
            spans[-1] = start, max(int(end), place + length)
        else:
            spans.append((place, place + length))
    return spans


def _moved(places: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[int]:
    """Where the pieces are once the spans follow each other."""
    starts = [start for start, _ in spans]
    bases = [0, *accumulate(end - start for start, end in spans)]
    which = [bisect_right(starts, place) - 1 for place in places]
    return [bases[k] + place - starts[k] for k, place in zip(which, places, strict=True)]


def _numbers(tiff: TiffFile, numbers: Sequence[int]) -> _Tag:
    """A tag of offsets or lengths: LONG8 or LONG."""
    kind, form = (16, "Q") if tiff.is_bigtiff else (4, "I")
    return kind, len(numbers), struct.pack(f"{tiff.byteorder}{len(numbers)}{form}", *numbers)


def _header(tiff: TiffFile, tags: Mapping[int, _Tag]) -> bytes:
    """All of a TIFF of one page up to its pixels."""
    order, big = tiff.byteorder, tiff.is_bigtiff
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 16) if big else (42, 8)))
    amount, word = ("Q", "Q") if big else ("H", "I")
    inline = struct.calcsize(word)
    entries, values = [struct.pack(order + amount, len(tags))], b""
    first_value = len(mark + head + entries[0]) + len(tags) * (4 + 2 * inline) + inline
    for code, (kind, count_, raw) in sorted(tags.items()):
        entries.append(struct.pack(f"{order}HH{word}", code, kind, count_))
        if len(raw) <= inline:
            entries.append(raw.ljust(inline, b"\0"))
        else:
            entries.append(struct.pack(order + word, first_value + len(values)))
            values += raw + b"\0" * (len(raw) % 2)
    return b"".join([mark, head, *entries, bytes(inline), values])


# Words


def _count(pages: int) -> str:
    return f"{pages} page" if pages == 1 else f"{pages} pages"


def _shown(names: Iterable[str]) -> str:
    """The first names of a list."""
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + "..." * (len(listed) > _SHOWN)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _refuse(place: str, reason: str) -> NoReturn:
    raise ImageError(f"{place}: {reason}")
