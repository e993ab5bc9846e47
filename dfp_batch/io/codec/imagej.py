"""TIFFs of ImageJ that hold fewer images than their description names: those that are there.

ImageJ writes all pixels of a stack after its first page, and the other pages behind them. A file
that was cut off, or whose last images never came, still has whole images.
"""

from collections.abc import Sequence

from tifffile import COMPRESSION, TiffFile, TiffPage

from dfp_batch.io.codec import stack_layout
from dfp_batch.io.codec.stack_layout import LEAST_PAGES, Plane

_AXES = ("slices", "frames", "channels")


def promised_images(tiff: TiffFile, axis: str) -> int:
    """Images of a stack of one channel that the description of ImageJ names; 0 is none of that.

    Args:
        tiff: The file.
        axis: Z, or T, that is the depth as well.
    """
    said = tiff.imagej_metadata if tiff.is_imagej else None
    if not said:
        return 0
    depths = {"slices", "frames"} if axis == "T" else {"slices"}
    long = [name for name in _AXES if int(said.get(name, 1)) > 1]
    if len(long) > 1 or not depths.issuperset(long):
        return 0
    return int(said.get("images", 1))


def planes_that_are_there(
    tiff: TiffFile, pages: Sequence[TiffPage], following: int, promised: int
) -> list[Plane]:
    """The first images of such a stack, as far as their pixels are in the file.

    Args:
        tiff: The file.
        pages: Those of its pages that can be read.
        following: Where the first page says that the next one is; 0 is nowhere.
        promised: As ``promised_images``.

    Returns:
        At least two images, or none.
    """
    if promised < LEAST_PAGES or not pages:
        return []
    first, size_bytes = pages[0], tiff.filehandle.size
    start, end = first.dataoffsets[0], first.dataoffsets[0] + promised * first.nbytes
    if _is_in_one_piece(first) and (following == 0 or following >= end):
        count = min(promised, (size_bytes - start) // first.nbytes)
        planes = [Plane(0, start + k * first.nbytes) for k in range(count)]
    else:
        planes = _whole_pages(pages, size_bytes)
    return planes if len(planes) >= LEAST_PAGES else []


def _is_in_one_piece(page: TiffPage) -> bool:
    """Whether the pixels of a page are bytes that follow each other."""
    ends = [sum(piece) for piece in zip(page.dataoffsets, page.databytecounts, strict=True)]
    is_plain = page.compression == COMPRESSION.NONE and sum(page.databytecounts) == page.nbytes
    return is_plain and ends[:-1] == list(page.dataoffsets[1:])


def _whole_pages(pages: Sequence[TiffPage], size_bytes: int) -> list[Plane]:
    """Pages up to the first whose pixels are missing; none if they differ."""
    found = [stack_layout.directory_of(page, size_bytes) for page in pages]
    if len({one.kind for one in found}) > 1:
        return []
    count = next((k for k, one in enumerate(found) if one.problem), len(found))
    return [Plane(page.index) for page in pages[:count]]
