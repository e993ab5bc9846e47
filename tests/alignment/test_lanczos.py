"""Lanczos4 by products of matrices, against the sum over 8 x 8 pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfp_batch.alignment.lanczos import resampled, tiles_of
from moved_frames import centred, turned

SIZE = (90, 110)
HARDLY = np.array([[0.997, 2e-4, 3.71], [-3e-4, 1.004, -2.23], [1e-7, -2e-7, 1]])
LEFTS = (0, 40)


def picture(seed=0, channels=3):
    return np.random.default_rng(seed).random((*SIZE, channels), np.float32)


def kernel(away):
    return np.sinc(away) * np.sinc(away / 4) * (abs(away) < 4)


def plain(image, warp, left, size):
    """Every pixel on its own."""
    found = np.zeros((*size, image.shape[2]))
    folds = [np.pad(np.arange(side), 20, "reflect") for side in image.shape[:2]]
    for row, column in np.ndindex(size):
        x, y, depth = warp @ (left + column, row, 1)
        weights, pixels = [], []
        for place, fold in zip((y / depth, x / depth), folds, strict=True):
            near = int(np.floor(place)) + np.arange(-3, 5)
            weight = kernel(place - near)
            weights.append(weight / weight.sum())
            pixels.append(fold[near + 20])
        found[row, column] = np.einsum("y,x,yxc->c", *weights, image[np.ix_(*pixels)])
    return found


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_tiles_are_the_sum_over_eight_by_eight_pixels(channels):
    """Also beyond the border, where the image is reflected."""
    image = picture(channels=channels)
    tiles = tiles_of(HARDLY, LEFTS, (24, 64))
    for left, tile in zip(LEFTS, resampled(image, tiles), strict=True):
        assert tile.shape == (24, 64, channels)
        error = tile.numpy() - plain(image, HARDLY, left, (24, 64))
        assert np.abs(error).max() < 2 / 32  # of white noise, whose slopes are about 2 per px
        assert np.sqrt((error**2).mean()) < 0.008


@given(st.floats(-9, 9), st.floats(-9, 9), st.floats(0.9, 1.1))
def test_what_is_the_same_everywhere_stays_so(x_px, y_px, zoom):
    warp = np.array([[zoom, 0, x_px], [0, zoom, y_px], [0, 0, 1]])
    tiles = tiles_of(warp, LEFTS, (64, 64))
    for tile in resampled(np.full((*SIZE, 1), 0.3, np.float32), tiles):
        np.testing.assert_allclose(tile, 0.3, atol=1e-6)


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_a_shift_by_whole_pixels_is_exact(x_px, y_px):
    image = picture()
    warp = centred(SIZE, shift=(x_px, 20 + y_px))
    (tile,) = resampled(image, tiles_of(warp, [30], (32, 32)))
    shown = image[20 + y_px : 52 + y_px, 30 + x_px : 62 + x_px]
    np.testing.assert_allclose(tile, shown, atol=1e-6)


@pytest.mark.parametrize(
    "warp", [centred(SIZE, turned(1)), np.diag([-1.0, 1, 1]), centred(SIZE, tilt=(1e-3, 0))]
)
def test_a_warp_that_turns_mirrors_or_tilts_has_no_such_tiles(warp):
    assert tiles_of(warp, LEFTS, (64, 64)) is None
