import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec_samples import seen
from dfp_batch.io.codec import decode
from dfp_batch.io.codec.index_map import decode_indices, encode_indices

maps = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 199)
)


@given(maps)
@settings(derandomize=True, deadline=None, max_examples=100)
def test_indices_are_read_as_they_were_written(labels):
    read = decode_indices(encode_indices(labels))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, labels)


@pytest.mark.parametrize("last", [0, 255, 256, 1999])
def test_indices_of_16_bits_are_read_as_they_were_written(last):
    labels = np.arange(last + 1, dtype=np.uint16)[None].repeat(2, 0)
    data = encode_indices(labels)
    assert decode_indices(data).dtype == np.uint16
    np.testing.assert_array_equal(decode_indices(data), labels)
    np.testing.assert_array_equal(np.asarray(seen(data)), labels)  # by other programs, too


@pytest.mark.parametrize("last", [1, 2, 3, 16, 199, 255])
def test_people_see_greys_from_black_to_white(last):
    """In order, as far as 256 greys can tell them apart; also by other programs."""
    labels = np.arange(last + 1, dtype=np.uint8)[None].repeat(2, 0)
    data = encode_indices(labels)
    greys = decode(data, "map").pixels
    np.testing.assert_array_equal(greys, np.asarray(seen(data).convert("RGB")))
    assert (greys == greys[:1, :, :1]).all()
    row = greys[0, :, 0].astype(int)
    assert (row[0], row[-1]) == (0, 255)
    assert (np.diff(row) >= 255 // last).all()


def test_one_source_alone_is_black():
    data = encode_indices(np.zeros((3, 4), np.uint8))
    np.testing.assert_array_equal(decode_indices(data), np.zeros((3, 4)))
    assert (decode(data, "map").pixels == 0).all()


def test_the_last_index_that_occurs_is_white_whatever_is_missing():
    data = encode_indices(np.array([[2, 0], [2, 2]], np.uint8))
    assert decode(data, "map").pixels[..., 0].tolist() == [[255, 0], [255, 255]]
