"""The camera of the scenes, apart from them."""

import numpy as np
import pytest

from conftest import texture
from dfp_batch.synthetic import disc
from dfp_batch.synthetic.camera import (
    at_source_size,
    defocused,
    levels,
    magnified,
    moved,
    noisy,
    through_jpeg,
    unit,
)

STILL = np.zeros(2)


@pytest.mark.parametrize("psf", ["disc", "gaussian"])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 1), (40, 50, 3)])
def test_defocus_keeps_shape_and_light_and_takes_detail(psf, shape):
    plane = texture(40, 50, 3).astype(np.float32).reshape(-1)[: np.prod(shape)].reshape(shape)
    blurred = defocused(plane, 3.0, psf)
    assert blurred.shape == shape
    assert blurred.dtype == np.float32
    assert blurred.mean() == pytest.approx(plane.mean(), rel=0.02)
    assert blurred.std() < 0.7 * plane.std()
    assert defocused(plane, 0, psf) is plane


def test_the_disc_is_what_a_point_becomes():
    point = np.zeros((15, 15), np.float32)
    point[7, 7] = 1
    np.testing.assert_allclose(defocused(point, 4.0, "disc")[3:12, 3:12], disc(4.0), atol=1e-7)


def test_magnification_leaves_the_centre_where_it_is_and_a_shift_moves_it():
    centre = np.array([29.5, 19.5, 1])
    np.testing.assert_allclose(magnified((40, 60), 1.1, STILL) @ centre, centre)
    np.testing.assert_allclose(
        magnified((40, 60), 1.1, np.array([2, -1])) @ centre, [31.5, 18.5, 1]
    )


def test_a_frame_moves_by_whole_pixels_exactly_and_stands_still_without_motion():
    frame = texture(40, 60).astype(np.float32)
    shifted = moved(frame, magnified((40, 60), 1, np.array([3.0, 2.0])))
    np.testing.assert_allclose(shifted[12:30, 13:50], frame[10:28, 10:47], atol=1e-3)
    assert moved(frame, np.eye(3)) is frame


def test_warps_in_pixels_of_the_sources_are_of_the_same_motion():
    full = magnified((40, 60), 1.05, np.array([4.0, -2.0]))
    (small,) = at_source_size(full[None], 2)
    np.testing.assert_allclose(small @ [14.5, 9.5, 1], [16.5, 8.5, 1])
    np.testing.assert_allclose(at_source_size(full[None], 1)[0], full)


def test_noise_has_its_standard_deviation_at_every_pixel():
    light = np.full((2, 200, 200), 0.5, np.float32)
    grain = np.random.default_rng(0).standard_normal(light.shape, np.float32)
    sigma = np.array([0.01, 0.05], np.float32)[:, None, None]
    assert noisy(light, sigma, grain).std((1, 2)) == pytest.approx([0.01, 0.05], rel=0.03)


def test_levels_are_the_nearest_of_256_and_come_back():
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(levels(unit(every)), every)
    np.testing.assert_array_equal(levels(unit(every) + np.float32(0.4 / 255)), every)
    np.testing.assert_array_equal(levels(np.array([-1, 2], np.float32)), [0, 255])


@pytest.mark.parametrize("shape", [(48, 56), (48, 56, 1), (48, 56, 3)])
def test_jpeg_changes_little_at_a_high_quality_and_more_at_a_low_one(shape):
    given = texture(48, 56, shape[2] if len(shape) > 2 else 1).reshape(shape)
    errors = [np.abs(through_jpeg(given, q).astype(int) - given).mean() for q in (98, 60)]
    assert 0 < errors[0] < errors[1] < 20
    assert through_jpeg(given, 90).shape == shape
