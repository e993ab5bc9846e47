"""The paper's metrics against answers worked out by hand and against slow, direct loops."""

import cmath
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dfp_batch.metrics import (
    edge_coherence,
    edge_intensity,
    information_entropy,
    mean_gradient,
    mean_grey,
    paper,
    paper_metrics,
    relative_metrics,
)

NAMES = ["mg", "ei", "ie", "mga", "eco"]
ROTATION_INVARIANT = [edge_intensity, information_entropy, mean_grey, edge_coherence]

repeatable = settings(derandomize=True, deadline=None, max_examples=25)
images = arrays.arrays(
    np.float32,
    st.tuples(st.integers(16, 24), st.integers(16, 24)),
    elements=st.floats(0, 255, width=32),
)


def noise(height=20, width=24, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (height, width))


def ramp(height=16, width=24, slope=1.0):
    return np.tile(slope * np.arange(width), (height, 1))


def step(height=16, width=16, low=0.0, high=100.0):
    return np.tile(np.where(np.arange(width) < width // 2, low, high), (height, 1))


def checkerboard(size=16):
    rows, columns = np.indices((size, size))
    return np.where((rows + columns) % 2, 255.0, 0.0)


def blurred(luma, sigma):
    return cv2.GaussianBlur(luma, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


# known answers


def test_mean_gradient_of_a_ramp_is_its_slope():
    assert mean_gradient(ramp(slope=3)) == pytest.approx(3)
    assert mean_gradient(ramp(slope=3).T) == pytest.approx(3)


def test_mean_gradient_adds_both_directions():
    assert mean_gradient(ramp(16, 16, 3) + ramp(16, 16, 2).T) == pytest.approx(5)


def test_mean_gradient_of_a_checkerboard_is_its_upper_bound():
    assert mean_gradient(checkerboard()) == 510


def test_edge_intensity_of_a_ramp_is_eight_slopes_except_across_the_mirrored_border():
    assert edge_intensity(ramp(16, 24, 3)) == pytest.approx(8 * 3 * 22 / 24)


def test_edge_intensity_is_the_euclidean_length_of_both_slopes():
    plane = ramp(18, 18, 3) + ramp(18, 18, 4).T
    # 16x16 px inside see both slopes, 16 px on each side one, the corners none
    expected = 8 * (5 * 16 * 16 + 3 * 2 * 16 + 4 * 2 * 16) / 18**2
    assert edge_intensity(plane) == pytest.approx(expected)


def test_edge_intensity_does_not_see_a_checkerboard():
    assert edge_intensity(checkerboard()) == 0


def test_information_entropy_of_a_checkerboard_is_that_of_a_coin():
    # pairs (0, 128) and (255, 128): the mean 127.5 goes to the even level
    assert information_entropy(checkerboard()) == pytest.approx(math.log10(2))


def test_information_entropy_of_a_step_counts_the_pairs_at_the_edge():
    # (0, 0), (0, 38), (100, 62), (100, 100) in 7, 1, 1 and 7 of the 16 columns
    expected = -(2 * 7 / 16 * math.log10(7 / 16) + 2 * 1 / 16 * math.log10(1 / 16))
    assert information_entropy(step()) == pytest.approx(expected)


def test_information_entropy_matches_a_direct_count():
    luma = np.round(noise(16, 17) / 64)  # few levels: pairs repeat, and rounding merges some
    expected = entropy_by_loop(luma)
    assert 0.5 < expected < math.log10(luma.size) - 0.2
    assert information_entropy(luma) == pytest.approx(expected)


def entropy_by_loop(luma):
    level = np.clip(np.rint(luma), 0, 255)
    padded = np.pad(level, 1, mode="reflect")
    counts = {}
    for row, column in np.ndindex(luma.shape):
        block = padded[row : row + 3, column : column + 3]
        pair = level[row, column], round((block.sum() - block[1, 1]) / 8)
        counts[pair] = counts.get(pair, 0) + 1
    return -sum(n / luma.size * math.log10(n / luma.size) for n in counts.values())


def test_information_entropy_clips_what_is_outside_the_scale():
    inside = step(low=0, high=255)
    assert information_entropy(step(low=-9, high=300)) == information_entropy(inside)


def test_mean_grey_of_two_values_is_their_mean():
    assert mean_grey(checkerboard()) == 127.5
    assert mean_grey(step(low=10, high=30)) == 20


@pytest.mark.parametrize("shape", [(16, 16), (17, 19)])
def test_edge_coherence_matches_the_direct_convolution(shape):
    luma = noise(*shape)
    assert edge_coherence(luma) == pytest.approx(coherence_by_loop(luma), rel=1e-9)


def coherence_by_loop(luma):
    edge, fork = convolve_by_loop(luma, 1), convolve_by_loop(luma, 3)
    return -sum(
        abs(y3) * abs(y1) * math.cos(cmath.phase(y3) - 3 * cmath.phase(y1))
        for y1, y3 in zip(edge, fork, strict=True)
    )


def convolve_by_loop(luma, order):
    padded = np.pad(luma, 8, mode="reflect")
    offsets = range(-8, 9)
    kernel = np.array([[harmonic(x, y, order) for x in offsets] for y in offsets])
    mirrored = kernel[::-1, ::-1]
    return [
        np.sum(mirrored * padded[row : row + 17, column : column + 17])
        for row, column in np.ndindex(luma.shape)
    ]


def harmonic(x, y, order, sigma=2.0):
    radius, angle = math.hypot(x, y), math.atan2(y, x)
    envelope = (radius / sigma) ** order * math.exp(-(radius**2) / (2 * sigma**2))
    gain = -1 / (math.factorial(order) * sigma * math.sqrt(math.pi))
    return gain * envelope * cmath.exp(-1j * order * angle)


def test_edge_coherence_of_a_straight_edge_is_positive():
    assert edge_coherence(step(32, 32)) > 0


# constants, sizes, types


@pytest.mark.parametrize("grey", [0.0, 77.3, 255.0])
@pytest.mark.parametrize("shape", [(16, 16), (16, 33), (40, 17)])
def test_a_constant_image_has_only_a_mean_grey(grey, shape):
    expected = {"mg": 0, "ei": 0, "ie": 0, "mga": grey, "eco": 0}
    assert paper_metrics(np.full(shape, grey)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_in_bands_of_any_height_an_image_measures_the_same(rows, monkeypatch):
    luma = np.random.default_rng(3).uniform(0, 255, (41, 23))
    whole = paper_metrics(luma)
    monkeypatch.setattr(paper, "_ROWS", rows)
    assert paper_metrics(luma) == pytest.approx(whole, rel=1e-12)


def test_images_of_two_pixels_are_measured():
    assert all(map(math.isfinite, paper_metrics(noise(2, 2)).values()))


def test_paper_metrics_are_the_five_functions_in_order():
    luma = noise()
    functions = [mean_gradient, edge_intensity, information_entropy, mean_grey, edge_coherence]
    measured = paper_metrics(luma)
    assert list(measured) == NAMES
    assert list(measured.values()) == [function(luma) for function in functions]
    assert all(type(value) is float for value in measured.values())


def test_single_and_double_precision_agree():
    luma = noise().astype(np.float32)
    assert paper_metrics(luma) == pytest.approx(paper_metrics(luma.astype(np.float64)))


def test_the_input_is_left_alone_and_may_be_a_read_only_view():
    luma = noise(40, 40)
    before = luma.copy()
    view = luma[::2, ::2]
    view.flags.writeable = False
    assert paper_metrics(view) == paper_metrics(view.copy())
    np.testing.assert_array_equal(luma, before)


# invariants and behaviour


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("metric", ROTATION_INVARIANT)
def test_a_quarter_turn_changes_nothing(metric, turns):
    luma = blurred(noise(24, 32), 1)
    assert metric(np.rot90(luma, turns)) == pytest.approx(metric(luma), rel=1e-9)


@pytest.mark.parametrize("metric", [mean_gradient, *ROTATION_INVARIANT])
def test_a_transpose_changes_nothing(metric):
    luma = blurred(noise(24, 32), 1)
    assert metric(luma.T) == pytest.approx(metric(luma), rel=1e-9)


@repeatable
@given(images)
def test_ranges(luma):
    measured = paper_metrics(luma)
    assert list(measured) == NAMES
    assert 0 <= measured["mg"] <= 510
    assert 0 <= measured["ei"] <= 1020 * math.sqrt(2)
    assert 0 <= measured["ie"] <= math.log10(luma.size) + 1e-9
    assert luma.min() - 1e-3 <= measured["mga"] <= luma.max() + 1e-3
    assert math.isfinite(measured["eco"])


@repeatable
@given(images, st.floats(0.25, 4))
def test_contrast_scales_gradients_once_and_coherence_twice(luma, gain):
    luma = luma.astype(np.float64)
    assert mean_gradient(gain * luma) == pytest.approx(gain * mean_gradient(luma))
    assert edge_intensity(gain * luma) == pytest.approx(gain * edge_intensity(luma))
    expected = gain**2 * edge_coherence(luma)
    assert edge_coherence(gain * luma) == pytest.approx(expected, rel=1e-6, abs=1e-3)


@repeatable
@given(images, st.floats(-50, 50))
def test_an_offset_moves_only_the_mean_grey(luma, offset):
    luma = luma.astype(np.float64)
    shifted = luma + offset
    assert mean_grey(shifted) == pytest.approx(mean_grey(luma) + offset)
    assert mean_gradient(shifted) == pytest.approx(mean_gradient(luma), abs=1e-9)
    assert edge_intensity(shifted) == pytest.approx(edge_intensity(luma), abs=1e-9)
    assert edge_coherence(shifted) == pytest.approx(edge_coherence(luma), rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("metric", [mean_gradient, edge_intensity])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_blur_lowers_gradients(metric, seed):
    luma = noise(48, 48, seed)
    values = [metric(luma), *(metric(blurred(luma, sigma)) for sigma in (0.7, 1.5, 3.0))]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)


def test_blur_lowers_the_coherence_of_an_edge():
    edge = step(48, 48)
    values = [edge_coherence(edge), *(edge_coherence(blurred(edge, s)) for s in (1, 2, 4))]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)


# relative forms


def metrics_of(mg, ei, ie, mga, eco):
    return {"mg": mg, "ei": ei, "ie": ie, "mga": mga, "eco": eco}


def test_relative_metrics_by_hand():
    fused = metrics_of(mg=7, ei=50, ie=3.0, mga=100, eco=5)
    truths = metrics_of(4, 40, 2.5, 101, 1), metrics_of(6, 44, 2.9, 105, 3)
    expected = {"rmg": 2, "rei": 8, "rie": 0.3, "rmga": 3, "reco": 2.5}
    relative = relative_metrics(fused, truths)
    assert list(relative) == list(expected)
    assert relative == pytest.approx(expected)  # reco = |2 - 6/2 - 6/4|


def test_relative_metrics_have_no_sign():
    truth = metrics_of(4, 40, 2.5, 101, 9)
    below = metrics_of(3, 39, 1.5, 100, 4)
    expected = {"rmg": 1, "rei": 1, "rie": 1, "rmga": 1, "reco": 1}
    assert relative_metrics(below, (truth, truth)) == pytest.approx(expected)


def test_relative_metrics_of_flat_truths_are_finite():
    flat = paper_metrics(np.full((16, 16), 80.0))
    relative = relative_metrics(paper_metrics(noise(16, 16)), (flat, flat))
    assert all(map(math.isfinite, relative.values()))


@repeatable
@given(images)
def test_relative_metrics_of_three_equal_images_are_zero(luma):
    measured = paper_metrics(luma)
    assert set(relative_metrics(measured, (measured, measured)).values()) == {0.0}


@repeatable
@given(images, images, images)
def test_relative_metrics_ignore_the_order_of_the_truths(fused, first, second):
    fused, first, second = map(paper_metrics, (fused, first, second))
    forward = relative_metrics(fused, (first, second))
    assert forward == pytest.approx(relative_metrics(fused, (second, first)))
    assert min(forward.values()) >= 0
