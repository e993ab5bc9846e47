"""What the description of a stack says of all its pages; damage."""

import struct
from io import BytesIO

import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.errors import ImageError
from dfp_batch.io.codec.pages import holds_stack
from pages_parts import (
    LAYOUTS,
    URL,
    frames,
    images,
    ome_file,
    ome_plane,
    refusal,
    written,
    written_apart,
)

MEASURES = {
    "ome": ({"PhysicalSizeX": 0.325, "PhysicalSizeY": 0.5}, (0.325, 0.5)),
    "nanometres": (
        {"PhysicalSizeX": 65, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.065},
        (0.065, 0.065),
    ),
    "millimetres": (
        {
            "PhysicalSizeX": 0.001,
            "PhysicalSizeXUnit": "mm",
            "PhysicalSizeY": 0.002,
            "PhysicalSizeYUnit": "mm",
        },
        (1, 2),
    ),
    "no size": ({}, None),
    "one side": ({"PhysicalSizeX": 1}, None),
    "pixels": ({"PhysicalSizeX": 1, "PhysicalSizeXUnit": "pixel", "PhysicalSizeY": 1}, None),
    "zero": ({"PhysicalSizeX": 0, "PhysicalSizeY": 1}, None),
    "infinite": ({"PhysicalSizeX": "INF", "PhysicalSizeY": 1}, None),
}


@pytest.mark.parametrize("case", MEASURES)
def test_the_size_of_a_pixel_comes_from_ome(case):
    attributes, expected = MEASURES[case]
    file = ome_file([ome_plane(z, z) for z in range(3)], **attributes)
    [size] = {frame.metadata.pixel_size_um for frame in frames(file)}
    assert size == (expected and pytest.approx(expected))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("um", (0.2, 0.25)),
        ("micron", (0.2, 0.25)),
        ("\\u00B5m", (0.2, 0.25)),
        ("mm", (200, 250)),
        ("pixel", None),
        ("furlong", None),
    ],
)
def test_the_size_of_a_pixel_comes_from_imagej(unit, expected):
    options = {"resolution": (5, 4), "metadata": {"axes": "ZYX", "unit": unit}}
    [size] = {
        frame.metadata.pixel_size_um for frame in frames(written(images(), imagej=True, **options))
    }
    assert size == (expected and pytest.approx(expected))


@pytest.mark.parametrize(
    ("bits", "dtype", "white"),
    [(12, "uint16", 4095), (16, "uint16", None), (7, "uint8", None), (12, "float32", None)],
)
def test_significant_bits_of_ome_say_what_is_white(bits, dtype, white):
    pixels = images(dtype=dtype) // 16 if dtype == "uint16" else images(dtype=dtype)
    file = written(pixels, ome=True, metadata={"axes": "ZYX", "SignificantBits": bits})
    assert {frame.white for frame in frames(file)} == {white}


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, 3000, -1000, -100])
@pytest.mark.parametrize("layout", ["without description", "ome", "deflate"])
def test_a_truncated_stack_is_refused(layout, kept):
    data = written(images(), **LAYOUTS[layout]).getvalue()
    with pytest.raises(ImageError):
        frames(BytesIO(data[:kept]))


def test_a_ring_of_pages_is_refused():
    data = bytearray(written_apart(images(3)).getvalue())
    with tifffile.TiffFile(BytesIO(bytes(data))) as tiff:
        struct.pack_into("<I", data, tiff.pages.next_page_offset, tiff.pages[1].offset)
    message = "breaks off after 3 pages: truncated or damaged"
    assert refusal(BytesIO(bytes(data))) == message


WHOLE = {
    layout: written(images(3), **LAYOUTS[layout]).getvalue()
    for layout in ("without description", "ome", "imagej, one page for all", "deflated tiles")
} | {
    compression: written(images(3, "uint8"), compression=compression, tile=(16, 16)).getvalue()
    for compression in ("jpeg", "zstd", "lerc", "jpeg2000", "jpegxl")
}


@given(
    layout=st.sampled_from(sorted(WHOLE)), place=st.floats(0, 0.999), value=st.binary(min_size=1)
)
@settings(max_examples=300, deadline=None)
def test_damage_is_an_image_error_or_a_stack(layout, place, value):
    data = bytearray(WHOLE[layout])
    at = int(place * len(data))
    data[at : at + len(value)] = value
    for look in (frames, lambda file: holds_stack(file, URL)):
        try:
            look(BytesIO(bytes(data)))
        except ImageError as error:
            assert str(error).startswith(URL)
