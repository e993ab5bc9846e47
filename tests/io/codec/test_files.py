"""Every format there and back."""

import numpy as np
import pytest

from codec_samples import pillow, ramp, seen
from dfp_batch.errors import ConfigError, ImageError
from dfp_batch.io.codec import Frame, check_depth, decode, encode, extension_of
from files_parts import URL


def frame(dtype="uint8", channels=3, height=11, width=17) -> Frame:
    return Frame(ramp(height, width, channels, dtype))


LOSSLESS = [
    (extension, dtype, channels, alpha)
    for extension, dtypes in {
        "png": ("uint8", "uint16"),
        "tiff": ("uint8", "uint16", "float32"),
    }.items()
    for dtype in dtypes
    for channels in (1, 3)
    for alpha in (False, True)
]


@pytest.mark.parametrize(("extension", "dtype", "channels", "alpha"), LOSSLESS)
def test_lossless_formats_give_back_the_same_samples(extension, dtype, channels, alpha):
    samples = ramp(channels=channels + alpha, dtype=dtype)
    image = Frame(samples[..., :channels], alpha=samples[..., -1] if alpha else None)
    back = decode(encode(image, extension), URL)
    assert back.pixels.dtype == dtype
    assert back.kind == image.kind
    assert back.white is None
    np.testing.assert_array_equal(back.pixels, image.pixels)
    np.testing.assert_array_equal(back.alpha, image.alpha)


@pytest.mark.parametrize("extension", ["png", "tiff"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_lossless_formats_give_back_white(extension, bits, channels, alpha):
    samples = ramp(channels=channels + alpha, dtype="uint16") >> (16 - bits)
    opacity = samples[..., -1] if alpha else None
    image = Frame(samples[..., :channels], alpha=opacity, white=2**bits - 1)
    back = decode(encode(image, extension), URL)
    assert back.white == 2**bits - 1
    np.testing.assert_array_equal(back.pixels, image.pixels)
    np.testing.assert_array_equal(back.alpha, image.alpha)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_size_channels_and_nearly_the_colour(channels):
    flat = Frame(np.full((16, 24, channels), [200, 90, 10][:channels], np.uint8))
    back = decode(encode(flat, "jpg"), URL)
    assert back.pixels.shape == flat.pixels.shape
    assert np.abs(back.pixels.astype(int) - flat.pixels).max() <= 3


def test_webp_keeps_nearly_the_colour_and_exactly_the_alpha():
    flat = np.full((16, 24, 3), (200, 90, 10), np.uint8)
    alpha = np.full((16, 24), 77, np.uint8)
    alpha[3:9] = 255
    back = decode(encode(Frame(flat, alpha=alpha), "webp"), URL)
    assert np.abs(back.pixels.astype(int) - flat).max() <= 6
    np.testing.assert_array_equal(back.alpha, alpha)
    assert decode(encode(Frame(flat), "webp"), URL).alpha is None


def test_webp_makes_grey_a_colour():
    back = decode(encode(Frame(np.full((16, 24, 1), 90, np.uint8)), "webp"), URL)
    assert back.pixels.shape == (16, 24, 3)
    assert np.abs(back.pixels.astype(int) - 90).max() <= 2


@pytest.mark.parametrize("extension", ["jpg", "webp"])
def test_higher_quality_is_larger_and_nearer(extension):
    image = frame(height=40, width=40)
    files = [encode(image, extension, quality) for quality in (20, 70, 95)]
    assert encode(image, extension) == files[-1]
    assert sorted(files, key=len) == files
    errors = [np.abs(decode(data, URL).pixels.astype(int) - image.pixels).mean() for data in files]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("extension", "dtype", "message"),
    [
        ("png", "float32", "png holds 8 or 16 bits per sample, got float32; use tiff"),
        ("jpg", "float32", "jpg holds 8 bits per sample, got float32; use tiff"),
        ("jpg", "uint16", "jpg holds 8 bits per sample, got 16; use png or tiff"),
        ("webp", "uint16", "webp holds 8 bits per sample, got 16; use png or tiff"),
        ("gif", "uint8", "extension must be one of png, tiff, jpg, webp, got 'gif'"),
    ],
)
def test_a_format_that_cannot_hold_the_depth_is_refused(extension, dtype, message):
    for action in (check_depth, lambda extension, image: encode(image, extension)):
        with pytest.raises(ConfigError) as caught:
            action(extension, frame(dtype))
        assert str(caught.value) == message


def test_jpeg_with_alpha_is_refused():
    image = Frame(ramp(), alpha=ramp()[..., 0])
    with pytest.raises(ConfigError, match=r"^jpg holds no alpha; use png, tiff or webp$"):
        check_depth("jpg", image)
    for extension in ("png", "tiff", "webp"):
        check_depth(extension, image)


def test_alpha_that_does_not_belong_to_the_pixels_is_refused():
    for alpha in (np.zeros((11, 16), np.uint8), np.zeros((11, 17), np.uint16)):
        with pytest.raises(ConfigError, match=r"^alpha must be uint8 of shape \(11, 17\) like the"):
            encode(Frame(ramp(), alpha=alpha), "png")


@pytest.mark.parametrize("extension", ["png", "tiff"])
def test_a_white_that_no_file_can_say_is_refused(extension):
    image = Frame(ramp(dtype="uint16"), white=1000)
    with pytest.raises(ConfigError) as caught:
        check_depth(extension, image)
    wanted = "white must be 65535, or 2**n - 1 for n of 8 to 15 bits, got 1000"
    assert str(caught.value) == wanted


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_is_1_to_100(quality):
    with pytest.raises(ConfigError, match=f"^quality must be 1 to 100, got {quality}$"):
        encode(frame(), "jpg", quality)


def test_an_image_too_large_for_the_format_is_refused():
    for extension in ("jpg", "webp"):
        with pytest.raises(ImageError, match=rf"^cannot encode 70000x1 px as {extension}: "):
            encode(Frame(np.zeros((1, 70_000, 1), np.uint8)), extension)


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("a.PNG", "png"),
        ("a.tif", "tiff"),
        ("a.TIFF", "tiff"),
        ("a.jpeg", "jpg"),
        ("a.webp", "webp"),
    ],
)
def test_the_name_says_the_format(name, extension):
    assert extension_of(name) == extension


def test_another_ending_is_refused():
    with pytest.raises(ConfigError) as caught:
        extension_of("out/a.gif")
    assert str(caught.value) == "out/a.gif: the name must end in .png, .tiff, .jpg, .webp"


def test_red_is_the_first_channel():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        found = decode(pillow(red, kind), URL).pixels[0, 0].astype(int)
        assert np.abs(found - [255, 0, 0]).max() <= 3, kind
    for extension in ("png", "jpg", "tiff", "webp"):
        found = np.asarray(seen(encode(Frame(red), extension)).convert("RGB"))[0, 0].astype(int)
        assert np.abs(found - [255, 0, 0]).max() <= 6, extension
