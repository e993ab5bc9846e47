import numpy as np
import pytest

from codec_samples import ramp
from dfp_batch.errors import ConfigError
from dfp_batch.io.codec import (
    Frame,
    Metadata,
    alpha_to_unit,
    extension_for,
    from_unit,
    thumbnail,
    to_unit,
    white,
    white_of,
)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_value_survives_the_unit_range(dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, -1, 1)
    unit = to_unit(Frame(values))
    assert unit.dtype == np.float32
    assert (unit.min(), unit.max()) == (0, 1)
    np.testing.assert_array_equal(from_unit(unit, dtype).pixels, values)


@pytest.mark.parametrize("top", [1023, 4095, 16383])
def test_every_value_survives_a_smaller_white(top):
    values = np.arange(top + 1, dtype=np.uint16).reshape(1, -1, 1)
    unit = to_unit(Frame(values, white=top))
    assert (unit.min(), unit.max()) == (0, 1)
    back = from_unit(unit, np.uint16, top)
    assert back.white == top
    np.testing.assert_array_equal(back.pixels, values)


def test_samples_above_white_are_white():
    frame = Frame(np.full((1, 1, 1), 5000, np.uint16), white=4095)
    assert to_unit(frame).item() == 1


def test_alpha_has_the_range_of_the_pixels():
    pixels = np.zeros((2, 3, 1), np.uint16)
    frame = Frame(pixels, alpha=np.full((2, 3), 4095, np.uint16), white=4095)
    unit = alpha_to_unit(frame)
    assert unit.shape == (1, 2, 3)
    assert unit.dtype == np.float32
    assert (unit == 1).all()
    assert frame.alpha.max() == 4095
    assert alpha_to_unit(Frame(pixels)) is None


def test_from_unit_clips_and_rounds_to_nearest():
    image = np.array([-1, 0, 0.4 / 255, 0.6 / 255, 1, 2], np.float32).reshape(1, 1, -1)
    assert from_unit(image, "uint8").pixels.ravel().tolist() == [0, 0, 0, 1, 255, 255]
    assert from_unit(image, "uint16", 1023).pixels.ravel().tolist()[-2:] == [1023, 1023]


def test_from_unit_refuses_another_dtype():
    with pytest.raises(ConfigError, match="pixels must be uint8, uint16, float32, got int16"):
        from_unit(np.zeros((1, 2, 2), np.float32), np.int16)


@pytest.mark.parametrize(
    ("highest", "top"),
    [
        (0, 1023),
        (200, 1023),
        (800, 1023),
        (1023, 1023),
        (1024, 4095),
        (4095, 4095),
        (4096, 16383),
        (16383, 16383),
        (16384, 65535),
        (65535, 65535),
    ],
)
def test_white_is_the_smallest_range_that_holds_the_highest_value(highest, top):
    assert white_of(highest) == top


@pytest.mark.parametrize(
    ("dtype", "top", "bits"),
    [
        ("uint8", None, 8),
        ("uint16", None, 16),
        ("uint16", 4095, 12),
        ("float32", None, 32),
        ("uint16", 1023, 10),
        ("uint16", 16383, 14),
        ("uint16", 65535, 16),
        ("float32", 1.0, 32),
    ],
)
def test_significant_bits_follow_white(dtype, top, bits):
    frame = Frame(np.zeros((1, 1, 1), dtype), white=top)
    assert frame.significant_bits == bits
    assert white(frame) == (top or {8: 255, 16: 65535, 32: 1}[bits])


def test_kind_names_what_sources_share():
    frame = Frame(ramp(510, 512), alpha=ramp(510, 512, 1)[..., 0])
    assert frame.size == "512x510 px"
    assert frame.kind == "512x510 px, 3 channels with alpha, 8 bit"
    dim = Frame(np.zeros((2, 3, 1), np.uint16), white=4095)
    assert dim.kind == "3x2 px, 1 channel, 12 bit"
    assert dim.bit_depth == 16


@pytest.mark.parametrize(
    ("dtype", "extension", "bits"),
    [("uint8", "png", 8), ("uint16", "png", 16), ("float32", "tiff", 32)],
)
def test_the_lossless_format_follows_the_depth(dtype, extension, bits):
    frame = Frame(ramp(dtype=dtype))
    assert extension_for(frame) == extension
    assert frame.bit_depth == bits


@pytest.mark.parametrize(
    ("dtype", "top"), [("uint8", None), ("uint16", None), ("uint16", 4095), ("float32", None)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnail_is_8_bit_and_keeps_the_brightness(dtype, top, channels):
    flat = from_unit(np.full((channels, 60, 90), 0.6, np.float32), dtype, top)
    small = thumbnail(flat, longest_px=30)
    assert small.pixels.shape == (20, 30, channels)
    assert small.pixels.dtype == np.uint8
    assert set(small.pixels.ravel().tolist()) == {153}


def test_thumbnail_never_enlarges():
    image = Frame(ramp())
    np.testing.assert_array_equal(thumbnail(image).pixels, image.pixels)


def test_thumbnail_of_a_thin_line_keeps_one_pixel():
    assert thumbnail(Frame(ramp(1, 900)), longest_px=100).size == "100x1 px"


def test_thumbnail_keeps_the_profile_and_leaves_out_the_rest():
    metadata = Metadata(icc=b"profile", exif=b"exif", pixel_size_um=(1.0, 1.0))
    small = thumbnail(Frame(ramp(), alpha=ramp()[..., 0], metadata=metadata))
    assert small.metadata == Metadata(icc=b"profile")
    assert small.alpha is None
