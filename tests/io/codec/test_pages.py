"""The pages of a stack in one file, decoded."""

from io import BytesIO

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from pages_parts import GREY, LAYOUTS, RGB, assert_holds, frames, images, written, written_apart


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_grey_stack_in_every_layout(layout, dtype):
    pixels = images(dtype=dtype)
    assert_holds(written(pixels, **LAYOUTS[layout]), pixels)


COLOUR_LAYOUTS = {
    "plain": {},
    "deflated tiles": {"compression": "zlib", "tile": (16, 16), "predictor": True},
    "ome": {"ome": True, "metadata": {"axes": "ZYXS"}},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYXS"}},
    "imagej, one page for all": {
        "imagej": True,
        "truncate": True,
        "metadata": {"axes": "ZYXS"},
    },
}


@pytest.mark.parametrize("layout", COLOUR_LAYOUTS)
def test_a_colour_stack(layout):
    pixels = images(dtype="uint8", channels=3)
    assert_holds(written(pixels, **COLOUR_LAYOUTS[layout]), pixels)


@pytest.mark.parametrize("compression", ["zstd", "lerc", "jpeg2000", "jpegxl"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_stack_in_every_compression_of_imagecodecs(compression, channels):
    pixels = images(channels=channels)
    arguments = {"lossless": True} if compression == "jpegxl" else {}
    options = {"compression": compression, "compressionargs": arguments, "tile": (16, 16)}
    assert_holds(written(pixels, **options), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_lzw_as_opencv_writes_it(channels):
    pixels = images(dtype="uint8", channels=channels)
    reversed_ = [np.ascontiguousarray(page[..., ::-1]) for page in pixels]
    pages = reversed_ if channels == 3 else list(pixels)
    done, data = cv2.imencodemulti(".tiff", pages, (cv2.IMWRITE_TIFF_COMPRESSION, 5))
    assert done
    assert_holds(BytesIO(data.tobytes()), pixels)


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib", "tile": (16, 16)}, {"ome": True}, {"truncate": True}],
)
def test_separate_colour_planes_are_put_together(options):
    pixels = images(dtype="uint8", channels=3)
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 1))
    metadata = {"metadata": {"axes": "ZSYX"}} if "ome" in options else {}
    file = written(planes, planarconfig="separate", **{**RGB, **options, **metadata})
    assert_holds(file, pixels)


def test_jpeg_pages_are_nearly_the_same():
    flat = [np.full((32, 48, 3), (200, 90, level), np.uint8) for level in (10, 60)]
    pages = [np.ascontiguousarray(page[..., ::-1]) for page in flat]
    data = cv2.imencodemulti(".tiff", pages, (cv2.IMWRITE_TIFF_COMPRESSION, 7))[1]
    found = [frame.pixels.astype(int) for frame in frames(BytesIO(data.tobytes()))]
    assert np.abs(np.subtract(found, flat)).max() <= 6


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_what_a_page_says_of_its_pixels_is_kept(compression):
    tags = [(274, "H", 1, 6), (34675, "B", 5, b"a icc"), (281, "H", 1, 4095)]
    file = written_apart(images(3) // 16, compression=compression, extratags=tags)
    for frame, stored in zip(frames(file), images(3) // 16, strict=True):
        np.testing.assert_array_equal(frame.pixels[..., 0], np.rot90(stored, -1))
        assert frame.metadata.icc == b"a icc"
        assert frame.white == 4095


@pytest.mark.parametrize("bigtiff", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_a_page_says_of_the_photograph_is_kept(bigtiff, order):
    tags = [(271, "s", 0, "Makers", True), (33432, "s", 0, "(c) 2026", True)]
    file = BytesIO()
    with tifffile.TiffWriter(file, bigtiff=bigtiff, byteorder=order) as writer:
        for page in images(2):
            writer.write(page, metadata=None, extratags=tags, software="A camera", **GREY)
    for frame in frames(file):
        found = Image.Exif()
        found.load(b"Exif\0\0" + frame.metadata.exif)
        assert dict(found) == {271: "Makers", 305: "A camera", 33432: "(c) 2026"}
        assert frame.metadata.exif[:2] == {"<": b"II", ">": b"MM"}[order]


def test_the_size_of_a_pixel_turns_with_the_image():
    tags = [(274, "H", 1, 6)]
    options = {"resolution": (5, 4), "metadata": {"axes": "ZYX", "unit": "um"}}
    [frame, *_] = frames(written(images(), imagej=True, extratags=tags, **options))
    assert frame.metadata.pixel_size_um == pytest.approx((0.25, 0.2))


def test_the_resolution_of_plain_pages_is_kept():
    file = written_apart(images(3), resolution=(1000, 500), resolutionunit="centimeter")
    [size] = {frame.metadata.pixel_size_um for frame in frames(file)}
    assert size == pytest.approx((10, 20))


def test_alpha_is_kept_apart():
    pixels = np.concatenate([images(3, "uint8", channels=3), images(3, "uint8")[..., None]], -1)
    file = written(pixels, photometric="rgb", extrasamples=["unassalpha"])
    for frame, page in zip(frames(file), pixels, strict=True):
        np.testing.assert_array_equal(frame.pixels, page[..., :3])
        np.testing.assert_array_equal(frame.alpha, page[..., 3])


def test_float64_becomes_float32():
    pixels = images(dtype="float64")
    found = [frame.pixels[..., 0] for frame in frames(written(pixels))]
    np.testing.assert_array_equal(found, pixels.astype(np.float32))


def test_many_small_pages():
    pixels = images(120, "uint8", 16, 16)
    assert_holds(written_apart(pixels), pixels)
