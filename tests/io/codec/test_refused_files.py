"""Files that cannot be used are refused with the reason, before they take memory."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec_samples import exif, pillow, ramp, small_files, tiff
from dfp_batch.errors import ImageError
from dfp_batch.io.codec import (
    LARGEST_PX,
    Frame,
    Header,
    decode,
    encode,
    extension_for,
    from_unit,
    inspect,
    to_unit,
)
from files_parts import REFUSED, URL, WHOLE


def failure(data: bytes, url=URL) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, url)
    text = str(caught.value)
    assert text.startswith(f"{url}: ")
    assert "\n" not in text
    return text.removeprefix(f"{url}: ")


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_with_the_reason(case):
    data, message = REFUSED[case]
    assert failure(data).startswith(message)
    with pytest.raises(ImageError):
        inspect(data, URL)


def test_a_jpeg_with_the_name_of_a_raw_file_is_a_jpeg():
    assert decode(pillow(ramp(), "JPEG"), "a.nef").size == "17x11 px"


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("kind", WHOLE)
def test_a_truncated_image_is_refused(kind, kept):
    data = WHOLE[kind][: max(12, int(kept * len(WHOLE[kind])))]
    message = failure(data)
    start = f"starts like a {kind} but does not decode ({len(data)} bytes): truncated or damaged"
    assert message.startswith(start)
    assert message.endswith("expected a whole image")


@given(kind=st.sampled_from(sorted(WHOLE)), place=st.floats(0, 0.999), value=st.binary(min_size=1))
@settings(max_examples=200, deadline=None)
def test_damage_is_an_image_error_or_an_image(kind, place, value):
    data = bytearray(WHOLE[kind])
    at = int(place * len(data))
    data[at : at + len(value)] = value
    try:
        assert decode(bytes(data), URL).pixels.ndim == 3
    except ImageError as error:
        assert str(error).startswith(URL)


def resized(kind: str, width: int, height: int) -> bytes:
    """A small file whose header states another size."""
    data = bytearray(WHOLE[kind])
    if kind == "PNG":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
    else:
        data = bytearray(tiff(ramp(8, 8, 1)[..., 0]))
        for tag, value in ((256, width), (257, height), (278, height)):
            at = data.index(struct.pack("<HHI", tag, 4 if tag != 278 else 3, 1)[:2], 8)
            data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_an_image_that_promises_too_many_pixels_is_refused(kind):
    size = 60_000, 60_000
    expected = "is 60000x60000 px, expected at most 400,000,000 px; cut it into parts"
    assert failure(resized(kind, *size)) == expected
    assert size[0] * size[1] > LARGEST_PX


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_an_image_that_cannot_hold_what_it_promises_is_refused(kind, monkeypatch):
    data = resized(kind, 20_000, 20_000)
    monkeypatch.setattr(cv2, "imdecode", None)  # would take the memory
    monkeypatch.setattr(np, "empty", None)
    assert failure(data).startswith(f"starts like a {kind} but does not")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_an_empty_image_is_refused(kind):
    text = failure(resized(kind, 0, 11))
    assert text in ("is 0x11 px, expected at least 1x1 px; it is damaged",) or "damaged" in text


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("shape", [(9, 1), (1, 9), (1, 1)])
def test_an_image_one_pixel_wide_is_read(kind, shape):
    assert decode(pillow(ramp(*shape), kind), URL).pixels.shape == (*shape, 3)


@pytest.mark.parametrize("name", [name for name in small_files() if "animated" not in name])
def test_inspect_says_what_decode_gives(name):
    data = small_files()[name]
    header, image = inspect(data, URL), decode(data, URL)
    assert (header.height, header.width, header.channels) == image.pixels.shape
    assert header.has_alpha == (image.alpha is not None)
    assert header.dtype == image.pixels.dtype.name
    assert name.startswith(header.format.lower())


def test_inspect_needs_no_pixels():
    data = WHOLE["PNG"][:60] + b"damage" + WHOLE["PNG"][66:]
    assert inspect(data, URL) == Header("PNG", 17, 11, 3, False, "uint8", 8)
    with pytest.raises(ImageError):
        decode(data, URL)


def test_inspect_turns_the_size_with_the_image():
    assert inspect(pillow(ramp(), "JPEG", exif=exif(6)), URL).width == 11


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
    for extension in {extension_for(image), "tiff"}:
        back = decode(encode(image, extension), URL)
        np.testing.assert_array_equal(back.pixels, pixels)
