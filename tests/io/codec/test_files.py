import io
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from codec_samples import exif, pillow, plain_tiff, png, ramp, seen, small_files, tiff, with_chunk
from dfp_batch.errors import ConfigError, ImageError
from dfp_batch.io.codec import (
    LARGEST_PX,
    Frame,
    Header,
    check_depth,
    decode,
    encode,
    extension_for,
    extension_of,
    from_unit,
    inspect,
    inspect_file,
    to_unit,
)

URL = "s3://archive/lot 7/a.png"


def frame(dtype="uint8", channels=3, height=11, width=17) -> Frame:
    return Frame(ramp(height, width, channels, dtype))


def failure(data: bytes, url=URL) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, url)
    text = str(caught.value)
    assert text.startswith(f"{url}: ")
    assert "\n" not in text
    return text.removeprefix(f"{url}: ")


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
        ("png", "float32", "png holds 8 or 16 bits per sample, got 32; use tiff"),
        ("jpg", "float32", "jpg holds 8 bits per sample, got 32; use tiff"),
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


REFUSED = {
    "empty": (b"", "is empty (0 bytes), expected an image"),
    "text": (
        b"hello world",
        "does not start like a JPEG, PNG, TIFF or WebP image: b'hello wo'..., 11 bytes",
    ),
    "gif": (b"GIF89a\x01\0\x01\0\x80\0\0", "does not start like a JPEG, PNG, TIFF or WebP image"),
    "cmyk jpeg": (
        pillow(Image.new("CMYK", (9, 7)), "JPEG"),
        "holds CMYK pixels, expected grey or RGB; convert it to RGB",
    ),
    "cmyk tiff": (
        pillow(Image.new("CMYK", (9, 7)), "TIFF"),
        "holds CMYK pixels, expected grey or RGB; convert it to RGB",
    ),
    "animated png": (
        small_files()["png animated"],
        "holds 2 frames of an animation, expected one image; save each frame as its own file",
    ),
    "animated webp": (
        small_files()["webp animated"],
        "holds 2 frames of an animation, expected one image; save each frame as its own file",
    ),
    "12-bit jpeg": (
        small_files()["jpeg grey"].replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0b\x0c"),
        "holds 12-bit samples in a JPEG, expected 8; save it as PNG or TIFF",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_with_the_reason(case):
    data, message = REFUSED[case]
    assert failure(data).startswith(message)
    with pytest.raises(ImageError):
        inspect(data, URL)


@pytest.mark.parametrize("name", ["a.NEF", "b.arw", "c.dng", "d.cr2", "e.pef"])
def test_a_raw_file_that_starts_like_a_tiff_is_refused_by_its_name(name):
    message = "is a camera RAW file, expected developed pixels; convert to 16-bit TIFF first"
    assert failure(tiff(ramp()[..., 0]), name) == message


@pytest.mark.parametrize(
    "data",
    [
        b"II*\0\x10\0\0\0CR\x02\0" + bytes(40),
        b"\0\0\0\x18ftypcrx " + bytes(40),
        b"IIU\0\x08\0\0\0" + bytes(40),
        b"IIRO\x08\0\0\0" + bytes(40),
        b"FUJIFILMCCD-RAW 0201" + bytes(40),
        tiff(ramp()[..., 0], extratags=[(50706, "B", 4, (1, 4, 0, 0), True)]),
        tiff(ramp(dtype="uint16")[..., 0], photometric="cfa", extratags=[]),
        plain_tiff([bytes(12)], 4, 3, 8, 1, tags={254: 1, 330: 8}),
    ],
    ids=["cr2", "cr3", "rw2", "orf", "raf", "dng", "cfa", "thumbnail before the raw data"],
)
def test_a_raw_file_is_refused_by_what_it_holds(data):
    assert failure(data).startswith("is a camera RAW file")


def test_a_jpeg_with_the_name_of_a_raw_file_is_a_jpeg():
    assert decode(pillow(ramp(), "JPEG"), "a.nef").size == "17x11 px"


WHOLE = {
    "JPEG": pillow(ramp(), "JPEG"),
    "PNG": pillow(ramp(), "PNG"),
    "TIFF": tiff(ramp(dtype="uint16"), photometric="rgb"),
    "WebP": pillow(ramp(), "WEBP"),
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
    assert header.format.lower() == name.split()[0]


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


# PNG


@pytest.mark.parametrize(
    ("rows", "options", "pixels", "alpha"),
    [
        ([b"\xa5"], {"depth": 1, "colour": 0}, [255, 0, 255, 0, 0, 255, 0, 255], None),
        ([b"\x1b"], {"depth": 2, "colour": 0}, [0, 85, 170, 255], None),
        ([b"\x1f"], {"depth": 4, "colour": 0}, [17, 255], None),
        (
            [b"\x1f"],
            {"depth": 4, "colour": 0, "before": [(b"tRNS", b"\0\x01")]},
            [17, 255],
            [0, 255],
        ),
        ([b"\5\6"], {"colour": 0, "before": [(b"tRNS", b"\0\6")]}, [5, 6], [255, 0]),
        (
            [b"\1\5\0\6"],
            {"depth": 16, "colour": 0, "before": [(b"tRNS", b"\1\5")]},
            [261, 6],
            [0, 65535],
        ),
        ([b"\5\6\7\x08"], {"colour": 4}, [5, 7], [6, 8]),
        ([b"\0\5\0\6\1\7\0\x08"], {"depth": 16, "colour": 4}, [5, 263], [6, 8]),
        (
            [b"\1\2\3\4\5\6"],
            {"before": [(b"tRNS", b"\0\1\0\2\0\3")]},
            [[1, 2, 3], [4, 5, 6]],
            [0, 255],
        ),
        (
            [b"\0\1"],
            {"colour": 3, "before": [(b"PLTE", b"\1\2\3\4\5\6"), (b"tRNS", b"\x80")]},
            [[1, 2, 3], [4, 5, 6]],
            [128, 255],
        ),
        (
            [b"\x01"],
            {"depth": 4, "colour": 3, "before": [(b"PLTE", b"\1\2\3\4\5\6")]},
            [[1, 2, 3], [4, 5, 6]],
            None,
        ),
    ],
)
def test_every_kind_of_png_is_read(rows, options, pixels, alpha):
    image = decode(png(rows, **options), URL)
    expected = np.reshape(pixels, (1, len(pixels), -1))
    np.testing.assert_array_equal(image.pixels, expected)
    assert (image.alpha is None) == (alpha is None)
    if alpha is not None:
        assert image.alpha.ravel().tolist() == alpha


def test_an_interlaced_png_is_read():
    data = small_files()["png interlaced"]
    np.testing.assert_array_equal(decode(data, URL).pixels, np.asarray(seen(data)))


def sixteen_bit(values, sbit):
    data = cv2.imencode(".png", np.asarray(values, np.uint16))[1].tobytes()
    return with_chunk(data, b"sBIT", bytes(sbit))


TWELVE = np.arange(0, 4096, 5, dtype=np.uint32).reshape(1, -1)


@pytest.mark.parametrize(
    "stored",
    [
        (TWELVE * 65535 + 2047) // 4095,
        TWELVE << 4 | TWELVE >> 8,
        TWELVE << 4,
        TWELVE,
    ],
    ids=["scaled", "repeated bits", "zero filled", "not scaled"],
)
def test_significant_bits_of_a_png_are_taken_back(stored):
    image = decode(sixteen_bit(stored, [12]), URL)
    assert image.white == 4095
    np.testing.assert_array_equal(image.pixels[..., 0], TWELVE)


def test_significant_bits_that_are_not_true_are_not_believed():
    values = np.arange(0, 65536, 77, dtype=np.uint16).reshape(1, -1)
    image = decode(sixteen_bit(values, [12]), URL)
    assert image.white is None
    np.testing.assert_array_equal(image.pixels[..., 0], values)


def test_an_8_bit_png_is_not_changed_by_its_significant_bits():
    image = decode(with_chunk(WHOLE["PNG"], b"sBIT", b"\5\6\5"), URL)
    np.testing.assert_array_equal(image.pixels, ramp())
    assert image.white is None


def test_a_12_bit_png_looks_right_in_other_programs():
    image = Frame(np.array([[[0], [2048], [4095]]], np.uint16), white=4095)
    data = encode(image, "png")
    assert np.asarray(seen(data)).ravel().tolist() == [0, 32776, 65535]
    assert b"sBIT\x0c" in data


def test_the_codec_needs_no_other_part_and_nothing_heavy():
    code = "import sys, dfp_batch.io.codec, dfp_batch.io.codec.pages; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert not {"torch", "ray", "fsspec", "pyarrow", "pydantic", "typer"} & loaded


def test_a_damaged_profile_is_left_out():
    data = with_chunk(WHOLE["PNG"], b"iCCP", b"name\0\0not deflate")
    image = decode(data, URL)
    assert image.metadata.icc is None
    np.testing.assert_array_equal(image.pixels, ramp())


class Reads(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size=-1, /):
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize("name", [name for name in small_files() if "animated" not in name])
def test_a_file_is_inspected_like_its_bytes(name):
    data = small_files()[name]
    assert inspect_file(io.BytesIO(data), URL) == inspect(data, URL)


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_is_refused_like_its_bytes(case):
    data, _ = REFUSED[case]
    with pytest.raises(ImageError) as of_bytes:
        inspect(data, URL)
    with pytest.raises(ImageError) as of_file:
        inspect_file(io.BytesIO(data), URL)
    assert str(of_file.value) == str(of_bytes.value)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_inspecting_a_large_file_reads_its_start_only(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (700, 800, 3), np.uint8)
    more = {"icc_profile": bytes(range(256)) * 400} if kind != "TIFF" else {}  # 100 kB
    file = Reads(pillow(pixels, kind, **more))
    assert inspect_file(file, URL) == inspect(file.getvalue(), URL)
    assert file.count < len(file.getvalue()) / 2
