"""Names of image files: which endings are looked at, and what the formats are called."""

import re
from collections.abc import Iterable

from natsort import natsorted

FORMATS = "JPEG, PNG, TIFF, WebP, BMP, PNM, GIF, JPEG 2000, JPEG XL or HEIC"
"""What is read, for messages."""

IMAGE_ENDINGS = (
    "jpg", "jpeg", "png", "tif", "tiff", "webp", "bmp", "dib", "pbm", "pgm", "ppm", "pnm", "pam",
    "gif", "jp2", "j2k", "jpx", "jxl", "heic", "heif", "hif",
)  # fmt: skip
"""Endings of the names of files that hold one image, without the dot; TIFF may hold a stack."""

_IMAGE = re.compile(rf".+\.({'|'.join(IMAGE_ENDINGS)})", re.IGNORECASE)


def is_image_name(name: str) -> bool:
    """Whether a file with this name is taken for an image."""
    return _IMAGE.fullmatch(name) is not None


def image_names(names: Iterable[str]) -> list[str]:
    """Those of images that are not hidden, in natural order (1, 2, 10)."""
    return natsorted(name for name in names if name[:1] != "." and is_image_name(name))
