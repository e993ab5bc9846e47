import numpy as np
import pytest
import tifffile

from conftest import texture, write_image
from dfp_batch.engine import frames as frames_module
from dfp_batch.engine.frames import Alphas, Colours, Frames, open_frames, read_frame, read_sources
from dfp_batch.errors import ImageError, ObjectMissingError
from dfp_batch.io import codec, storage
from dfp_batch.io.codec import Frame


def write_stack(path, pages, **options):
    tifffile.imwrite(path, np.stack(pages), photometric="rgb", **options)
    return str(path)


@pytest.fixture
def decoded(monkeypatch):
    """URLs of the files that were decoded, in their order."""
    urls = []

    def noted(url, *shared):
        urls.append(url)
        return read_frame(url, *shared)

    monkeypatch.setattr(frames_module, "read_frame", noted)
    return urls


@pytest.mark.parametrize("count", [2, 5])
def test_every_url_is_a_frame_that_is_decoded_when_it_is_asked_for(tmp_path, decoded, count):
    images = [texture(20, 24, seed=seed) for seed in range(count)]
    urls = [write_image(f"{tmp_path}/{k}.png", image) for k, image in enumerate(images)]
    with open_frames(urls) as frames:
        assert len(frames) == count
        assert frames.names == tuple(urls)
        assert decoded == []
        for index in (1, 0, 1):
            np.testing.assert_array_equal(frames[index].pixels, images[index])
        assert decoded == [urls[1], urls[0], urls[1]]


@pytest.mark.parametrize(
    ("name", "metadata"), [("stack.tif", None), ("stack.ome.tif", {"axes": "ZYXS"})]
)
def test_every_page_of_the_only_url_is_a_frame(tmp_path, name, metadata):
    pages = [texture(20, 24, seed=seed) for seed in range(3)]
    url = write_stack(tmp_path / name, pages, metadata=metadata)
    with open_frames([url]) as frames:
        assert frames.names == tuple(f"{url} page {index}" for index in range(3))
        for index in (2, 0, 1):
            np.testing.assert_array_equal(frames[index].pixels, pages[index])
    for frame, page in zip(read_sources([url]), pages, strict=True):
        np.testing.assert_array_equal(frame.pixels, page)


def test_one_image_is_no_stack(tmp_path):
    with (
        pytest.raises(ImageError, match=r"one\.tiff: .*1"),
        open_frames([write_image(f"{tmp_path}/one.tiff", texture(20, 24), "tiff")]),
    ):
        pass


def test_what_is_not_there_is_missed_where_it_is_looked_for(tmp_path):
    good = write_image(f"{tmp_path}/good.png", texture(20, 24))
    with open_frames([good, f"{tmp_path}/none.png"]) as frames:
        np.testing.assert_array_equal(frames[0].pixels, texture(20, 24))
        with pytest.raises(ObjectMissingError, match=r"none\.png"):
            frames[1]
    with (
        pytest.raises(ObjectMissingError, match=r"none\.tif"),
        open_frames([f"{tmp_path}/none.tif"]),
    ):
        pass


def image(channels=3, dtype=np.uint8, height=20, alpha=False, white=None):
    pixels = texture(height, 20, channels).astype(dtype)
    return Frame(pixels, pixels[..., 0].copy() if alpha else None, white)


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (image(height=22), "20x22 px, 3 channels, 8 bit"),
        (image(channels=1), "20x20 px, 1 channel, 8 bit"),
        (image(dtype=np.uint16), "20x20 px, 3 channels, 16 bit"),
        (image(dtype=np.uint16, white=4095), "20x20 px, 3 channels, 12 bit"),
        (image(dtype=np.float32), "20x20 px, 3 channels, 32 bit"),
        (image(alpha=True), "20x20 px, 3 channels with alpha, 8 bit"),
    ],
)
def test_frames_of_two_kinds_are_named(other, kind):
    """The first that was asked for is what the others are compared with."""
    stored = [other, image(), image()]
    frames = Frames(("a.tif", "b.tif", "c.tif"), stored.__getitem__)
    assert frames[2] is stored[2]
    assert frames[1] is stored[1]
    with pytest.raises(ImageError) as caught:
        frames[0]
    assert str(caught.value) == (
        f"sources differ: c.tif is 20x20 px, 3 channels, 8 bit, a.tif is {kind}; "
        "register, crop or convert them to one size and kind"
    )


# White.


def wide(*highest, white=None):
    """16-bit frames with these highest samples."""
    stored = [Frame(np.full((2, 2, 1), value, np.uint16), white=white) for value in highest]
    asked = []

    def load(index):
        asked.append(index)
        return stored[index]

    return Frames(tuple(map(str, range(len(stored)))), load), asked


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint8, 255.0), (np.float32, 1.0)], ids=["8 bit", "float"]
)
def test_white_is_the_end_of_the_range_of_8_bits_and_of_floats(dtype, white):
    dark = Frame(np.zeros((2, 2, 3), dtype))
    assert Frames(("a", "b"), [dark, dark].__getitem__).white() == white


@pytest.mark.parametrize(
    ("highest", "white"),
    [
        ((0, 0), 1023),
        ((1023, 3), 1023),
        ((1024, 3), 4095),
        ((3, 4095, 5), 4095),
        ((3, 4096), 16383),
        ((4000, 4000, 16384), 65535),
        ((65535, 3), 65535),
    ],
)
def test_white_of_16_bits_is_the_range_that_holds_all_values_of_all_frames(highest, white):
    assert wide(*highest)[0].white() == white


def test_white_is_known_as_soon_as_a_frame_fills_the_range():
    frames, asked = wide(7, 65000, 7, 7)
    assert frames.white() == 65535
    assert set(asked) == {0, 1}


@pytest.mark.parametrize("white", [4095, 65535])
def test_what_the_files_say_is_white_whatever_they_hold(white):
    frames, asked = wide(17, 17, white=white)
    assert frames.white() == white
    assert asked == [0]


@pytest.mark.parametrize("extension", ["png", "tiff"])
def test_white_goes_through_files(tmp_path, extension):
    deep = Frame(texture(20, 24).astype(np.uint16), white=16383)
    urls = [f"{tmp_path}/{name}.{extension}" for name in "ab"]
    for url in urls:
        storage.write_bytes(url, codec.encode(deep, extension))
    with open_frames(urls) as frames:
        assert frames.white() == 16383
        assert frames[0].kind == "24x20 px, 3 channels, 14 bit"


# Views.


def test_colours_and_alphas_are_images():
    stored = [image(alpha=True), image(alpha=True)]
    frames = Frames(("a", "b"), stored.__getitem__)
    assert (len(Colours(frames)), len(Alphas(frames))) == (2, 2)
    np.testing.assert_array_equal(Colours(frames)[1], stored[1].pixels)
    np.testing.assert_array_equal(Alphas(frames)[1], stored[1].alpha[..., None])


def test_a_missing_alpha_is_named():
    frames = Frames(("a.png", "b.png"), [image(), image()].__getitem__)
    with pytest.raises(ImageError, match=r"^b\.png has no alpha$"):
        Alphas(frames)[1]
