"""BMP, PNM, GIF, JPEG 2000, JPEG XL and HEIC: what is read of them."""

import struct
import sys
from io import BytesIO

import cv2
import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from codec_samples import (
    ICC,
    box,
    exif,
    heic,
    jp2,
    jpeg_xl,
    jxl_container,
    netpbm,
    pillow,
    ramp,
)
from dfp_batch.errors import ImageError
from dfp_batch.io.codec import decode, inspect
from dfp_batch.io.codec.names import IMAGE_ENDINGS, is_image_name

URL = "a.bmp"


def failure(data):
    with pytest.raises(ImageError) as caught:
        decode(data, URL)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{URL}: ")


# BMP and GIF

BITMAPS = {
    "colour": ramp(),
    "grey": ramp(channels=1),
    "palette": Image.fromarray(ramp()).quantize(16),
    "two levels": Image.fromarray(ramp(channels=1)[..., 0]).convert("1"),
}


@pytest.mark.parametrize("name", BITMAPS)
def test_every_kind_of_bmp_is_read(name):
    source = BITMAPS[name]
    image = decode(pillow(source, "BMP", dpi=(254, 508)), URL)
    expected = source
    if isinstance(source, Image.Image):
        expected = np.atleast_3d(np.asarray(source.convert("RGB" if name == "palette" else "L")))
    np.testing.assert_array_equal(image.pixels, expected[..., :3])
    assert image.alpha is None
    assert image.metadata.pixel_size_um == pytest.approx((100, 50), rel=1e-3)


def test_alpha_of_a_bmp_is_kept():
    rgba = ramp(channels=4)
    image = decode(cv2.imencode(".bmp", rgba)[1].tobytes(), URL)
    np.testing.assert_array_equal(image.pixels, rgba[..., 2::-1])
    np.testing.assert_array_equal(image.alpha, rgba[..., 3])


def test_a_bmp_of_runs_is_read():
    rows = b"".join(bytes([5, value, 7, 9, 0, 0]) for value in (1, 2, 3))
    palette = b"".join(bytes([index, 0, 255 - index, 0]) for index in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, 12, 3, 1, 8, 1, len(rows), 0, 0, 0, 0)
    start = 14 + len(head) + len(palette)
    data = struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + head + palette + rows
    assert decode(data, URL).pixels[:, 0, 2].tolist() == [3, 2, 1]  # the last row comes first
    assert decode(data, URL).pixels[0, 5].tolist() == [246, 0, 9]


@pytest.mark.parametrize("transparency", [None, 3])
def test_a_gif_of_one_frame_is_read(transparency):
    source = Image.fromarray(ramp()).quantize(16)
    options = {} if transparency is None else {"transparency": transparency}
    image = decode(pillow(source, "GIF", **options), URL)
    visible = np.asarray(source) != transparency
    np.testing.assert_array_equal(image.pixels[visible], np.asarray(source.convert("RGB"))[visible])
    assert (image.alpha is None) == (transparency is None)
    if image.alpha is not None:
        np.testing.assert_array_equal(image.alpha, visible * np.uint8(255))


