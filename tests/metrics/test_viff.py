"""VIFF against its definition, window by window, and against what is known by hand."""

import itertools
import math

import numpy as np
import pytest

from dfp_batch.metrics import viff
from metric_images import blurred, checkerboard, noise, scene, windows

NOISE = 0.005 * 255**2


@pytest.mark.parametrize("shape", [(2, 41, 41), (2, 45, 50), (3, 44, 43)])
def test_viff_matches_its_definition_window_by_window(shape):
    sources = noise(*shape)
    fused = 0.5 * sources.mean(axis=0) + 0.5 * noise(*shape[1:], seed=1)
    assert viff(fused, sources) == pytest.approx(viff_by_loop(fused, sources), rel=1e-9)


def test_viff_matches_its_definition_on_partly_flat_images():
    sharp, sources = scene(height=50, width=100)
    sources[0, :25] = 255
    sources[:, :, :25] = 0
    sources[1, :, 75:] = 77.3
    fused = np.where(np.arange(100) < 60, sharp, 77.3)
    assert viff(fused, sources) == pytest.approx(viff_by_loop(fused, sources), rel=1e-6)
    assert viff(fused, sources[::-1]) == pytest.approx(viff_by_loop(fused, sources), rel=1e-6)


def viff_by_loop(fused, sources):
    images = [fused, *sources]
    score = 0
    for size, weight in [(17, 1), (9, 0), (5, 0.15), (3, 1)]:
        distance = np.arange(size) - size // 2
        bell = np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * (size / 5) ** 2))
        bell /= bell.sum()
        if size < 17:
            images = [half_by_loop(image, bell) for image in images]
        terms = [
            min((information_of_one_window(s, f, bell) for s in of_sources), key=gain_then_variance)
            for f, *of_sources in zip(*(windows(image, size) for image in images), strict=True)
        ]
        kept, given = (sum(term[part] + 1e-7 for term in terms) for part in (1, 2))
        score += weight / 2.15 * kept / given
    return score


def gain_then_variance(information):
    gain, _, given = information
    return gain, -given


def half_by_loop(image, bell):
    size = len(bell)
    rows, columns = (range(0, length - size + 1, 2) for length in image.shape)
    return np.array(
        [[np.sum(bell * image[r : r + size, c : c + size]) for c in columns] for r in rows]
    )


def information_of_one_window(source, fused, bell):
    """Gain, VID and VIND."""
    source, fused = source - np.sum(bell * source), fused - np.sum(bell * fused)
    variance, total = np.sum(bell * source**2), np.sum(bell * fused**2)
    covariance = np.sum(bell * source * fused)
    gain, rest = covariance / (variance + 1e-10), total - covariance**2 / (variance + 1e-10)
    if variance < 1e-10:
        gain, rest, variance = 0, total, 0
    if total < 1e-10:
        gain, rest = 0, 0
    if gain < 0:
        gain, rest = 0, total
    kept = math.log10(1 + gain**2 * variance / (max(rest, 1e-10) + NOISE))
    return gain, kept, math.log10(1 + variance / NOISE)


@pytest.mark.parametrize("gain", [0.25, 0.5, 2.0])
def test_viff_of_a_checkerboard_with_another_contrast(gain):
    board = checkerboard(amplitude=60)
    fused = 128 + gain * (board - 128)
    expected = (checkerboard_fidelity(60, gain) + 0.15 + 1) / 2.15
    assert viff(fused, np.stack([board, board])) == pytest.approx(expected, abs=1e-6)


def checkerboard_fidelity(amplitude, gain):
    """Of the finest level. All windows are alike there, and the coarser levels are flat."""
    bell = np.exp(-(np.arange(-8, 9) ** 2) / (2 * 3.4**2))
    mean = (np.sum(bell * (-1.0) ** np.arange(17)) / bell.sum()) ** 2
    variance = amplitude**2 * (1 - mean**2)
    return math.log(1 + gain**2 * variance / NOISE) / math.log(1 + variance / NOISE)


def test_viff_counts_the_source_that_is_amplified_least():
    strong, weak = checkerboard(amplitude=60), checkerboard(amplitude=30)
    sources = np.stack([weak, strong, weak])
    assert viff(strong, sources) == pytest.approx(1)
    expected = (checkerboard_fidelity(60, gain=0.5) + 0.15 + 1) / 2.15
    assert viff(weak, sources) == pytest.approx(expected, abs=1e-6)


def test_viff_of_a_constant_or_inverted_image_is_zero():
    sources = noise(2, 50, 50)
    assert viff(np.full((50, 50), 127.0), sources) == pytest.approx(0, abs=1e-5)
    assert viff(255 - sources[0], np.stack([sources[0]] * 2)) == pytest.approx(0, abs=1e-5)


def test_viff_asks_for_the_textured_source_where_nothing_is_amplified():
    textured, flat = noise(50, 50), np.full((50, 50), 70.0)
    for sources in itertools.permutations([textured, flat]):
        assert viff(flat, np.stack(sources)) == pytest.approx(0, abs=1e-5)
        assert viff(textured, np.stack(sources)) == pytest.approx(1)  # the flat one is preserved


def test_viff_rises_with_contrast_beyond_one():
    image = blurred(noise(50, 50), 1)
    sources = np.stack([image] * 2)
    values = [viff(128 + gain * (image - 128), sources) for gain in (0.5, 1, 1.5)]
    assert values == sorted(values)
    assert values[1] == pytest.approx(1)
