import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from codec_samples import (
    exif,
    lzw,
    lzw_tiff,
    packed_tiff,
    pillow,
    plain_tiff,
    ramp,
    seen,
    small_files,
    tiff,
)
from dfp_batch.errors import ImageError
from dfp_batch.io.codec import Frame, Metadata, decode, encode

URL = "s3://archive/stack.tif"
RGB = {"photometric": "rgb"}


def failure(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, URL)
    text = str(caught.value)
    assert text.startswith(f"{URL}: ")
    assert "\n" not in text
    return text.removeprefix(f"{URL}: ")


LAYOUTS = {
    "strips": {"rowsperstrip": 4},
    "tiles": {"tile": (16, 32)},
    "one strip": {"rowsperstrip": 100},
    "separate planes": {"planarconfig": "separate", "rowsperstrip": 4},
    "separate tiles": {"planarconfig": "separate", "tile": (16, 16)},
}


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


def test_a_big_tiff_is_read():
    pixels = ramp(dtype="uint16")
    np.testing.assert_array_equal(decode(tiff(pixels, bigtiff=True, **RGB), URL).pixels, pixels)


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
    "white is zero": (
        tiff(np.zeros((6, 8), np.uint16), photometric="miniswhite"),
        "holds MINISWHITE pixels, expected grey (black is 0) or RGB; convert it",
    ),
    "CIELAB": (
        tiff(np.zeros((6, 8, 3), np.uint8), photometric="cielab"),
        "holds CIELAB pixels, expected grey (black is 0) or RGB; convert it",
    ),
    "int32": (
        tiff(np.zeros((6, 8), np.int32)),
        "holds 32-bit int32 samples, expected uint8, uint16 or float32; convert it",
    ),
    "float16": (
        tiff(GREY.astype(np.float16)),
        "holds 16-bit float16 samples, expected uint8, uint16 or float32; convert it",
    ),
    "one bit": (
        tiff(np.zeros((6, 8), bool)),
        "holds 1-bit bool samples, expected uint8, uint16 or float32; convert it",
    ),
    "nan": (
        tiff(np.where(np.eye(6, 8), np.nan, GREY).astype(np.float32)),
        "6 of 48 pixels are NaN or infinite, expected finite",
    ),
    "infinity": (
        tiff(np.where(np.eye(6, 8), np.inf, GREY).astype(np.float32)),
        "6 of 48 pixels are NaN or infinite, expected finite",
    ),
    "range": (
        tiff(np.where(np.eye(6, 8), 255, -0.25).astype(np.float32)),
        "float samples must be in [0, 1], found -0.25 to 255; rescale them",
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
    monkeypatch.setattr("dfp_batch.io.codec.tiff._CLASSIC_BYTES", 10)
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
