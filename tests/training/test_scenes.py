import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.training.scenes import training_scene


@given(side_px=st.integers(16, 80), seed=st.integers(0, 2**32))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_a_scene_is_grey_in_the_unit_range_and_given_by_its_seed(side_px, seed):
    scene = training_scene(side_px, seed)
    assert scene.shape == (side_px, side_px)
    assert scene.dtype == np.float32
    assert 0 <= scene.min() < scene.max() <= 1
    np.testing.assert_array_equal(training_scene(side_px, seed), scene)
    assert (training_scene(side_px, seed + 1) != scene).mean() > 0.5


def test_some_scenes_are_soft_and_some_are_sharp():
    """A blur of 1 px takes away much of some, and little of others."""
    lost = []
    for seed in range(24):
        scene = training_scene(128, seed)
        lost.append((scene - cv2.GaussianBlur(scene, (0, 0), 1)).std() / scene.std())
    assert np.quantile(lost, 0.9) > 2 * np.quantile(lost, 0.1)
