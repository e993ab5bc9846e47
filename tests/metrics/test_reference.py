"""PSNR and SSIM: known answers, limits, order, and the text of the errors."""

import math
import re

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dfp_batch.errors import ImageError
from dfp_batch.metrics import psnr_db, ssim

repeatable = settings(derandomize=True, deadline=None, max_examples=25)
images = arrays.arrays(
    np.float32,
    st.tuples(st.integers(16, 24), st.integers(16, 24)),
    elements=st.floats(0, 1, width=32),
)


def noise(height=24, width=32, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (height, width))


@pytest.mark.parametrize(("error", "decibels"), [(1.0, 0), (0.1, 20), (0.01, 40)])
def test_psnr_of_a_uniform_error(error, decibels):
    reference = np.zeros((16, 16))
    assert psnr_db(reference + error, reference) == pytest.approx(decibels)


def test_psnr_depends_on_the_mean_square_alone():
    reference = np.zeros((16, 16))
    fused = reference.copy()
    fused[3, 5] = 0.8  # mean square 0.64 / 256 = 1 / 400
    assert psnr_db(fused, reference) == pytest.approx(10 * math.log10(400))


def test_ssim_of_two_constants_is_the_luminance_term():
    low, high, c1 = 0.2, 0.6, 0.01**2
    expected = (2 * low * high + c1) / (low**2 + high**2 + c1)
    assert ssim(np.full((16, 16), low), np.full((16, 16), high)) == pytest.approx(expected)


def test_ssim_matches_its_definition_in_one_window():
    first, second = noise(11, 11, 1), noise(11, 11, 2)
    assert ssim(first, second) == pytest.approx(ssim_of_one_window(first, second))


def ssim_of_one_window(first, second):
    bell = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(bell, bell) / bell.sum() ** 2
    mean_1, mean_2 = np.sum(weights * first), np.sum(weights * second)
    variance_1 = np.sum(weights * (first - mean_1) ** 2)
    variance_2 = np.sum(weights * (second - mean_2) ** 2)
    covariance = np.sum(weights * (first - mean_1) * (second - mean_2))
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_1 * mean_2 + c1) / (mean_1**2 + mean_2**2 + c1)
    return luminance * (2 * covariance + c2) / (variance_1 + variance_2 + c2)


@repeatable
@given(images)
def test_identical_images_are_perfect(image):
    assert psnr_db(image, image.copy()) == float("inf")
    assert ssim(image, image.copy()) == pytest.approx(1)


@repeatable
@given(images, st.integers(0, 99))
def test_both_are_symmetric_and_bounded(fused, seed):
    reference = noise(*fused.shape, seed)
    assert psnr_db(fused, reference) == pytest.approx(psnr_db(reference, fused))
    assert ssim(fused, reference) == pytest.approx(ssim(reference, fused), abs=1e-6)
    assert psnr_db(fused, reference) >= 0
    assert -1 - 1e-6 <= ssim(fused, reference) <= 1 + 1e-6


@pytest.mark.parametrize("metric", [psnr_db, ssim])
def test_more_noise_is_worse(metric):
    reference = noise() / 2 + 0.25
    error = noise(seed=1) - 0.5
    values = [metric(reference + gain * error, reference) for gain in (0.02, 0.1, 0.4)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("metric", [psnr_db, ssim])
def test_more_blur_is_worse(metric):
    reference = noise(48, 48)
    values = [metric(cv2.GaussianBlur(reference, (0, 0), s), reference) for s in (0.5, 1, 2)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("metric", [psnr_db, ssim])
def test_single_and_double_precision_agree(metric):
    fused, reference = noise(seed=1).astype(np.float32), noise(seed=2).astype(np.float32)
    expected = metric(fused.astype(np.float64), reference.astype(np.float64))
    assert metric(fused, reference) == pytest.approx(expected, rel=1e-5)
    assert type(metric(fused, reference)) is float


@pytest.mark.parametrize("metric", [psnr_db, ssim])
def test_sizes_must_agree(metric):
    message = (
        "fused image must be as large as the reference, expected 32x24 px, found 30x20 px; "
        "enlarge or crop one to the size of the other"
    )
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        metric(noise(20, 30), noise(24, 32))


def test_a_transposed_image_has_another_size():
    with pytest.raises(ImageError, match=r"expected 32x24 px, found 24x32 px"):
        psnr_db(noise().T, noise())


@pytest.mark.parametrize("shape", [(10, 32), (32, 10)])
def test_ssim_needs_room_for_its_window(shape):
    message = f"image must be at least 11x11 px for SSIM, got {shape[1]}x{shape[0]} px"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        ssim(noise(*shape), noise(*shape))


def test_psnr_has_no_smallest_size():
    assert psnr_db(np.zeros((1, 1)), np.ones((1, 1))) == pytest.approx(0)
