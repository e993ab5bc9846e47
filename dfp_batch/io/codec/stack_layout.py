"""Which images of a TIFF make its stack, and in which order.

That follows the description in the file (OME-XML, ImageJ, tifffile); without one it is the order of
the pages. Copies at a lower resolution are passed over. Page numbers count from 0.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from tifffile import TiffFile, TiffPage, TiffPageSeries

from dfp_batch.errors import ImageError
from dfp_batch.io.codec.header import RefusedError, check_size

P = TypeVar("P")  # whatever stands for an image

LEAST_PAGES = 2
TRUNCATED = "truncated or damaged"
_PLAIN = {"uniform", "generic"}  # series that tifffile makes of pages without a description
_STACK_AXES = {"Z", "I", "Q"}  # depth; pages of which the file says no more
_EXPECTED = "expected Z (Y, X), with C or RGB"
_AXES = {
    "T": "a time series",
    "C": "several channels",
    "R": "several positions",
    "P": "several positions",
    "M": "a mosaic",
}
_SHOWN = 3


@dataclass(frozen=True)
class Directory:
    """What one page of the file says of itself; ``problem`` is why it cannot be decoded."""

    kind: str
    aside: bool
    problem: str | None


@dataclass(frozen=True)
class Plane:
    """Where one image of the stack is: a page, or bytes within a page that holds many images."""

    page: int
    offset: int | None = None


def directory_of(page: TiffPage, file_bytes: int) -> Directory:
    """Look at one page as far as that needs no pixels; the rest is for the decoder."""
    channels, dtype = page.samplesperpixel, page.dtype.name if page.dtype else "unknown"
    size = f"{page.imagewidth}x{page.imagelength} px"
    samples = f"{channels} channel{'s' * (channels > 1)} of {page.bitspersample}-bit {dtype}"
    problem = _size_problem(page) or _extent_problem(page, file_bytes)
    return Directory(f"{size}, {samples}", is_aside(page), problem)


def is_aside(page: TiffPage) -> bool:
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
        return f"ends at byte {end}, the file has {file_bytes} bytes: {TRUNCATED}"
    return None


def planes_of(
    tiff: TiffFile, directories: Sequence[Directory], url: str, axis: str
) -> list[list[Plane]]:
    """The images along the depth: as described in the file, else in the order of the pages.

    Args:
        tiff: The file.
        directories: What its pages say of themselves.
        url: Where it comes from.
        axis: Z, or T, that is the depth as well.

    Returns:
        The N images of every channel.
    """
    series = [one for one in tiff.series if not one.keyframe.is_reduced]
    _check_description(tiff, series, url)
    described = tiff.is_ome or any(map(_lengths, series))
    if not described or series[0].kind in _PLAIN:
        return [[Plane(index) for index, page in enumerate(directories) if not page.aside]]
    if len(series) > 1:
        texts = shown(map(_axes_text, series))
        refuse(url, f"holds {len(series)} images or positions, {texts}; expected one stack")
    return _series_planes(series[0], len(directories), url, axis)


def _check_description(tiff: TiffFile, series: Sequence[TiffPageSeries], url: str) -> None:
    """Refuse a file that tifffile reads as plain pages because its description is wrong."""
    described = tiff.is_ome or tiff.is_imagej
    if not series or (described and any(one.kind in _PLAIN for one in series)):
        refuse(url, f"does not hold the pages that its description names: {TRUNCATED}")


def _series_planes(series: TiffPageSeries, n_pages: int, url: str, axis: str) -> list[list[Plane]]:
    lengths = _lengths(series)
    problem = axes_problem(lengths, series.keyframe.samplesperpixel, axis)
    if problem:
        refuse(url, f"has axes {_axes_text(series)}: {problem}")
    planes = _listed_planes(series, n_pages, url)
    if "C" not in dict(lengths):
        return [planes]
    return by_channel(planes, [name for name, _ in lengths], [length for _, length in lengths])


def by_channel(planes: Sequence[P], axes: Sequence[str], lengths: Sequence[int]) -> list[list[P]]:
    """Images in the order of the axes C and depth, whichever comes first, channel by channel.

    Args:
        planes: All images.
        axes: Two names, one of them "C".
        lengths: Of these axes.
    """
    _, second = lengths
    rows = [list(planes[at : at + second]) for at in range(0, len(planes), second)]
    return rows if axes[0] == "C" else [list(column) for column in zip(*rows, strict=True)]


def axes_problem(lengths: Sequence[tuple[str, int]], samples: int, axis: str) -> str | None:
    """Why such axes are no stack, and what to do; None if they are.

    Args:
        lengths: By name, those above 1, without Y, X and the samples of a pixel.
        samples: Of a pixel.
        axis: Z, or T, that is the depth as well.
    """
    names = [name for name, _ in lengths]
    others = [name for name in names if name not in _STACK_AXES | {axis}]
    depths = [name for name in names if name not in others]
    if "T" in others and not depths:
        return f"{_AXES['T']}; {_EXPECTED}; if T is the depth, --stack-axis T"
    wrong = next((name for name in others if name != "C"), None)
    if wrong:
        return f"{_AXES.get(wrong, f'an axis {wrong}')}; {_EXPECTED}"
    if len(depths) > 1 or names.count("C") > 1:
        return f"several stacks; {_EXPECTED}"
    if others and (not depths or samples > 1):
        return f"several channels; {_EXPECTED}"
    return None


def _listed_planes(series: TiffPageSeries, n_pages: int, url: str) -> list[Plane]:
    n = _n_images(series)
    if len(series) < n or (n_pages < n and series.dataoffset is not None):
        return _planes_of_page(series, n, url)
    pages = list(series)
    missing = [str(k) for k, page in enumerate(pages) if page is None]
    if missing:
        named = f"{count_text(n)} that its description names"
        refuse(url, f"lacks {len(missing)} of {named}: {shown(missing)}")
    return [Plane(page.index) for page in pages if page is not None]


def _planes_of_page(series: TiffPageSeries, n: int, url: str) -> list[Plane]:
    """Images that follow each other in one page, as ImageJ writes stacks above 4 GB."""
    page, start = series.keyframe, series.dataoffset
    if start is None or start + n * page.nbytes > page.parent.filehandle.size:
        refuse(url, f"holds less than the {count_text(n)} that its description names: truncated?")
    return [Plane(page.index, start + k * page.nbytes) for k in range(n)]


def _lengths(series: TiffPageSeries) -> list[tuple[str, int]]:
    """Length of each axis that is neither of one image nor 1, e.g. ``[("Z", 12)]``."""
    axes = zip(series.axes, series.shape, strict=True)
    return [(axis, length) for axis, length in axes if axis not in "YXS" and length > 1]


def _n_images(series: TiffPageSeries) -> int:
    return math.prod(length for _, length in _lengths(series))


def _axes_text(series: TiffPageSeries) -> str:
    """Axes for people, ``ZYX (12, 512, 512)``; those of length 1 are left out."""
    axes = zip(series.axes, series.shape, strict=True)
    return axes_text([(axis, length) for axis, length in axes if axis in "YX" or length > 1])


def axes_text(lengths: Sequence[tuple[str, int]]) -> str:
    """Axes for people."""
    names = "".join(name for name, _ in lengths)
    return f"{names} ({', '.join(str(length) for _, length in lengths)})"


def check_planes(
    channels: Sequence[Sequence[Plane]], directories: Sequence[Directory], url: str
) -> None:
    """Refuse what is no stack, and images that cannot be decoded or differ from the first."""
    planes = channels[0]
    if len(planes) < LEAST_PAGES:
        needed = "a pair needs 2 or more sources, or one TIFF with 2 or more pages"
        refuse(url, f"holds {count_text(len(planes))}: {needed}")
    first = directories[planes[0].page]
    places = [(k, plane.page) for planes in channels for k, plane in enumerate(planes)]
    for k, index in places:
        page = directories[index]
        if page.problem:
            refuse(f"{url} page {k}", page.problem)
        if page.kind != first.kind:
            alike = "all pages of a stack must be alike"
            refuse(url, f"page {k} is {page.kind}, page 0 is {first.kind}; {alike}")


def images_in_one_page(tiff: TiffFile) -> int:
    """Images in a file that has one page."""
    series = tiff.series[0]
    return _n_images(series) if series.dataoffset is not None else 1


def count_text(pages: int) -> str:
    """Pages for people, ``1 page``."""
    return f"{pages} page" if pages == 1 else f"{pages} pages"


def shown(names: Iterable[str]) -> str:
    """The first names of a list."""
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + "..." * (len(listed) > _SHOWN)


def refuse(place: str, reason: str) -> NoReturn:
    """Say that a stack cannot be used.

    Raises:
        ImageError: Always.
    """
    raise ImageError(f"{place}: {reason}")
