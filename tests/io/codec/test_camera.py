"""The name of camera, lens and aperture, by EXIF data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL.TiffImagePlugin import IFDRational

from codec_samples import exif, pillow, ramp
from dfp_batch.io import codec
from dfp_batch.io.codec.camera import camera_name


def block_of(make="", model="", lens="", aperture=None, order="<"):
    block = PillowImage.Exif()
    block.endian = order
    inner = block.get_ifd(0x8769)
    for own, tag, value in ((block, 0x010F, make), (block, 0x0110, model), (inner, 0xA434, lens)):
        if value:
            own[tag] = value
    if aperture is not None:
        inner[0x829D] = IFDRational(*aperture.as_integer_ratio())
    return block.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (("Canon", "Canon EOS R5", "RF100mm F2.8", 8.0), "Canon EOS R5, RF100mm F2.8, f/8"),
        (("NIKON CORPORATION", "NIKON Z 7", "", 5.6), "NIKON Z 7, f/5.6"),
        (("SONY", "ILCE-7M3", "FE 90mm", None), "SONY ILCE-7M3, FE 90mm"),
        (("", "", "Laowa 100mm", 0.0), "Laowa 100mm"),
        (("Olympus", "", "", 11.0), "Olympus, f/11"),
        (("", "", "", 2.8), "f/2.8"),
        (("", "", "", None), ""),
        (("A\nB", "C\x1b[31m D", "", None), "A B C [31m D"),
        (("", "M" * 500, "", None), "M" * 80),
    ],
)
def test_what_is_known_is_named(fields, name, order):
    assert camera_name(block_of(*fields, order=order)) == name


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_frames_of_each_format_say_it(kind):
    block = block_of("Canon", "Canon EOS R5", "RF100mm F2.8", 8.0)
    options = {"exif": b"Exif\0\0" + block if kind in ("WEBP", "TIFF") else block}
    frame = codec.decode(pillow(ramp(), kind, **options), "x")
    assert camera_name(frame.metadata.exif) == "Canon EOS R5, RF100mm F2.8, f/8"


def test_images_that_do_not_say():
    assert camera_name(None) == camera_name(b"damaged") == ""
    assert camera_name(exif()) == "Makers Model 1"


@given(st.binary(max_size=40), st.integers(0, 10**9))
def test_damaged_blocks_give_one_printable_line(cut, seed):
    block = bytearray(block_of("Canon", "Canon EOS R5", "RF100mm F2.8", 8.0))
    at = int(np.random.default_rng(seed).integers(len(block)))
    block[at : at + len(cut)] = cut
    name = camera_name(bytes(block))
    assert name.isprintable() and len(name) < 300