def test_a_gif_of_several_frames_is_refused():
    frames = [Image.fromarray(ramp(seed=seed)[..., 0]) for seed in range(3)]
    data = pillow(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert failure(data).startswith("holds 3 frames of an animation, expected one image")


# PNM


@pytest.mark.parametrize("kind", [2, 3, 5, 6, 7])
@pytest.mark.parametrize(
    ("top", "white"), [(255, None), (1023, 1023), (4095, 4095), (65535, 65535)]
)
def test_pnm_is_read_with_its_white(kind, top, white):
    channels = {2: 1, 5: 1, 3: 3, 6: 3, 7: 4}[kind]
    samples = np.random.default_rng(1).integers(0, top + 1, (5, 7, channels))
    image = decode(netpbm(kind, samples, top), URL)
    assert image.white == white
    assert image.pixels.dtype == (np.uint8 if white is None else np.uint16)
    np.testing.assert_array_equal(image.pixels, samples[..., :3])
    if channels == 4:
        np.testing.assert_array_equal(image.alpha, samples[..., 3])


@pytest.mark.parametrize("kind", [1, 4])
def test_in_a_bitmap_one_is_black(kind):
    bits = np.random.default_rng(1).integers(0, 2, (5, 11, 1))
    image = decode(netpbm(kind, bits, 1), URL)
    np.testing.assert_array_equal(image.pixels, 255 - 255 * bits)


@given(top=st.integers(1, 65535), value=st.integers(0, 65535))
def test_a_top_that_is_no_bit_depth_is_scaled(top, value):
    samples = np.full((1, 2, 1), min(value, top))
    image = decode(netpbm(5, samples, top), URL)
    full = 255 if top <= 255 else image.white
    assert abs(int(image.pixels[0, 0, 0]) / full - min(value, top) / top) <= 0.5001 / full


def test_comments_and_any_white_space_stand_in_a_pnm():
    data = b"P3 # made\n# by hand\n2\t1 #size\n255\n1 2 3 # red\n 4 5 6\n"
    assert decode(data, URL).pixels.tolist() == [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"P5 2 2 255\n123", "starts like a PNM but does not decode (14 bytes)"),
        (b"P5 2 2 255\n" + bytes(8), "holds 2 frames of an animation, expected one image"),
        (b"P2 2 1 255\n1 x 3", "starts like a PNM but does not decode"),
        (b"P2 2 1 99\n1 100", "starts like a PNM but does not decode"),
        (b"P5 2 2 70000\n" + bytes(8), "has samples up to 70000, expected at most 65535"),
        (b"P5 90000 90000 255\n", "is 90000x90000 px, expected at most"),
        (b"P5 " + b"\n" * 70_000, "starts like a PNM but does not decode"),
        (netpbm(7, np.zeros((2, 2, 3)), 255).replace(b"DEPTH 3", b"DEPTH 5"), "has 5 channels"),
    ],
    ids=["short", "two images", "text", "above the top", "top", "size", "no header", "channels"],
)
def test_what_a_pnm_cannot_be_is_refused(data, message):
    assert failure(data).startswith(message)


# JPEG 2000


@pytest.mark.parametrize("form", ["jp2", "j2k"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint16", 12), ("uint16", 16)])
def test_jpeg_2000_is_read(form, channels, dtype, bits):
    samples = ramp(channels=channels, dtype=dtype) >> (8 * samples_size(dtype) - bits)
    image = decode(jp2(samples, form, bitspersample=bits), URL)
    np.testing.assert_array_equal(image.pixels, samples)
    assert image.white == (None if bits == 8 else 2**bits - 1)


def samples_size(dtype):
    return np.dtype(dtype).itemsize


def test_alpha_of_jpeg_2000_is_kept():
    rgba = ramp(channels=4)
    image = decode(pillow(rgba, "JPEG2000", irreversible=False), URL)
    np.testing.assert_array_equal(image.pixels, rgba[..., :3])
    np.testing.assert_array_equal(image.alpha, rgba[..., 3])


def with_boxes(data, header=b"", after=b""):
    """A JP2 with more boxes in its header, and after it."""
    at = data.index(b"jp2h") - 4
    (length,) = struct.unpack_from(">I", data, at)
    longer = struct.pack(">I", length + len(header)) + data[at + 4 : at + length] + header
    return data[:at] + longer + after + data[at + length :]


def test_profile_exif_and_pixel_size_of_jpeg_2000_are_kept():
    resolution = box(b"res ", box(b"resc", struct.pack(">4H2b", 2, 1, 1, 10, 4, 6)))
    block = box(b"uuid", b"JpgTiffExif->JP2" + exif(6).replace(b"\x1a\x01", b"\x1b\x01"))
    header = box(b"colr", b"\2\0\0" + ICC) + resolution
    image = decode(with_boxes(jp2(ramp()), header, block), URL)
    assert image.metadata.icc == ICC
    assert image.metadata.exif is not None
    assert image.pixels.shape == (17, 11, 3)  # turned
    assert decode(with_boxes(jp2(ramp()), resolution), URL).metadata.pixel_size_um == (10, 50)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (ramp(channels=4), "has 4 channels, expected 1 (grey) or 3 (colour)"),
        (ramp().astype(np.int16), "holds signed 16-bit samples (JPEG 2000), expected 8 to 16"),
    ],
)
def test_what_jpeg_2000_cannot_be_is_refused(samples, message):
    assert failure(jp2(samples)).startswith(message)


def test_a_palette_in_jpeg_2000_is_refused():
    assert failure(with_boxes(jp2(ramp()), box(b"pclr", bytes(8)))).startswith("holds a palette")


