"""Names of image files: which endings are looked at, and what the formats are called."""

import re
from collections.abc import Iterable

from natsort import natsorted

FORMATS = "JPEG, PNG, TIFF, WebP, BMP, PNM, GIF, JPEG 2000, JPEG XL, HEIC or RAW"
"""What is read, for messages."""

IMAGE_ENDINGS = (
    "jpg", "jpeg", "png", "tif", "tiff", "webp", "bmp", "dib", "pbm", "pgm", "ppm", "pnm", "pam",
    "gif", "jp2", "j2k", "jpx", "jxl", "heic", "heif", "hif",
)  # fmt: skip
"""Endings of the names of files that hold one image, without the dot; TIFF may hold a stack."""

RAW_ENDINGS = (
    "3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "iiq", "kdc", "mef", "mos",
    "mrw", "nef", "nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f",
)  # fmt: skip
"""Likewise, of camera RAW files."""

# What holds a whole stack: a TIFF may. One of several in a file or a folder may be named as well.
STACK_NAME = re.compile(
    r"(?P<name>.+?)((\.ome)?\.tiff?|(\.ome)?\.zarr(/[^/]+)*|\.(nd2|czi|lif)(#\d{1,6})?)/?",
    re.IGNORECASE,
)
STACK_ENDINGS = ("tif", "tiff", "nd2", "czi", "lif", "zarr")
"""Endings of such names, without the dot."""

_KINDS = {"tif": "tiff", "tiff": "tiff", "zarr": "zarr", "nd2": "nd2", "czi": "czi", "lif": "lif"}
_PART = re.compile(r"(?<=\.(?:nd2|czi|lif))#(\d{1,6})(?=$|\?)", re.IGNORECASE)
_RAW = re.compile(rf".+\.({'|'.join(RAW_ENDINGS)})", re.IGNORECASE)
_IMAGE = re.compile(rf".+\.({'|'.join(IMAGE_ENDINGS)})", re.IGNORECASE)


def is_image_name(name: str) -> bool:
    """Whether a file with this name is taken for an image."""
    return _IMAGE.fullmatch(name) is not None


def is_raw_name(name: str) -> bool:
    """Whether a file with this name is taken for a camera RAW file."""
    return _RAW.fullmatch(name) is not None


def stack_kind(name: str) -> str | None:
    """tiff, zarr, nd2, czi or lif, as the name of a stack in one file says; else None."""
    if STACK_NAME.fullmatch(name) is None:
        return None
    whole = re.split(r"(?<=\.zarr)/", cut_part(name)[0], maxsplit=1, flags=re.IGNORECASE)[0]
    return _KINDS.get(whole.rstrip("/").rpartition(".")[2].lower())


def cut_part(url: str) -> tuple[str, int | None]:
    """The URL of a file, and which of the stacks in it is meant: ``a.lif#2``; None if it says none.

    Only files of microscopes hold several: in the name of another, ``#`` is a letter like others.
    """
    found = _PART.search(url)
    return (_PART.sub("", url), int(found[1])) if found else (url, None)


def image_names(names: Iterable[str]) -> list[str]:
    """Those of images that are not hidden, in natural order (1, 2, 10)."""
    return natsorted(name for name in names if name[:1] != "." and is_image_name(name))
