"""TIFF in every compression, and strips that do not fill their place."""

import subprocess
import sys
import zlib
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
import tifffile

from codec_samples import lzw, pillow, plain_tiff, ramp, tiff
from dfp_batch.io.codec import decode
from tiff_parts import LAYOUTS, RGB, URL, failure


def packed(pixels, compression, inner=None, **options):
    """One strip or tile of this compression, lossless, as tifffile writes it."""
    arguments = {"lossless": True} if compression == "jpegxl" else {}
    arguments |= {"compression": inner} if inner else {}
    shape = {"photometric": "rgb" if pixels.ndim == 3 else "minisblack"}
    shape |= {} if "tile" in options else {"rowsperstrip": len(pixels)}
    return tiff(pixels, compression=compression, compressionargs=arguments, **(shape | options))


def with_strip(data, strip):
    """The TIFF with another content of its only strip."""
    file = BytesIO(data + bytes(len(data) % 2) + strip)
    with tifffile.TiffFile(file, mode="r+") as tiff_:
        tiff_.pages[0].tags[273].overwrite(len(file.getvalue()) - len(strip))
        tiff_.pages[0].tags[279].overwrite(len(strip))
    return file.getvalue()


def strip_of(data):
    with tifffile.TiffFile(BytesIO(data)) as file:
        [at], [size] = file.pages[0].dataoffsets, file.pages[0].databytecounts
        return data[at : at + size]


ZEROS = bytes(36_000_000)


OVERFULL = {
    "zlib": lambda: zlib.compress(ZEROS, 1),
    "zstd": lambda: imagecodecs.zstd_encode(ZEROS),
    "packbits": lambda: b"\x81\0" * 300_000,
    "jpeg": lambda: pillow(np.zeros((6000, 6000, 1), np.uint8), "JPEG"),
    "jpeg2000": lambda: strip_of(packed(np.zeros((6000, 6000), np.uint8), "jpeg2000")),
    "jpegxl": lambda: strip_of(packed(np.zeros((6000, 6000), np.uint8), "jpegxl")),
    "lerc": lambda: strip_of(packed(np.zeros((6000, 6000), np.uint8), "lerc")),
    "lerc in deflate": lambda: zlib.compress(ZEROS, 1),
    "lerc in zstd": lambda: imagecodecs.zstd_encode(ZEROS),
    "lerc in deflate that is not said": lambda: zlib.compress(ZEROS, 1),
}