# JPEG XL


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_jpeg_xl_is_read(container, channels, dtype):
    samples = ramp(40, 57, channels=channels, dtype=dtype)
    image = decode(jpeg_xl(samples, usecontainer=container), URL)
    np.testing.assert_array_equal(image.pixels, samples[..., :3])
    assert (image.alpha is not None) == (channels == 4)
    if channels == 4:
        np.testing.assert_array_equal(image.alpha, samples[..., 3])


@pytest.mark.parametrize("size", [(8, 16), (240, 256), (256, 256), (264, 8), (11, 17), (512, 600)])
def test_every_form_of_the_size_of_jpeg_xl_is_understood(size):
    data = imagecodecs.jpegxl_encode(np.zeros(size, np.uint8), effort=1)
    found = inspect(data, URL)
    assert (found.height, found.width) == size


def test_exif_of_jpeg_xl_is_kept_and_its_orientation_is_not_applied():
    data = jxl_container(jpeg_xl(ramp()), b"\0\0\0\6Exif\0\0" + exif(6))
    image = decode(data, URL)
    assert image.pixels.shape == (11, 17, 3)  # the codestream says that it is upright
    assert b"Makers" in image.metadata.exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_jpeg_xl_is_applied_once(orientation):
    source = Image.fromarray(ramp(24, 16))
    block = Image.Exif()
    block[0x0112] = orientation
    source.info["exif"] = block.tobytes()
    expected = ImageOps.exif_transpose(source)
    data = with_orientation(jpeg_xl(ramp(24, 16)), orientation)
    np.testing.assert_array_equal(decode(data, URL).pixels, np.asarray(expected))
    assert (inspect(data, URL).width, inspect(data, URL).height) == expected.size


def with_orientation(data, orientation):
    """A codestream of 16x24 px with an orientation among its first bits.

    Signature, size (small, no known ratio), "not all default", "no extra fields"; then depth,
    channels and colours; then extensions, "default transform" and zeros to the next byte.
    """
    bits = "".join(f"{byte:08b}"[::-1] for byte in data)
    size, metadata, rest, pixels = bits[:31], bits[32:40], bits[40:43], bits[48:]
    assert (metadata, rest) == ("00010001", "001")
    fields = "1" + f"{orientation - 1:03b}"[::-1] + "000"
    tone_mapping = "1"  # as usual; stands there only with extra fields
    head = size + fields + metadata + tone_mapping + rest
    made = head + "0" * (-len(head) % 8) + pixels
    return bytes(int(made[k : k + 8][::-1], 2) for k in range(0, len(made), 8))


# HEIC


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_heic_is_read_and_turned_once(mode, channels):
    smooth = np.asarray(Image.linear_gradient("L").resize((48, 32)))[..., None]
    samples = np.repeat(smooth, channels, 2)
    image = decode(heic(samples, mode, exif=exif(6), icc_profile=ICC), URL)
    assert image.pixels.shape == (48, 32, min(channels, 3))
    assert np.abs(image.pixels.astype(int) - np.rot90(smooth, -1)).max() <= 3
    assert (image.alpha is not None) == (channels == 4)
    assert b"Makers" in image.metadata.exif
    assert image.metadata.icc == ICC


def test_heic_of_10_bits_keeps_its_white():
    ramp_16 = np.linspace(0, 65535, 48).astype(np.uint16)[None, :, None].repeat(32, 0).repeat(3, 2)
    image = decode(heic(ramp_16, "RGB;16"), URL)
    assert image.white == 1023
    assert np.abs(image.pixels / 1023 - ramp_16 / 65535).max() < 0.01


def test_heic_of_several_images_is_refused():
    data = heic(ramp(32, 48), "RGB", append=ramp(32, 48, seed=2))
    assert failure(data).startswith("holds 2 frames of an animation, expected one image")


def test_without_its_reader_a_heic_says_what_to_install(monkeypatch):
    data = heic(ramp(32, 48), "RGB")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    expected = "is a HEIC image, which needs the package pillow-heif; pip install 'dfp-batch[heic]'"
    assert failure(data) == expected


# Names


@pytest.mark.parametrize("ending", [*IMAGE_ENDINGS, "JPG", "Heic"])
def test_images_are_known_by_name(ending):
    assert is_image_name(f"a.b.{ending}")
    assert not is_image_name(f".{ending}")
    assert not is_image_name(f"a.{ending}x")


def test_the_first_frame_of_a_file_in_memory_is_not_needed_to_inspect_it():
    assert inspect(BytesIO(pillow(ramp(), "BMP")).getvalue()[:100], URL).width == 17
