"""Every kind of PNG, and its significant bits."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from codec_samples import png, ramp, seen, small_files, with_chunk
from dfp_batch.io.codec import Frame, decode, encode
from files_parts import URL, WHOLE


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
