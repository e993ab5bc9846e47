"""TIFF in every layout."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from codec_samples import lzw, lzw_tiff, packed_tiff, pillow, plain_tiff, ramp, tiff
from dfp_batch.errors import ConfigError, ImageError
from dfp_batch.io.codec import (
    Frame,
    decode,
    encode,
    extension_for,
    from_unit,
    inspect,
    thumbnail,
    to_unit,
)
from tiff_parts import LAYOUTS, RGB, URL, failure


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_layout_is_read(layout, compression, dtype, order):
    pixels = ramp(37, 45, 3, dtype)
    options = LAYOUTS[layout] | {"compression": compression, "byteorder": order} | RGB
    planes = np.moveaxis(pixels, 2, 0) if "planarconfig" in options else pixels
    image = decode(tiff(planes, **options), URL)
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_horizontal_differences_are_undone(dtype, channels, tile):
    pixels = ramp(20, 23, channels, dtype)
    options = {"photometric": "rgb" if channels == 3 else "minisblack"}
    data = tiff(np.squeeze(pixels), compression="zlib", predictor=True, tile=tile, **options)
    np.testing.assert_array_equal(decode(data, URL).pixels, pixels)


def test_differences_of_floats_are_undone():
    pixels = ramp(5, 7, 3, "float32")
    planes = pixels.astype(">f4").view(np.uint8).reshape(5, 21, 4).transpose(0, 2, 1)
    steps = planes.reshape(5, -1, 3).copy()
    steps[:, 1:] -= steps[:, :-1].copy()
    tags = {259: 8, 317: 3, 339: 3}

    data = plain_tiff([zlib.compress(steps.tobytes())], 7, 5, 32, 3, "<", tags)
    np.testing.assert_array_equal(decode(data, URL).pixels, pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
def test_lzw_is_read(dtype, channels, predictor, order):
    pixels = ramp(20, 23, channels, dtype)
    data = lzw_tiff(pixels, predictor, order)
    np.testing.assert_array_equal(decode(data, URL).pixels, pixels)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_files_of_libtiff_are_read(compression, channels):
    pixels = ramp(70, 90, channels)
    image = decode(pillow(pixels, "TIFF", compression=compression), URL)
    np.testing.assert_array_equal(image.pixels, pixels[..., :3])
    if channels == 4:
        np.testing.assert_array_equal(image.alpha, pixels[..., 3])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_in_a_tiff_is_read_and_turned_once(mode):
    smooth = Image.radial_gradient("L").resize((40, 24)).convert(mode)
    data = pillow(smooth, "TIFF", compression="jpeg", tiffinfo={274: 6})
    image = decode(data, URL)
    expected = np.rot90(np.atleast_3d(np.asarray(smooth)), -1)
    assert image.pixels.shape == expected.shape
    assert np.abs(image.pixels.astype(int) - expected).max() < 12


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("order", ["<", ">"])
def test_packed_samples_are_read_with_their_white(bits, order):
    values = ramp(5, 7, 1, "uint16")[..., 0] >> (16 - bits)
    image = decode(packed_tiff(values, bits), URL)
    assert image.white == 2**bits - 1
    np.testing.assert_array_equal(image.pixels[..., 0], values)


@pytest.mark.parametrize(
    ("maximum", "white"), [(1023, 1023), (4095, 4095), (16383, 16383), (65535, 65535), (3977, None)]
)
def test_the_maximum_sample_value_says_white_if_it_is_one_of_a_depth(maximum, white):
    data = tiff(ramp(dtype="uint16")[..., 0], extratags=[(281, "H", 1, maximum, True)])
    assert decode(data, URL).white == white


def test_white_is_written_as_the_maximum_sample_value():
    image = Frame(ramp(dtype="uint16") >> 4, white=4095)
    with tifffile.TiffFile(BytesIO(encode(image, "tiff"))) as file:
        assert file.pages[0].tags[281].value == (4095, 4095, 4095)
    with tifffile.TiffFile(BytesIO(encode(Frame(ramp(dtype="uint16")), "tiff"))) as file:
        assert 281 not in file.pages[0].tags


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_colours_multiplied_by_alpha_are_divided_by_it(dtype):
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    share = np.array([0, 0.25, 0.5, 1])
    alpha = (share * top).astype(dtype)
    colours = np.stack([share * 0.8 * top, share * 0.2 * top, share * top], 1)
    stored = np.column_stack([np.rint(colours) if top > 1 else colours, alpha]).astype(dtype)
    image = decode(tiff(stored[None], extrasamples=("assocalpha",), **RGB), URL)
    np.testing.assert_array_equal(image.alpha[0], alpha)
    assert image.pixels[0, 0].tolist() == [0, 0, 0]
    near = image.pixels[0, 1:].astype(float) / top
    np.testing.assert_allclose(near, [[0.8, 0.2, 1]] * 3, atol=3 / 255)


def test_alpha_beside_the_colours_is_left_alone():
    pixels = ramp(channels=4, dtype="uint16")
    image = decode(tiff(pixels, extrasamples=("unassalpha",), **RGB), URL)
    np.testing.assert_array_equal(image.pixels, pixels[..., :3])
    np.testing.assert_array_equal(image.alpha, pixels[..., 3])


def test_a_palette_is_looked_up():
    image = Image.fromarray(ramp()).quantize(16)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(pillow(image, "TIFF"), URL).pixels, expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_fewer_bits_is_looked_up(bits, scale):
    rng = np.random.default_rng(bits)
    indices = rng.integers(0, 2**bits, (6, 9)).astype(np.uint8)
    colours = rng.integers(0, 256, (3, 2**bits)).astype(np.uint16)
    data = plain_tiff([packed_rows(indices, bits)], 9, 6, bits, 1, tags={262: 3, 320: 0})
    data = with_colour_map(data, colours * scale)
    np.testing.assert_array_equal(decode(data, URL).pixels, colours.T[indices])


def packed_rows(indices, bits):
    rows = ["".join(f"{value:0{bits}b}" for value in row) for row in indices]
    whole = [row + "0" * (-len(row) % 8) for row in rows]
    return b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in whole)


def with_colour_map(data, colours):
    """The TIFF with its empty field of a colour map filled."""
    place = data.index(struct.pack("<HHII", 320, 4, 1, 0))
    entry = struct.pack("<HHII", 320, 3, colours.size, len(data))
    return data[:place] + entry + data[place + 12 :] + colours.astype("<u2").tobytes()


@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint16", 16), ("uint16", 12)])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_where_white_is_zero_it_is_turned_round(dtype, bits, compression):
    pixels = ramp(channels=1, dtype=dtype)[..., 0] >> (16 - bits if dtype == "uint16" else 0)
    top = 2**bits - 1
    tags = [(281, "H", 1, top, True)]
    options = {"photometric": "miniswhite", "compression": compression, "extratags": tags}
    image = decode(tiff(pixels, **options), URL)
    np.testing.assert_array_equal(image.pixels[..., 0], top - pixels)


def test_alpha_stays_where_white_is_zero():
    pixels = ramp(channels=2)
    options = {"photometric": "miniswhite", "extrasamples": ("unassalpha",)}
    image = decode(tiff(pixels, planarconfig="contig", **options), URL)
    np.testing.assert_array_equal(image.pixels[..., 0], 255 - pixels[..., 0])
    np.testing.assert_array_equal(image.alpha, pixels[..., 1])


def test_a_big_tiff_is_read():
    pixels = ramp(dtype="uint16")
    np.testing.assert_array_equal(decode(tiff(pixels, bigtiff=True, **RGB), URL).pixels, pixels)


MEASURED = {
    dtype: np.random.default_rng(5).integers(-90, 90, (6, 8)).astype(dtype)
    for dtype in ("int8", "int16", "int32", "float32")
} | {"uint32": np.arange(48, dtype=np.uint32).reshape(6, 8) * 80_000_000}


@pytest.mark.parametrize("dtype", MEASURED)
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}])
def test_measured_values_are_read_as_they_are(dtype, options):
    data = tiff(MEASURED[dtype], **options)
    image = decode(data, URL)
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels[..., 0], MEASURED[dtype])
    assert inspect(data, URL).kind == image.kind
    with pytest.raises(ImageError, match=r"must be (in \[0, 1\]|uint8, uint16 or float32), found"):
        to_unit(image)


@pytest.mark.parametrize("dtype", MEASURED)
def test_measured_values_come_back_from_their_span(dtype):
    values = MEASURED[dtype]
    image = Frame(values[..., None], span=(float(values.min()), float(values.max())))
    unit = to_unit(image)
    assert (unit.min(), unit.max()) == (0, 1)
    again = from_unit(unit, dtype, span=image.span)
    largest = 256 if dtype == "uint32" else 1e-4 if dtype == "float32" else 0  # of 32 bits, 24
    assert np.abs(again.pixels[..., 0].astype(float) - values).max() <= largest
    back = decode(encode(again, "tiff"), URL)
    assert back.pixels.dtype == dtype
    np.testing.assert_array_equal(back.pixels, again.pixels)


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_measured_values_need_a_tiff(extension):
    image = Frame(MEASURED["int16"][..., None], span=(0, 1))
    with pytest.raises(ConfigError, match=rf"^{extension} holds .*, got int16; use tiff$"):
        encode(image, extension)
    assert extension_for(image) == "tiff"


def test_measured_values_are_seen_in_a_thumbnail():
    values = np.linspace(-1000, 3000, 64).astype(np.int16).reshape(1, 64, 1).repeat(8, 0)
    small = thumbnail(Frame(values, span=(-1000.0, 3000.0)), 32)
    assert small.pixels.dtype == np.uint8
    assert small.pixels[0, 0, 0] < 5
    assert small.pixels[0, -1, 0] > 250


def test_half_floats_become_float32():
    values = np.random.default_rng(3).random((6, 8)).astype(np.float16)
    image = decode(tiff(values), URL)
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels[..., 0], values.astype(np.float32))


def test_float64_becomes_float32():
    values = np.random.default_rng(3).random((6, 8))
    pixels = decode(tiff(values), URL).pixels
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels[:, :, 0], values.astype(np.float32))


def written(*pages) -> bytes:
    """Pages of (pixels, subfiletype)."""
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for pixels, kind in pages:
            writer.write(pixels, photometric="rgb", subfiletype=kind, metadata=None)
    return buffer.getvalue()


def test_a_reduced_copy_after_the_image_does_no_harm():
    pixels = ramp()
    data = written((pixels, 0), (pixels[::2, ::2], 1))
    np.testing.assert_array_equal(decode(data, URL).pixels, pixels)


def test_a_reduced_copy_before_the_image_is_refused():
    pixels = ramp()
    data = written((pixels[::2, ::2], 1), (pixels, 0))
    assert failure(data).startswith("holds a thumbnail before the image")


def test_the_only_page_is_the_image_whatever_it_calls_itself():
    np.testing.assert_array_equal(decode(written((ramp(), 1)), URL).pixels, ramp())


GREY = np.full((6, 8), 0.5, np.float32)


REFUSED = {
    "2 channels": (
        tiff(np.zeros((6, 8, 2), np.uint8), planarconfig="contig"),
        "has 2 channels, the last of which the file does not call alpha; expected 1 (grey) or 3",
    ),
    "5 channels": (
        tiff(np.zeros((6, 8, 5), np.uint16), **RGB),
        "has 5 channels, expected 1 (grey) or 3 (colour), with or without alpha; flatten it first",
    ),
    "7 pages": (
        tiff(np.zeros((7, 6, 8), np.uint8)),
        "holds 7 pages, expected one image; a stack in one file must be the only source of its "
        "pair, else save each page as its own file",
    ),
    "floats of which white is zero": (
        tiff(GREY, photometric="miniswhite"),
        "holds 32-bit float32 samples where white is 0, expected uint8 or uint16; convert it",
    ),
    "CIELAB": (
        tiff(np.zeros((6, 8, 3), np.uint8), photometric="cielab"),
        "holds CIELAB pixels, expected grey or RGB; convert it",
    ),
    "int64": (
        tiff(np.zeros((6, 8), np.int64)),
        "holds 64-bit int64 samples, expected 8, 16 or 32 bits; convert it",
    ),
    "one bit": (
        tiff(np.zeros((6, 8), bool)),
        "holds 1-bit bool samples, expected 8, 16 or 32 bits; convert it",
    ),
    "int16 with alpha": (
        tiff(np.zeros((6, 8, 2), np.int16), planarconfig="contig", extrasamples=("unassalpha",)),
        "holds int16 samples with alpha, expected none; save it without",
    ),
    "nan": (
        tiff(np.where(np.eye(6, 8), np.nan, GREY).astype(np.float32)),
        "6 of 48 pixels are NaN or infinite, expected finite",
    ),
    "infinity": (
        tiff(np.where(np.eye(6, 8), np.inf, GREY).astype(np.float32)),
        "6 of 48 pixels are NaN or infinite, expected finite",
    ),
    "nearly infinite": (
        tiff(np.full((6, 8), 2e38, np.float32)),
        "float samples must be below 8.50706e+37, found 2e+38",
    ),
    "compression": (
        plain_tiff([bytes(48)], 8, 6, 8, 1, "<", {259: 34925}),
        "is compressed by LZMA, expected none, LZW, deflate, packbits, JPEG, ZSTD, LERC, JPEG 2000 "
        "or JPEG XL; save it again",
    ),
    "order of bits": (
        plain_tiff([bytes(48)], 8, 6, 8, 1, "<", {266: 2}),
        "stores bits or planes in an unusual order; save it again",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_with_the_reason(case):
    data, message = REFUSED[case]
    assert failure(data).startswith(message)


BROKEN = {
    "a strip that inflates to less": plain_tiff(
        [zlib.compress(bytes(40))], 8, 6, 8, 1, "<", {259: 8}
    ),
    "a wrong checksum": plain_tiff(
        [zlib.compress(bytes(48))[:-1] + b"x"], 8, 6, 8, 1, "<", {259: 8}
    ),
    "LZW that ends early": plain_tiff([lzw(bytes(40))], 8, 6, 8, 1, "<", {259: 5}),
    "too few strips": plain_tiff([bytes(24)], 8, 6, 8, 1, "<", {278: 3}),
    "a strip beyond the end": tiff(ramp(40, 40, 1)[..., 0])[:900],
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_strip_that_does_not_fill_its_place_is_refused(case):
    assert "does not decode" in failure(BROKEN[case])
