"""When a photograph was taken, by its EXIF data."""

from datetime import datetime
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from codec_samples import exif, exif_at, pillow, ramp
from dfp_batch.errors import ImageError
from dfp_batch.io.codec.taken import taken_at
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.storage import write_bytes
from dfp_batch.io.urls import join

TIME = datetime(2026, 5, 1, 10, 11, 12, 340_000)


def taken(data):
    return taken_at(BytesIO(data), "x")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("tag", [0x9003, 0x9004, 0x0132])
def test_each_time_in_each_format(kind, tag):
    block = exif_at(TIME, tag)
    options = {"exif": b"Exif\0\0" + block if kind in ("WEBP", "TIFF") else block}
    assert taken(pillow(ramp(), kind, **options)) == TIME


def test_the_time_it_was_taken_goes_before_others():
    block = PillowImage.Exif()
    block[0x0132] = "2027:01:01 00:00:00"
    block.get_ifd(0x8769)[0x9003] = "2026:05:01 10:11:12"
    block.get_ifd(0x8769)[0x9004] = "2028:01:01 00:00:00"
    data = pillow(ramp(), "JPEG", exif=block.tobytes().removeprefix(b"Exif\0\0"))
    assert taken(data) == TIME.replace(microsecond=0)


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "    :  :     :  :  ", "", "yesterday"])
def test_what_is_no_time_is_none(text):
    block = PillowImage.Exif()
    block.get_ifd(0x8769)[0x9003] = text
    data = pillow(ramp(), "JPEG", exif=block.tobytes().removeprefix(b"Exif\0\0"))
    assert taken(data) is None


def test_images_that_do_not_say():
    assert taken(pillow(ramp(), "JPEG")) is None
    assert taken(pillow(ramp(), "PNG", exif=exif())) is None
    assert taken(pillow(ramp(), "TIFF")) is None


@pytest.mark.parametrize("fraction", ["5", "50", "500   ", "500\0"])
def test_fractions_of_any_length(fraction):
    block = PillowImage.Exif()
    block.get_ifd(0x8769)[0x9003] = "2026:05:01 10:11:12"
    block.get_ifd(0x8769)[0x9291] = fraction
    data = pillow(ramp(), "JPEG", exif=block.tobytes().removeprefix(b"Exif\0\0"))
    assert taken(data) == TIME.replace(microsecond=500_000)


def test_what_is_no_image_is_refused():
    with pytest.raises(ImageError, match="does not start like"):
        taken(b"no image")
    with pytest.raises(ImageError, match="x: is not a whole TIFF"):
        taken(b"II*\0\x08\0\0\0\xff")


def test_the_beginning_of_a_large_file_is_enough(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    url = join(str(tmp_path), "x.tif")
    write_bytes(url, pillow(pixels, "JPEG", exif=exif_at(TIME), quality=100)[:200_000])
    with open_seekable(url) as file:
        assert taken_at(file, url) == TIME


def test_a_page_of_a_large_tiff_is_not_read():
    buffer = BytesIO()
    tifffile.imwrite(buffer, np.zeros((2000, 2000), np.uint8), datetime=TIME)
    reads = []

    class Noting(BytesIO):
        def read(self, count=-1):
            reads.append(count)
            return super().read(count)

    assert taken_at(Noting(buffer.getvalue()), "x") == TIME.replace(microsecond=0)
    assert max(reads) < 10_000
