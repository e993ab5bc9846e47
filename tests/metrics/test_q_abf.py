"""Q^AB/F against its definition, pixel by pixel, and against what is known by hand."""

import math

import numpy as np
import pytest

from dfp_batch.metrics import q_abf
from metric_images import noise, ramp

BEST_Q_ABF = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))


@pytest.mark.parametrize("shape", [(2, 9, 8), (3, 16, 17)])
def test_q_abf_matches_its_definition_pixel_by_pixel(shape):
    sources = noise(*shape)
    fused = 0.5 * sources.mean(axis=0) + 0.5 * noise(*shape[1:], seed=1)
    assert q_abf(fused, sources) == pytest.approx(q_abf_by_loop(fused, sources), rel=1e-9)


def q_abf_by_loop(fused, sources):
    preserved = weight = 0
    for pixel in np.ndindex(fused.shape):
        x_f, y_f = slopes_of_one_pixel(fused, *pixel)
        for source in sources:
            x_s, y_s = slopes_of_one_pixel(source, *pixel)
            strengths = sorted([math.hypot(x_s, y_s), math.hypot(x_f, y_f)])
            relative_strength = strengths[0] / strengths[1] if strengths[1] else 0
            turn = abs(orientation(x_s, y_s) - orientation(x_f, y_f))
            relative_orientation = abs(turn - math.pi / 2) / (math.pi / 2)
            strength = math.hypot(x_s, y_s)
            preserved += strength * preservation(relative_strength, relative_orientation)
            weight += strength
    return preserved / weight


def slopes_of_one_pixel(image, row, column):
    block = np.pad(image, 1, mode="reflect")[row : row + 3, column : column + 3]
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    return np.sum(sobel * block), np.sum(sobel.T * block)


def orientation(x, y):
    return math.atan(y / x) if x else math.pi / 2


def preservation(strength, orientation):
    of_strength = 0.9994 / (1 + math.exp(-15 * (strength - 0.5)))
    return of_strength * 0.9879 / (1 + math.exp(-22 * (orientation - 0.8)))


def test_the_largest_q_abf():
    assert pytest.approx(0.9748, abs=5e-5) == BEST_Q_ABF
    assert preservation(1, 1) == pytest.approx(BEST_Q_ABF)


@pytest.mark.parametrize("gain", [0.5, 0.8, 1.25, 2])
def test_q_abf_of_another_slope_is_that_of_the_ratio(gain):
    sources = np.stack([ramp(slope=3)] * 2)
    expected = preservation(min(gain, 1 / gain), 1)
    assert q_abf(ramp(slope=3 * gain), sources) == pytest.approx(expected)


def test_q_abf_of_a_perpendicular_slope():
    sources = np.stack([ramp(18, 18)] * 2)
    # the slope is 0 across the mirrored border: the first and last row of F have no edge at all
    expected = 16 / 18 * preservation(1, 0) + 2 / 18 * preservation(0, 1)
    assert q_abf(ramp(18, 18).T, sources) == pytest.approx(expected)


def test_q_abf_weighs_sources_by_their_edges():
    sources = np.stack([ramp(slope=3), ramp(slope=1)])
    expected = (3 * BEST_Q_ABF + preservation(1 / 3, 1)) / 4
    assert q_abf(ramp(slope=3), sources) == pytest.approx(expected)


def test_q_abf_takes_an_inverted_edge_for_preserved():
    image = noise(20, 20)
    assert q_abf(255 - image, np.stack([image, image])) == pytest.approx(BEST_Q_ABF)


def test_q_abf_of_lost_edges_is_almost_zero():
    assert 0 < q_abf(np.full((20, 20), 90.0), noise(2, 20, 20)) < 6e-4


def test_q_abf_loses_nothing_where_there_is_no_edge():
    sources = np.full((2, 20, 20), 90.0)
    assert q_abf(noise(20, 20), sources) == pytest.approx(BEST_Q_ABF)
