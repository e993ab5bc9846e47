"""ICC profile, EXIF, orientation and pixel size, through every format and seen by Pillow."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from codec_samples import ICC, exif, pillow, ramp, seen, tiff, with_chunk
from dfp_batch.errors import ImageError
from dfp_batch.io.codec import Frame, Metadata, decode, encode

URL = "a.jpg"
FORMATS = ["png", "tiff", "jpg", "webp"]
PILLOW = {"png": "PNG", "tiff": "TIFF", "jpg": "JPEG", "webp": "WEBP"}
EXACT = {
    "png": {},
    "tiff": {},
    "jpg": {"quality": 100, "subsampling": 0},
    "webp": {"lossless": True},
}


def exif_of(block: bytes) -> Image.Exif:
    found = Image.Exif()
    found.load(b"Exif\0\0" + block)
    return found


def file(kind, pixels=None, **options) -> bytes:
    pixels = ramp() if pixels is None else pixels
    return pillow(pixels, PILLOW[kind], **EXACT[kind], **options)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once_and_reset(kind, orientation):
    smooth = np.asarray(Image.linear_gradient("L").resize((24, 16)).convert("RGB")).copy()
    smooth[:8, :8] = (250, 20, 20)
    data = file(kind, smooth, exif=exif(orientation))
    image = decode(data, URL)
    # Pillow turns a TIFF when it loads it, the others when asked.
    expected = np.asarray(ImageOps.exif_transpose(seen(data)))
    assert image.pixels.shape == expected.shape
    assert np.abs(image.pixels.astype(int) - expected).max() <= 2
    again = decode(encode(image, "png"), URL)
    np.testing.assert_array_equal(again.pixels, image.pixels)
    assert exif_of(image.metadata.exif).get(0x0112, 1) == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_say_the_orientation(order):
    data = file("jpg", exif=exif(6, order))
    image = decode(data, URL)
    assert image.size == "11x17 px"
    found = exif_of(image.metadata.exif)
    assert (found[0x0112], found[0x010F]) == (1, "Makers")


def test_orientation_turns_alpha_and_pixel_size_as_well():
    rgba = ramp(channels=4)
    data = with_chunk(
        file("png", rgba, exif=exif(6)), b"pHYs", struct.pack(">IIB", 100_000, 200_000, 1)
    )
    image = decode(data, URL)
    np.testing.assert_array_equal(image.alpha, np.rot90(rgba[..., 3], -1))
    assert image.metadata.pixel_size_um == (5.0, 10.0)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("output", FORMATS)
def test_the_profile_goes_from_every_format_to_every_format(kind, output):
    image = decode(file(kind, icc_profile=ICC), URL)
    assert image.metadata.icc == ICC
    data = encode(image, output)
    assert seen(data).info["icc_profile"] == ICC
    assert decode(data, URL).metadata.icc == ICC


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("output", FORMATS)
def test_exif_goes_from_every_format_to_every_format(kind, output):
    image = decode(file(kind, exif=exif(6)), URL)
    larger = replace(image, pixels=np.repeat(np.repeat(image.pixels, 2, 0), 2, 1))
    data = encode(larger, output)
    found = seen(data).getexif()
    assert (found[0x010F], found[0x0110]) == ("Makers", "Model 1")
    assert found.get(0x0112, 1) == 1
    inner = found.get_ifd(0x8769)
    assert float(inner[0x829A]) == pytest.approx(0.004)
    assert inner[0x927C] == b"opaque maker note"
    assert (inner[0xA002], inner[0xA003]) == (22, 34)  # the size it has now
    assert found.get_ifd(0x8825)[1] == "N"
    back = decode(data, URL)
    assert back.pixels.shape == (34, 22, 3)
    assert exif_of(back.metadata.exif)[0x0110] == "Model 1"


@pytest.mark.parametrize("output", FORMATS)
def test_without_metadata_none_is_written(output):
    back = decode(encode(Frame(ramp()), output), URL)
    assert back.metadata == Metadata()


@pytest.mark.parametrize("kind", ["png", "tiff", "jpg"])
def test_pixel_size_is_read(kind):
    sizes = decode(file(kind, dpi=(254, 508)), URL).metadata.pixel_size_um
    assert sizes == pytest.approx((100, 50), rel=1e-4)


def test_pixel_size_is_read_from_exif():
    for kind in ("jpg", "webp"):
        sizes = decode(file(kind, exif=exif()), URL).metadata.pixel_size_um
        assert sizes == pytest.approx((25_400 / 72, 25_400 / 72))


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("size_um", [(0.325, 0.5), (84.7, 84.7), (5000.0, 5000.0)])
@pytest.mark.parametrize("block", [None, exif()])
def test_pixel_size_is_written_and_replaces_the_old_one(output, size_um, block):
    image = Frame(ramp(), metadata=Metadata(exif=block, pixel_size_um=size_um))
    data = encode(image, output)
    found = decode(data, URL).metadata.pixel_size_um
    # A PNG counts whole pixels in a metre.
    assert found == pytest.approx(size_um, rel=1e-5 if output != "png" else size_um[1] / 1.9e6)
    dpi = seen(data).info.get("dpi")
    if output in ("png", "tiff"):
        assert dpi == pytest.approx([25_400 / side for side in size_um], rel=3e-3)


@pytest.mark.parametrize("output", FORMATS)
def test_a_resolution_that_is_not_known_any_more_is_removed(output):
    data = encode(Frame(ramp(), metadata=Metadata(exif=exif())), output)
    assert decode(data, URL).metadata.pixel_size_um is None


def test_a_resolution_without_a_unit_says_nothing():
    data = tiff(ramp(), photometric="rgb", resolution=(300, 300), resolutionunit="none")
    assert decode(data, URL).metadata.pixel_size_um is None
    assert decode(file("jpg"), URL).metadata.pixel_size_um is None  # JFIF with the aspect only


def test_a_profile_of_several_segments_is_joined():
    profile = np.random.default_rng(0).bytes(150_000)
    data = encode(Frame(ramp(), metadata=Metadata(icc=profile)), "jpg")
    assert seen(data).info["icc_profile"] == profile
    assert decode(data, URL).metadata.icc == profile


def test_a_profile_that_lacks_a_segment_is_left_out():
    profile = np.random.default_rng(0).bytes(150_000)
    data = encode(Frame(ramp(), metadata=Metadata(icc=profile)), "jpg")
    at = data.index(b"ICC_PROFILE\0\2\3") - 4
    (length,) = struct.unpack_from(">H", data, at + 2)
    assert decode(data[:at] + data[at + 2 + length :], URL).metadata.icc is None


def test_a_thumbnail_of_the_old_image_is_dropped():
    block = bytearray(exif())
    (at,) = struct.unpack_from("<I", block, 4)
    (count,) = struct.unpack_from("<H", block, at)
    struct.pack_into("<I", block, at + 2 + 12 * count, len(block))
    block += struct.pack("<HHHIII", 1, 0x0201, 4, 1, 0, 0)  # the thumbnail's directory
    assert exif_of(bytes(block)).get_ifd(ExifTags.IFD.IFD1)
    data = encode(Frame(ramp(), metadata=Metadata(exif=bytes(block))), "jpg")
    assert not seen(data).getexif().get_ifd(ExifTags.IFD.IFD1)


def test_maker_notes_stay_where_they_point_to():
    block = exif()
    note = block.index(b"opaque maker note")
    for output in ("png", "jpg", "webp"):
        data = encode(Frame(ramp(), metadata=Metadata(exif=block)), output)
        back = decode(data, URL).metadata.exif
        assert back.index(b"opaque maker note") == note


@pytest.mark.parametrize(
    "damage", [b"", b"II*\0", b"nonsense", exif()[:30], b"II*\0\xff\xff\xff\0"]
)
def test_damaged_exif_is_left_out(damage):
    data = with_chunk(file("png"), b"eXIf", damage)
    assert decode(data, URL).metadata.exif is None


@pytest.mark.parametrize("output", FORMATS)
def test_damaged_exif_is_not_written(output):
    image = Frame(ramp(), metadata=Metadata(exif=b"nonsense"))
    with pytest.raises(ImageError, match=f"^cannot encode 17x11 px as {output}: its EXIF data are"):
        encode(image, output)


def test_exif_too_long_for_a_jpeg_is_refused():
    image = Frame(ramp(), metadata=Metadata(exif=exif() + bytes(70_000)))
    with pytest.raises(ImageError, match="bytes of EXIF do not fit a JPEG, which holds 65527; use"):
        encode(image, "jpg")
    assert decode(encode(image, "png"), URL).metadata.exif is not None


def test_a_profile_for_grey_is_refused_where_grey_becomes_colour():
    grey = ICC[:16] + b"GRAY" + ICC[20:]
    image = Frame(ramp(channels=1), metadata=Metadata(icc=grey))
    with pytest.raises(ImageError, match="webp has no grey, its ICC profile is for grey; use png"):
        encode(image, "webp")
    assert seen(encode(image, "jpg")).info["icc_profile"] == grey


def test_the_pixels_of_every_format_are_not_changed_by_metadata():
    metadata = Metadata(ICC, exif(), (1.5, 1.5))
    for output in FORMATS:
        plain = decode(encode(Frame(ramp()), output), URL)
        full = decode(encode(Frame(ramp(), metadata=metadata), output), URL)
        np.testing.assert_array_equal(full.pixels, plain.pixels)


def test_alpha_and_metadata_of_a_webp_go_together():
    image = Frame(ramp(), alpha=ramp()[..., 0], metadata=Metadata(ICC, exif()))
    found = seen(encode(image, "webp"))
    assert (found.mode, found.info["icc_profile"]) == ("RGBA", ICC)
    np.testing.assert_array_equal(np.asarray(found)[..., 3], image.alpha)
