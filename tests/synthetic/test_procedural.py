import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.synthetic.procedural import draw_stroke, procedural_image


@given(side_px=st.integers(16, 80), seed=st.integers(0, 2**32))
@settings(max_examples=15, derandomize=True, deadline=None)
def test_an_image_is_colour_in_the_unit_range_and_given_by_its_seed(side_px, seed):
    image = procedural_image(side_px, seed)
    assert image.shape == (3, side_px, side_px)
    assert image.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 1
    np.testing.assert_array_equal(procedural_image(side_px, seed), image)
    assert (procedural_image(side_px, seed + 1) != image).mean() > 0.5


@pytest.mark.parametrize("seed", range(4))
def test_there_is_detail_at_every_scale_and_almost_everywhere(seed):
    grey = procedural_image(128, seed).mean(0)
    previous = cv2.GaussianBlur(grey, (0, 0), 0.5)
    for sigma_px in (1, 2, 4, 8, 16):
        smoother = cv2.GaussianBlur(grey, (0, 0), sigma_px)
        assert (previous - smoother).std() > 0.01
        previous = smoother
    blocks = grey.reshape(8, 16, 8, 16).std((1, 3))
    assert np.median(blocks) > 0.03


@pytest.mark.parametrize("width_px", [1.5, 5.0])
def test_a_stroke_is_thin_and_as_wide_as_asked(width_px):
    mask = np.zeros((96, 96), np.uint8)
    draw_stroke(mask, width_px, np.random.default_rng(1))
    thickest_px = 2 * cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 5).max()
    assert width_px - 1 <= thickest_px <= 2 * width_px + 2  # twice where it turns
    assert 30 * width_px < (mask / 255).sum() < 200 * width_px
