"""What a warp takes inside, and the largest rectangle that is valid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.alignment.crop import valid_rectangle
from dfp_batch.alignment.warp import inside
from moved_frames import centred, through, turned

# What a frame covers.


def covered_by_definition(warp, size):
    y, x = np.mgrid[: size[0], : size[1]]
    places = through(warp, np.stack([x.ravel(), y.ravel()], 1))
    most = np.array([size[1], size[0]]) - 1
    return ((places >= -1e-3) & (places <= most + 1e-3)).all(1).reshape(size)


@given(
    degrees=st.floats(-30, 30),
    magnification=st.floats(0.7, 1.4),
    shift=st.tuples(*[st.floats(-10, 10)] * 2),
    tilt=st.tuples(*[st.floats(-2e-3, 2e-3)] * 2),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_what_is_inside_is_what_the_warp_takes_inside(degrees, magnification, shift, tilt):
    size = (31, 44)
    warp = centred(size, turned(degrees, magnification), shift, tilt)
    found = inside(warp, size)
    assert (found != covered_by_definition(warp, size)).mean() < 0.002  # the tolerance differs


def test_the_identity_covers_everything_and_shifts_leave_a_rim():
    assert inside(np.eye(3), (5, 7)).all()
    found = inside(centred((5, 7), shift=(2.0, -1.0)), (5, 7))
    wanted = np.zeros((5, 7), bool)
    wanted[1:, :-2] = True
    np.testing.assert_array_equal(found, wanted)
    assert not inside(centred((5, 7), shift=(7.0, 0)), (5, 7)).any()
    assert inside(centred((5, 7), shift=(1e-6, 0)), (5, 7)).all()


# Rectangles.


def largest_by_trying(mask):
    h, w = mask.shape
    best = 0
    for top in range(h):
        for left in range(w):
            for bottom in range(top + 1, h + 1):
                for right in range(left + 1, w + 1):
                    if mask[top:bottom, left:right].all():
                        best = max(best, (bottom - top) * (right - left))
    return best


@given(data=st.data(), h=st.integers(1, 6), w=st.integers(1, 6))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_the_largest_rectangle_of_a_small_mask(data, h, w):
    bits = data.draw(st.lists(st.booleans(), min_size=h * w, max_size=h * w))
    mask = np.array(bits).reshape(h, w)
    top, left, height, width = valid_rectangle(mask)
    assert mask[top : top + height, left : left + width].all()
    assert height * width == largest_by_trying(mask)


def test_known_rectangles():
    mask = np.ones((5, 8), bool)
    assert valid_rectangle(mask) == (0, 0, 5, 8)
    mask[0] = mask[:, 6:] = False
    assert valid_rectangle(mask) == (1, 0, 4, 6)
    assert valid_rectangle(np.zeros((4, 4), bool)) == (0, 0, 0, 0)


@pytest.mark.parametrize("size", [(600, 800), (1000, 333), (257, 257)])
def test_the_rectangle_of_a_large_mask_is_valid_and_cannot_grow(size):
    mask = inside(centred(size, turned(2, 1.01), (6.3, -3.2)), size)
    top, left, height, width = valid_rectangle(mask)
    assert mask[top : top + height, left : left + width].all()
    assert height * width > 0.85 * mask.sum()
    assert top == 0 or not mask[top - 1, left : left + width].all()
    assert left == 0 or not mask[top : top + height, left - 1].all()
    bottom, right = top + height, left + width
    assert bottom == size[0] or not mask[bottom, left:right].all()
    assert right == size[1] or not mask[top:bottom, right].all()


def test_a_large_mask_with_no_whole_block_still_has_a_rectangle():
    mask = np.zeros((600, 700), bool)
    assert valid_rectangle(mask) == (0, 0, 0, 0)
    mask[301, 100:400] = True
    assert valid_rectangle(mask) == (301, 100, 1, 300)


def test_a_large_rectangle_is_found_to_the_pixel():
    mask = np.zeros((1000, 1200), bool)
    mask[101:907, 53:1111] = True
    assert valid_rectangle(mask) == (101, 53, 806, 1058)
