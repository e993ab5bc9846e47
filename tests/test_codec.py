import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dfp_batch.codec import (
    Frame,
    decode,
    encode,
    extension_for,
    from_unit,
    thumbnail,
    to_unit,
)
from dfp_batch.errors import ConfigError, ImageError

URL = "s3://archive/lot 7/a.png"


def frame(dtype="uint8", channels=3, height=11, width=17) -> Frame:
    values = np.random.default_rng(7).random((height, width, channels))
    return from_unit(values.transpose(2, 0, 1), dtype)


def tiff(pixels, **options) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, pixels, **{"photometric": "minisblack", **options})
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    """An EXIF block with nothing but the orientation tag (0x0112, short)."""
    entry = struct.pack("<HHHIHH", 1, 0x0112, 3, 1, orientation, 0)
    return b"II*\0" + struct.pack("<I", 8) + entry + struct.pack("<I", 0)


def failure(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, URL)
    text = str(caught.value)
    assert text.startswith(f"{URL}: ")
    assert "\n" not in text
    return text.removeprefix(f"{URL}: ")


LOSSLESS = [
    (extension, dtype, channels)
    for extension, dtypes in {
        "png": ("uint8", "uint16"),
        "tiff": ("uint8", "uint16", "float32"),
    }.items()
    for dtype in dtypes
    for channels in (1, 3)
]


@pytest.mark.parametrize(("extension", "dtype", "channels"), LOSSLESS)
def test_lossless_formats_give_back_the_same_pixels(extension, dtype, channels):
    image = frame(dtype, channels)
    back = decode(encode(image, extension), URL)
    assert back.pixels.dtype == dtype
    np.testing.assert_array_equal(back.pixels, image.pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_size_channels_and_nearly_the_colour(channels):
    flat = Frame(np.full((16, 24, channels), [200, 90, 10][:channels], np.uint8))
    back = decode(encode(flat, "jpg"), URL)
    assert back.pixels.shape == flat.pixels.shape
    assert np.abs(back.pixels.astype(int) - flat.pixels).max() <= 3


def test_a_jpeg_of_higher_quality_is_larger_and_nearer():
    image = frame(height=40, width=40)
    files = [encode(image, "jpg", quality) for quality in (20, 70, 95)]
    assert encode(image, "jpg") == files[-1]
    assert sorted(files, key=len) == files
    errors = [np.abs(decode(data, URL).pixels.astype(int) - image.pixels).mean() for data in files]
    assert errors == sorted(errors, reverse=True)


def test_webp_is_read():
    flat = np.full((16, 24, 3), (10, 90, 200), np.uint8)
    data = cv2.imencode(".webp", flat, (cv2.IMWRITE_WEBP_QUALITY, 101))[1].tobytes()
    assert decode(data, URL).pixels[0, 0].tolist() == [200, 90, 10]


@pytest.mark.parametrize(
    ("extension", "dtype", "message"),
    [
        ("png", "float32", "png holds 8 or 16 bits per sample, got 32; use tiff"),
        ("jpg", "float32", "jpg holds 8 bits per sample, got 32; use tiff"),
        ("jpg", "uint16", "jpg holds 8 bits per sample, got 16; use png or tiff"),
        ("gif", "uint8", "extension must be one of png, tiff, jpg, got 'gif'"),
    ],
)
def test_a_format_that_cannot_hold_the_depth_is_refused(extension, dtype, message):
    with pytest.raises(ConfigError) as caught:
        encode(frame(dtype), extension)
    assert str(caught.value) == message


def test_an_image_too_large_for_the_format_is_refused():
    with pytest.raises(ImageError, match=r"^cannot encode 70000x1 px as jpg: "):
        encode(Frame(np.zeros((1, 70_000, 1), np.uint8)), "jpg")


@pytest.mark.parametrize(
    ("dtype", "extension", "bits"), [("uint8", "png", 8), ("uint16", "png", 16)]
)
def test_integers_are_kept_as_png(dtype, extension, bits):
    assert extension_for(frame(dtype)) == extension
    assert frame(dtype).bit_depth == bits


def test_floats_are_kept_as_tiff():
    assert extension_for(frame("float32")) == "tiff"
    assert frame("float32").bit_depth == 32


def test_size_is_width_by_height():
    assert frame(height=510, width=512).size == "512x510 px"


def test_red_is_the_first_channel():
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 2] = 255  # OpenCV's order
    data = cv2.imencode(".png", red)[1].tobytes()
    assert decode(data, URL).pixels[0, 0].tolist() == [255, 0, 0]


