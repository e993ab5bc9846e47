"""When a photograph was taken, as its EXIF data say, to the fraction of a second they give."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import BinaryIO

import tifffile

from dfp_batch.errors import ImageError
from dfp_batch.io.codec import exif, reading, tiff_page

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_FORM = "%Y:%m:%d %H:%M:%S"
_DIGITS = re.compile(r"\d+")
# Time and fraction of a second: when it was taken, made digital, changed. Names are tifffile's.
_TIMES = (
    ((0x9003, "DateTimeOriginal"), (0x9291, "SubsecTimeOriginal")),
    ((0x9004, "DateTimeDigitized"), (0x9292, "SubsecTimeDigitized")),
    ((0x0132, "DateTime"), (0x9290, "SubsecTime")),
)
_Text = Callable[[int, str], str]


def taken_at(file: BinaryIO, url: str) -> datetime | None:
    """The time of an image, on the clock of its camera; None if it does not say.

    Of most files no more than the beginning is read.

    Args:
        file: Open for reading in any order.
        url: Where it comes from.

    Raises:
        ImageError: Damaged, or not an image that is read.
        StorageError: The store failed.
    """
    file.seek(0)
    if file.read(4).startswith(_TIFF):
        return _time(_texts_of_tiff(file, url))
    block = reading.metadata_of(file, url).exif
    return _time(_texts_of(block)) if block else None


def _time(text: _Text) -> datetime | None:
    for of_time, of_fraction in _TIMES:
        with suppress(ValueError):
            found = datetime.strptime(text(*of_time)[:19], _FORM)
            digits = _DIGITS.match(text(*of_fraction).strip())
            return found + timedelta(seconds=float(f"0.{digits[0]}") if digits else 0)
    return None


def _texts_of(block: bytes) -> _Text:
    fields = exif.fields_of(block)
    return lambda tag, _: _plain(fields[tag].data) if tag in fields else ""


def _texts_of_tiff(file: BinaryIO, url: str) -> _Text:
    file.seek(0)
    try:
        with tifffile.TiffFile(file, is_mmstack=False, is_ndtiff=False) as tiff:
            tags = tiff.pages.first.tags
            inner = tags.valueof(exif.EXIF)
            fields = inner if isinstance(inner, dict) else {}
            own = {tag: tags.valueof(tag) for pair in _TIMES for tag, _ in pair}
    except tiff_page.DAMAGE as error:
        raise ImageError(f"{url}: is not a whole TIFF ({error})") from error
    return lambda tag, name: _plain(fields.get(name) or own[tag])


def _plain(value: object) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return text.rstrip("\0 ") if isinstance(text, str) else ""
