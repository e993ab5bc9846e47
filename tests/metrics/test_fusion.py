"""The fusion metrics against closed forms, libraries, and slow, direct loops."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import pearsonr
from skimage.metrics import structural_similarity

from dfp_batch.errors import ImageError
from dfp_batch.metrics import fusion_metrics, q_abf, q_w, scd, viff
from metric_images import blurred, checkerboard, noise, scene, windows

NAMES = ["scd", "viff", "q_w", "q_abf"]
METRICS = [scd, viff, q_w, q_abf]
BEST_Q_ABF = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))

repeatable = settings(derandomize=True, deadline=None, max_examples=25)
stacks = arrays.arrays(
    np.float32,
    st.tuples(st.integers(3, 5), st.integers(41, 46), st.integers(41, 46)),
    elements=st.floats(0, 255, width=32),
)


# sum of the correlations of differences


def test_scd_by_hand():
    first, second = np.array([[1.0, 2.0, 3.0]]), np.array([[4.0, 2.0, 0.0]])
    fused = np.array([[5.0, 4.0, 6.0]])
    # F - S_2 = (1, 2, 6) with S_1: 5 / sqrt(14 * 2); F - S_1 = (4, 2, 3) with S_2: 2 / sqrt(2 * 8)
    expected = 5 / math.sqrt(28) + 2 / math.sqrt(16)
    assert scd(fused, np.stack([first, second])) == pytest.approx(expected)


def test_scd_matches_the_correlations_of_two_libraries():
    fused, first, second = noise(3, 31, 22)
    pairs = [(fused - second, first), (fused - first, second)]
    measured = scd(fused, np.stack([first, second]))
    assert measured == pytest.approx(sum(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs))
    assert measured == pytest.approx(sum(pearsonr(a.ravel(), b.ravel())[0] for a, b in pairs))


def test_scd_of_three_sources_takes_the_mean_of_the_others():
    fused, first, second, third = noise(4, 20, 20)
    terms = [
        np.corrcoef((fused - (second + third) / 2).ravel(), first.ravel())[0, 1],
        np.corrcoef((fused - (first + third) / 2).ravel(), second.ravel())[0, 1],
        np.corrcoef((fused - (first + second) / 2).ravel(), third.ravel())[0, 1],
    ]
    assert scd(fused, np.stack([first, second, third])) == pytest.approx(2 / 3 * sum(terms))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_scd_reaches_two_where_each_difference_is_a_source(count):
    sources = noise(count, 20, 20)
    assert scd(sources.sum(axis=0) / (count - 1), sources) == pytest.approx(2)


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_scd_of_identical_images_is_zero(count):
    image = noise(20, 20).astype(np.float32)
    assert scd(image, np.stack([image] * count)) == 0


def test_scd_of_a_constant_source_is_the_other_term():
    fused, source = noise(2, 20, 20)
    expected = np.corrcoef((fused - 90).ravel(), source.ravel())[0, 1]
    assert scd(fused, np.stack([source, np.full((20, 20), 90.0)])) == pytest.approx(expected)


def test_scd_has_no_smallest_size():
    assert scd(np.ones((1, 1)), np.ones((2, 1, 1))) == 0


# weighted fusion quality index


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 13), (3, 21, 18)])
def test_q_w_matches_its_definition_window_by_window(shape):
    sources = noise(*shape)
    fused = 0.5 * sources.mean(axis=0) + 0.5 * noise(*shape[1:], seed=1)
    assert q_w(fused, sources) == pytest.approx(q_w_by_loop(fused, sources), rel=1e-9)


def q_w_by_loop(fused, sources):
    score = weight = 0
    for f, *of_sources in zip(*(windows(image, 8) for image in [fused, *sources]), strict=True):
        saliency = [window.var() for window in of_sources]
        quality = [universal_quality(window, f) for window in of_sources]
        shared = np.dot(saliency, quality) / sum(saliency)
        score += max(saliency) * shared
        weight += max(saliency)
    return score / weight


def universal_quality(first, second):
    (var_1, covariance), (_, var_2) = np.cov(first.ravel(), second.ravel(), bias=True)
    mean_1, mean_2 = first.mean(), second.mean()
    return 4 * covariance * mean_1 * mean_2 / ((var_1 + var_2) * (mean_1**2 + mean_2**2))


def test_the_universal_quality_of_these_tests_is_ssim_without_constants():
    first, second = noise(2, 20, 23)
    _, library = structural_similarity(
        first, second, win_size=7, data_range=255, K1=0, K2=0, full=True
    )
    here = [
        universal_quality(*pair) for pair in zip(windows(first, 7), windows(second, 7), strict=True)
    ]
    np.testing.assert_allclose(here, library[3:-3, 3:-3].ravel())


def test_q_w_of_one_window_by_hand():
    image = checkerboard(8, amplitude=40) - 28  # mean 100
    fused = 50 + 0.5 * (image - 100)
    expected = 2 * 100 * 50 / (100**2 + 50**2) * 2 * 0.5 / (1 + 0.5**2)
    assert q_w(fused, np.stack([image, image])) == pytest.approx(expected)


def test_q_w_weighs_sources_by_their_variance():
    strong, weak = checkerboard(8, amplitude=60), checkerboard(8, amplitude=20)
    # variances 9 : 1; the quality of weak for strong is that of a contrast of 1/3
    expected = 0.9 + 0.1 * 2 / 3 / (1 + 1 / 9)
    assert q_w(strong, np.stack([strong, weak])) == pytest.approx(expected)


def test_q_w_ignores_windows_where_all_sources_are_flat():
    image = np.where(np.arange(40) < 16, noise(16, 40), 90.0)
    spoilt = np.where(np.arange(40) < 24, image, noise(16, 40, seed=1))
    assert q_w(spoilt, np.stack([image, image])) == pytest.approx(1)


@pytest.mark.parametrize(
    ("greys", "grey", "expected"),
    [((100, 100), 100, 1), ((100, 100), 50, 0.8), ((100, 50), 50, 0.9), ((0, 0, 0), 0, 1)],
)
def test_q_w_of_flat_images_compares_their_means(greys, grey, expected):
    sources = np.stack([np.full((17, 19), float(grey)) for grey in greys])
    assert q_w(np.full((17, 19), float(grey)), sources) == pytest.approx(expected)


def test_q_w_of_an_inverted_image_is_minus_one():
    image = checkerboard(16)
    assert q_w(256 - image, np.stack([image, image])) == pytest.approx(-1)


# all four


def test_fusion_metrics_are_the_four_functions_in_order():
    fused, *sources = noise(3, 45, 45)
    measured = fusion_metrics(fused, np.stack(sources))
    assert list(measured) == NAMES
    assert list(measured.values()) == [metric(fused, np.stack(sources)) for metric in METRICS]
    assert all(type(value) is float for value in measured.values())


@repeatable
@given(stacks, st.integers(2, 4))
def test_identical_images_reach_the_known_values(stack, count):
    image = stack[0]
    expected = {"scd": 0, "viff": 1, "q_w": 1, "q_abf": BEST_Q_ABF}
    assert fusion_metrics(image, np.stack([image] * count)) == pytest.approx(expected)


@repeatable
@given(stacks)
def test_ranges(stack):
    measured = fusion_metrics(stack[0], stack[1:])
    assert abs(measured["scd"]) <= 2 + 1e-9
    assert 0 <= measured["viff"] < math.inf
    assert abs(measured["q_w"]) <= 1 + 1e-9
    assert 0 <= measured["q_abf"] <= BEST_Q_ABF + 1e-9


@repeatable
@given(stacks)
def test_the_order_of_the_sources_is_free(stack):
    forward = fusion_metrics(stack[0], stack[1:])
    assert fusion_metrics(stack[0], stack[:0:-1]) == pytest.approx(forward, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_every_order_of_three_sources_is_the_same(order):
    sharp, sources = scene(3)
    expected = fusion_metrics(sharp, sources)
    assert fusion_metrics(sharp, sources[list(order)]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("metric", [viff, q_w, q_abf])
def test_sources_given_twice_change_nothing(metric):
    fused, *sources = noise(4, 45, 45)
    assert metric(fused, np.stack(sources * 2)) == pytest.approx(metric(fused, np.stack(sources)))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("metric", METRICS)
def test_a_sharp_composite_is_better_than_the_mean_and_that_than_a_blurred_one(metric, count):
    sharp, sources = scene(count)
    mean = sources.mean(axis=0)
    values = [metric(image, sources) for image in (sharp, mean, blurred(mean, 3))]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[1] + 0.05


@pytest.mark.parametrize("metric", METRICS)
def test_more_noise_is_worse(metric):
    sharp, sources = scene()
    error = noise(*sharp.shape, seed=1) - 127.5
    values = [metric(sharp + gain * error, sources) for gain in (0, 0.1, 0.4)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("gain", [1e-3, 0.5])
@pytest.mark.parametrize("metric", [scd, q_w, q_abf])
def test_exposure_changes_nothing(metric, gain):
    fused, *sources = noise(3, 45, 45)
    expected = metric(fused, np.stack(sources))
    assert metric(gain * fused, gain * np.stack(sources)) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(41, 41), (47, 64), (64, 53)])
def test_a_transpose_changes_nothing(shape):
    fused, *sources = noise(3, *shape)
    turned = fusion_metrics(fused.T, np.stack([source.T for source in sources]))
    assert turned == pytest.approx(fusion_metrics(fused, np.stack(sources)), rel=1e-9)


@pytest.mark.parametrize("grey", [0.0, 77.3, 254.9, 255.0])
@pytest.mark.parametrize("flat", range(8))
def test_flat_images_give_numbers(grey, flat):
    stack = blurred(noise(3, 45, 43).transpose(1, 2, 0), 1).transpose(2, 0, 1)
    stack[[bool(flat >> bit & 1) for bit in range(3)]] = grey
    assert all(map(math.isfinite, fusion_metrics(stack[0], stack[1:]).values()))


def test_single_and_double_precision_agree():
    stack = noise(3, 45, 45).astype(np.float32)
    expected = fusion_metrics(stack[0].astype(np.float64), stack[1:].astype(np.float64))
    assert fusion_metrics(stack[0], stack[1:]) == pytest.approx(expected, rel=1e-9)


def test_the_input_is_left_alone_and_may_be_a_read_only_view():
    stack = noise(3, 90, 90)
    before = stack.copy()
    view = stack[:, ::2, ::2]
    view.flags.writeable = False
    copy = view.copy()
    assert fusion_metrics(view[0], view[1:]) == fusion_metrics(copy[0], copy[1:])
    np.testing.assert_array_equal(stack, before)


# errors


@pytest.mark.parametrize("metric", [*METRICS, fusion_metrics])
def test_sizes_must_agree(metric):
    message = (
        "fused image must be as large as the sources, expected 62x54 px, found 60x50 px; "
        "enlarge or crop one to the size of the other"
    )
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        metric(noise(50, 60), noise(2, 54, 62))


@pytest.mark.parametrize("metric", [*METRICS, fusion_metrics])
def test_one_source_is_no_fusion(metric):
    with pytest.raises(ImageError, match=r"^fusion metrics need at least 2 sources, got 1$"):
        metric(noise(50, 60), noise(1, 50, 60))


@pytest.mark.parametrize(("metric", "name", "least"), [(viff, "VIFF", 41), (q_w, "Q_W", 8)])
def test_windows_need_room(metric, name, least):
    for height, width in [(least - 1, 60), (60, least - 1)]:
        message = f"image must be at least {least}x{least} px for {name}, got {width}x{height} px"
        with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
            metric(noise(height, width), noise(2, height, width))
    assert math.isfinite(metric(noise(least, least), noise(2, least, least)))