def test_exif_orientation_of_a_jpeg_is_applied_once():
    block = b"Exif\0\0" + exif(6)
    plain = encode(Frame(np.zeros((10, 30, 1), np.uint8)), "jpg")
    app1 = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    assert decode(plain[:2] + app1 + plain[2:], URL).size == "10x30 px"


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_big_endian_tiff_is_read(dtype):
    image = frame(dtype)
    data = tiff(image.pixels, photometric="rgb", byteorder=">")
    np.testing.assert_array_equal(decode(data, URL).pixels, image.pixels)


def test_float64_becomes_float32():
    values = np.random.default_rng(3).random((6, 8))
    pixels = decode(tiff(values), URL).pixels
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels[:, :, 0], values.astype(np.float32))


def test_a_reduced_copy_after_the_image_does_no_harm():
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(frame().pixels, photometric="rgb")
        writer.write(frame().pixels[::2, ::2], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(decode(buffer.getvalue(), URL).pixels, frame().pixels)


def test_a_reduced_copy_before_the_image_is_refused():
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(frame().pixels[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(frame().pixels, photometric="rgb")
    assert failure(buffer.getvalue()).startswith("holds a thumbnail before the image")


GREY = np.full((6, 8), 0.5, np.float32)
RGB = {"photometric": "rgb"}
REFUSED = {
    "empty": (b"", "is empty (0 bytes), expected an image"),
    "text": (
        b"hello world",
        "does not start like a JPEG, PNG, TIFF or WebP image: b'hello wo'..., 11 bytes",
    ),
    "gif": (b"GIF89a\x01\0\x01\0\x80\0\0", "does not start like a JPEG, PNG, TIFF or WebP image"),
    "png with alpha": (
        cv2.imencode(".png", np.zeros((4, 4, 4), np.uint8))[1].tobytes(),
        "has 4 channels (alpha), expected 1 (grey) or 3 (colour); flatten it first",
    ),
    "webp with alpha": (
        cv2.imencode(".webp", np.zeros((4, 4, 4), np.uint8))[1].tobytes(),
        "has 4 channels (alpha), expected 1 (grey) or 3 (colour); flatten it first",
    ),
    "tiff, 2 channels": (
        tiff(np.zeros((6, 8, 2), np.uint8), planarconfig="contig"),
        "has 2 channels, expected 1 (grey) or 3 (colour); flatten it first",
    ),
    "tiff, 4 channels": (
        tiff(np.zeros((6, 8, 4), np.uint16), **RGB),
        "has 4 channels, expected 1 (grey) or 3 (colour); flatten it first",
    ),
    "tiff, 7 pages": (
        tiff(np.zeros((7, 6, 8), np.uint8)),
        "holds 7 pages, expected one image; save each page as its own file",
    ),
    "tiff, separate planes": (
        tiff(np.zeros((3, 6, 8), np.uint16), planarconfig="separate", **RGB),
        "stores its colours as separate planes, expected interleaved RGB; save it again",
    ),
    "tiff, white is zero": (
        tiff(np.zeros((6, 8), np.uint16), photometric="miniswhite"),
        "holds MINISWHITE pixels, expected grey (black is 0) or RGB; convert it",
    ),
    "tiff, int32": (
        tiff(np.zeros((6, 8), np.int32)),
        "holds 32-bit int32 samples, expected uint8, uint16 or float32; convert it",
    ),
    "tiff, float16": (
        tiff(GREY.astype(np.float16)),
        "holds 16-bit float16 samples, expected uint8, uint16 or float32; convert it",
    ),
    "tiff, one bit": (
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
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_with_the_reason(case):
    data, message = REFUSED[case]
    assert failure(data).startswith(message)


WHOLE = {
    "JPEG": encode(frame(), "jpg"),
    "PNG": encode(frame(), "png"),
    "TIFF": encode(frame("uint16"), "tiff"),
    "WebP": cv2.imencode(".webp", frame().pixels)[1].tobytes(),
}


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("kind", WHOLE)
def test_a_truncated_image_is_refused(kind, kept):
    data = WHOLE[kind][: max(12, int(kept * len(WHOLE[kind])))]
    message = failure(data)
    start = f"starts like a {kind} but does not decode ({len(data)} bytes): truncated or damaged"
    assert message.startswith(start)
    assert message.endswith("expected a whole JPEG, PNG, TIFF or WebP image")


@given(kind=st.sampled_from(sorted(WHOLE)), place=st.floats(0, 0.999), value=st.binary(min_size=1))
@settings(max_examples=300, deadline=None)
def test_damage_is_an_image_error_or_an_image(kind, place, value):
    data = bytearray(WHOLE[kind])
    at = int(place * len(data))
    data[at : at + len(value)] = value
    try:
        assert decode(bytes(data), URL).pixels.ndim == 3
    except ImageError as error:
        assert str(error).startswith(URL)


def test_a_png_that_promises_too_many_pixels_is_refused():
    data = bytearray(WHOLE["PNG"])
    data[16:24] = struct.pack(">II", 100_000, 100_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    assert failure(bytes(data)).startswith("OpenCV cannot decode this PNG: ")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_value_survives_the_unit_range(dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, -1, 1)
    unit = to_unit(Frame(values))
    assert unit.dtype == np.float32
    assert (unit.min(), unit.max()) == (0, 1)
    np.testing.assert_array_equal(from_unit(unit, dtype).pixels, values)


SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3]))
FRAMES = SHAPES.flatmap(
    lambda shape: st.one_of(
        hnp.arrays(np.uint8, shape),
        hnp.arrays(np.uint16, shape),
        hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)),
    )
)


@given(FRAMES)
@settings(deadline=None)
def test_unit_range_and_lossless_file_round_trip(pixels):
    image = Frame(pixels)
    unit = from_unit(to_unit(image), pixels.dtype)
    np.testing.assert_array_equal(unit.pixels, pixels)
    back = decode(encode(image, extension_for(image)), URL)
    np.testing.assert_array_equal(back.pixels, pixels)


def test_from_unit_clips_and_rounds_to_nearest():
    image = np.array([-1, 0, 0.4 / 255, 0.6 / 255, 1, 2], np.float32).reshape(1, 1, -1)
    assert from_unit(image, "uint8").pixels.ravel().tolist() == [0, 0, 0, 1, 255, 255]


def test_from_unit_refuses_another_dtype():
    with pytest.raises(ConfigError, match="pixels must be uint8, uint16, float32, got int16"):
        from_unit(np.zeros((1, 2, 2), np.float32), np.int16)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnail_is_8_bit_and_keeps_the_brightness(dtype, channels):
    flat = from_unit(np.full((channels, 60, 90), 0.6, np.float32), dtype)
    small = thumbnail(flat, longest_px=30)
    assert small.pixels.shape == (20, 30, channels)
    assert small.pixels.dtype == np.uint8
    assert set(small.pixels.ravel().tolist()) == {153}


def test_thumbnail_never_enlarges():
    np.testing.assert_array_equal(thumbnail(frame()).pixels, frame().pixels)


def test_thumbnail_of_a_thin_line_keeps_one_pixel():
    assert thumbnail(frame(height=1, width=900), longest_px=100).size == "100x1 px"
