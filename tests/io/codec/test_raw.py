"""Camera RAW and DNG: developed alike, turned once, with what the camera says of the photograph."""

import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from codec_samples import dng, mosaic, pillow, plain_tiff, ramp, tiff
from dfp_batch.errors import ImageError
from dfp_batch.io.codec import decode, development_of, inspect

URL = "a.dng"


def failure(data, url=URL):
    with pytest.raises(ImageError) as caught:
        decode(data, url)
    return str(caught.value).removeprefix(f"{url}: ")


def linear(image):
    """Light (h, w, 3), in [0, 1], of a developed image: without the curve of BT.709."""
    values = image.pixels / 65535
    return np.where(values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** 2.222)


@pytest.mark.parametrize("url", ["a.dng", "a.DNG", "without a name of its own"])
def test_a_dng_is_developed_to_16_bits(url):
    image = decode(dng(mosaic()), url)
    assert image.kind == "48x32 px, 3 channels, 16 bit"
    assert image.pixels.dtype == np.uint16
    middle = linear(image)[16, 4:-4]
    assert np.abs(middle - middle.mean(1, keepdims=True)).max() < 0.01  # neutral is grey
    np.testing.assert_allclose(middle[:, 1], (np.arange(48)[4:-4] + 1) / 48, atol=0.03)
    assert inspect(dng(mosaic()), url).kind == image.kind


def test_linear_dng_is_developed():
    light = np.linspace(0, 1, 48)[None, :, None].repeat(32, 0).repeat(3, 2)
    data = dng((light * 65535).astype(np.uint16), black=0, white=65535, neutral=(1, 1, 1))
    np.testing.assert_allclose(linear(decode(data, URL))[16, :, 1], light[16, :, 1], atol=0.02)


@pytest.mark.parametrize("exposure", [0.1, 0.5])
def test_brightness_is_not_automatic(exposure):
    whole, darker = (linear(decode(dng(mosaic(exposure=one)), URL)) for one in (1, exposure))
    np.testing.assert_allclose(darker[16, 4:-4], exposure * whole[16, 4:-4], atol=0.01)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_raw_file_is_turned_once(orientation):
    upright = decode(dng(mosaic()), URL).pixels
    image = decode(dng(mosaic(), orientation), URL)
    shown = Image.fromarray((upright >> 8).astype(np.uint8))
    shown.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(shown)).astype(int)
    assert image.pixels.shape == expected.shape
    assert np.abs((image.pixels >> 8).astype(int) - expected).max() <= 1
    assert orientation_of(image) == 1
    assert inspect(dng(mosaic(), orientation), URL).kind == image.kind


def orientation_of(image):
    found = Image.Exif()
    found.load(b"Exif\0\0" + image.metadata.exif)
    return found.get(0x0112, 1)


def test_what_the_camera_says_of_the_photograph_is_kept():
    found = Image.Exif()
    found.load(b"Exif\0\0" + decode(dng(mosaic()), URL).metadata.exif)
    assert (found[0x010F], found[0x0110]) == ("Makers", "Model 1")


def test_frames_share_white_balance_and_levels_of_black_and_white():
    samples = mosaic()
    reference = dng(samples)
    other = dng(samples, black=300, white=3900, neutral=(0.6, 1.0, 0.5))
    shared = development_of(reference, URL)
    assert shared.black == (256,) * 4
    assert shared.saturation == 4095
    np.testing.assert_allclose(shared.white_balance[:3], (2, 1, 1 / 0.6), rtol=1e-4)
    alone, alike = decode(other, URL), decode(other, URL, shared)
    np.testing.assert_array_equal(alike.pixels, decode(reference, URL).pixels)
    assert (alone.pixels != alike.pixels).mean() > 0.9


def test_other_images_are_not_developed():
    assert development_of(pillow(ramp(), "PNG"), "a.png") is None
    assert development_of(tiff(ramp(channels=1)[..., 0]), "a.tif") is None


@pytest.mark.parametrize(
    "data",
    [
        b"II*\0\x10\0\0\0CR\x02\0" + bytes(40),
        b"\0\0\0\x18ftypcrx " + bytes(40),
        b"IIU\0\x08\0\0\0" + bytes(40),
        b"IIRO\x08\0\0\0" + bytes(40),
        b"FUJIFILMCCD-RAW 0201" + bytes(40),
        plain_tiff([bytes(12)], 4, 3, 8, 1, tags={254: 1, 330: 8}),
    ],
    ids=["cr2", "cr3", "rw2", "orf", "raf", "thumbnail before the raw data"],
)
def test_a_raw_file_is_known_by_what_it_holds(data, monkeypatch):
    assert failure(data, "a").startswith("starts like a RAW but does not decode")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    expected = "is a camera RAW file, which needs the package rawpy; pip install 'dfp-batch[raw]'"
    assert failure(data, "a") == expected


@pytest.mark.parametrize("name", ["a.NEF", "b.arw", "c.dng", "d.cr2", "e.pef"])
def test_a_raw_file_is_known_by_its_name(name):
    assert failure(tiff(ramp()[..., 0]), name).startswith("starts like a RAW but does not decode")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_raw_file_that_was_cut_off_is_refused(kept):
    data = dng(mosaic())
    assert "does not decode" in failure(data[: int(kept * len(data))])
