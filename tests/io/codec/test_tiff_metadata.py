"""EXIF in TIFF, and what is written."""

import struct
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from codec_samples import exif, ramp, seen, small_files, tiff
from dfp_batch.errors import ImageError
from dfp_batch.io.codec import Frame, Metadata, decode, encode
from tiff_parts import RGB, URL


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_gets_into_a_tiff_and_out_again(order):
    block = exif(order=order)

    image = replace(Frame(ramp()), metadata=Metadata(exif=block))
    data = encode(image, "tiff")
    back = decode(data, URL)
    np.testing.assert_array_equal(back.pixels, image.pixels)
    for found in (seen(data).getexif(), _exif_of(back.metadata.exif)):
        assert (found[0x010F], found[0x0110]) == ("Makers", "Model 1")
        inner = found.get_ifd(0x8769)
        assert float(inner[0x829A]) == pytest.approx(0.004)
        assert inner[0x927C] == b"opaque maker note"
        assert (inner[0xA002], inner[0xA003]) == (17, 11)
        assert found.get_ifd(0x8825)[1] == "N"
    again = decode(encode(back, "tiff"), URL)
    assert again.metadata == back.metadata


def _exif_of(block):
    found = Image.Exif()
    found.load(b"Exif\0\0" + block)
    return found


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_gets_into_a_big_tiff_and_out_again(order, monkeypatch):
    monkeypatch.setattr("dfp_batch.io.codec.tiff.CLASSIC_BYTES", 10)
    block = exif(order=order)
    data = encode(Frame(ramp(), metadata=Metadata(exif=block)), "tiff")
    with tifffile.TiffFile(BytesIO(data)) as file:
        assert file.is_bigtiff
        tags = file.pages[0].tags
        assert tags["Model"].value == "Model 1"
        assert tags["ExifTag"].value["MakerNote"] == b"opaque maker note"
        assert tags["GPSTag"].value["GPSLatitudeRef"] == "N"
    back = decode(data, URL)
    np.testing.assert_array_equal(back.pixels, ramp())
    assert float(_exif_of(back.metadata.exif).get_ifd(0x8769)[0x829A]) == pytest.approx(0.004)


def test_the_description_of_a_stack_is_no_exif():
    for text in ("ImageJ=1.53t\nimages=1\n", '{"shape": [6, 8]}', "<?xml version='1.0'?><OME/>"):
        data = tiff(ramp(), description=text, software=False, **RGB)
        assert decode(data, URL).metadata.exif is None
    described = tiff(ramp(), description="A moth", software=False, **RGB)
    assert _exif_of(decode(described, URL).metadata.exif)[0x010E] == "A moth"


def test_a_written_tiff_is_small_and_plain():
    with tifffile.TiffFile(
        BytesIO(encode(Frame(np.zeros((90, 90, 3), np.uint16)), "tiff"))
    ) as file:
        page = file.pages[0]
        assert len(file.pages) == 1
        assert page.compression.name == "ADOBE_DEFLATE"
        assert not {270, 305} & {tag.code for tag in page.tags}


def test_a_ring_of_pages_ends():
    data = bytearray(small_files()["tiff lzw"])
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * count, at)
    try:
        assert decode(bytes(data), URL).pixels.ndim == 3
    except ImageError as error:
        assert str(error).startswith(URL)