PEAK = """
import resource, sys
from dfp_batch.errors import ImageError
from dfp_batch.io.codec import decode
whole, data = (open(name, "rb").read() for name in sys.argv[1:])
decode(whole, "loads the library")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(data, "bomb")
except ImageError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", OVERFULL)
def test_a_strip_larger_than_its_place_is_refused_before_it_takes_memory(name, tmp_path):
    compression, _, inner = name.removesuffix(" that is not said").partition(" in ")
    whole = packed(ramp(200, 300, 1)[..., 0], compression, "" if "said" in name else inner)
    (tmp_path / "whole").write_bytes(whole)
    (tmp_path / "bomb").write_bytes(with_strip(whole, OVERFULL[name]()))
    names = tmp_path / "whole", tmp_path / "bomb"
    child = subprocess.run([sys.executable, "-c", PEAK, *names], capture_output=True, check=False)
    message, grown_kb = child.stdout.decode().splitlines()
    assert "does not decode" in message
    assert int(grown_kb) < 20_000  # of the 36,000 that it would fill


def test_lzw_stops_where_its_place_is_full():
    data = plain_tiff([lzw(bytes(60_000))], 30, 20, 8, 1, "<", {259: 5})
    assert decode(data, URL).pixels.shape == (20, 30, 1)


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_a_last_strip_may_be_as_high_as_the_others(compression):
    """As some programs write it."""
    pixels = ramp(24, 17, 3, "uint16")
    options = {"photometric": "rgb", "compression": compression, "rowsperstrip": 8}
    data = tiff(pixels, predictor=True, **options)
    lower = BytesIO(data)
    with tifffile.TiffFile(lower, mode="r+") as file:
        file.pages[0].tags[257].overwrite(21)
    np.testing.assert_array_equal(decode(lower.getvalue(), URL).pixels, pixels[:21])


NEW = {
    "ZSTD": ("zstd", None, ["uint8", "uint16", "float32"]),
    "LERC": ("lerc", None, ["uint8", "uint16", "float32"]),
    "LERC in deflate": ("lerc", "deflate", ["uint8", "uint16", "float32"]),
    "LERC in ZSTD": ("lerc", "zstd", ["uint8", "uint16", "float32"]),
    "JPEG 2000": ("jpeg2000", None, ["uint8", "uint16"]),
    "JPEG XL": ("jpegxl", None, ["uint8", "uint16", "float32"]),
}


CASES = [(name, dtype) for name, (_, _, dtypes) in NEW.items() for dtype in dtypes]


@pytest.mark.parametrize(("name", "dtype"), CASES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_of_imagecodecs_are_read(name, dtype, channels, layout):
    compression, inner, _ = NEW[name]
    pixels = ramp(37, 45, channels, dtype)
    options = LAYOUTS[layout] | ({"extrasamples": ("unassalpha",)} if channels == 4 else {})
    planes = np.moveaxis(pixels, 2, 0) if "planarconfig" in options else pixels
    image = decode(packed(np.squeeze(planes), compression, inner, **options), URL)
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels[..., :3])
    if channels == 4:
        np.testing.assert_array_equal(image.alpha, pixels[..., 3])


@pytest.mark.parametrize("compression", ["zlib", "packbits", "zstd", "lerc", "jpeg2000", "jpegxl"])
@pytest.mark.parametrize("kept", [0, 0.3, 0.9, 0.99])
def test_a_strip_that_ends_early_is_refused(compression, kept):
    """Not filled up with black."""
    whole = packed(ramp(40, 60, 1, "uint16")[..., 0], compression)
    strip = strip_of(whole)
    assert "does not decode" in failure(with_strip(whole, strip[: int(kept * len(strip))]))


def test_jpeg_2000_of_other_channels_than_the_page_is_refused():
    whole = packed(ramp(20, 30, 1)[..., 0], "jpeg2000")
    strip = imagecodecs.jpeg2k_encode(ramp(20, 30, 4), 0)
    assert "does not decode" in failure(with_strip(whole, strip))


def test_a_jp2_file_in_a_strip_is_read():
    pixels = ramp(20, 30, 3, "uint16")
    whole = packed(pixels, "jpeg2000")
    strip = imagecodecs.jpeg2k_encode(pixels, 0, codecformat="jp2")
    np.testing.assert_array_equal(decode(with_strip(whole, strip), URL).pixels, pixels)


def test_lerc_that_leaves_out_pixels_is_refused():
    pixels = ramp(20, 30, 1)[..., 0]
    strip = imagecodecs.lerc_encode(pixels, masks=np.arange(600).reshape(20, 30) != 7)
    assert "does not decode" in failure(with_strip(packed(pixels, "lerc"), strip))


@pytest.mark.parametrize("code", [273, 279])
def test_a_strip_that_was_never_written_is_not_black(code):
    data = BytesIO(tiff(ramp(), rowsperstrip=4, **RGB))
    with tifffile.TiffFile(data, mode="r+") as file:
        values = list(file.pages[0].tags[code].value)
        file.pages[0].tags[code].overwrite([*values[:-1], 0])
    assert "does not decode" in failure(data.getvalue())


@pytest.mark.parametrize("planes", [0, 3])
def test_an_unknown_order_of_planes_is_refused(planes):
    data = plain_tiff([bytes(144)], 8, 6, 8, 3, "<", {284: planes})
    assert failure(data).startswith("stores bits or planes in an unusual order; save it again")


def test_differences_of_floats_as_whole_numbers_are_undone():
    """As GDAL writes them."""
    pixels = ramp(5, 7, 1, "float32")[..., 0]
    steps = np.diff(pixels.view(np.uint32), axis=1, prepend=np.uint32(0))
    tags = {259: 8, 317: 2, 339: 3}
    data = plain_tiff([zlib.compress(steps.astype("<u4").tobytes())], 7, 5, 32, 1, "<", tags)
    np.testing.assert_array_equal(decode(data, URL).pixels[..., 0], pixels)
