"""Noise is averaged away with the sources that show the same."""

import numpy as np
import pytest
import torch

from dfp_batch.core.decision import one_hot
from dfp_batch.core.filters import gaussian_blur
from dfp_batch.core.sources import InMemory
from dfp_batch.merging.blend import Blend
from dfp_batch.merging.every_frame import EveryFrame
from dfp_batch.synthetic import procedural_image
from method_parts import CERTAIN, OneByOne, compute

SIDE_PX, NOISE = 128, 0.03
MERGE = EveryFrame(Blend())


def noisy(images, noise=NOISE):
    """The images with noise of their own, each."""
    random = np.random.default_rng(0)
    grain = random.standard_normal(images.shape).astype(np.float32)
    return (images + noise * torch.from_numpy(grain)).clamp(0, 1)


def picture():
    """(1, 3, 128, 128), in [0, 1]."""
    return torch.from_numpy(0.2 + 0.6 * procedural_image(SIDE_PX, 2))[None]


def of_the_first(count):
    """Decision (count, 1, 128, 128) for the first source."""
    return one_hot(torch.zeros(SIDE_PX, SIDE_PX), count)


def mean_error(image, truth):
    return float((image - truth).square().mean())


@pytest.mark.parametrize("count", [2, 4, 8])
def test_equal_sources_are_averaged(count):
    sources = noisy(picture().repeat(count, 1, 1, 1))
    merged = MERGE(InMemory(sources), of_the_first(count), CERTAIN, compute())
    before = mean_error(sources[:1], picture())
    assert mean_error(merged, picture()) == pytest.approx(before / count, rel=0.3)


def test_a_blurred_source_brings_its_coarse_bands_and_takes_no_detail():
    blurred = gaussian_blur(picture()[0], 4.0)[None]
    sources = noisy(torch.cat([picture(), blurred, blurred]))
    merged = MERGE(InMemory(sources), of_the_first(3), CERTAIN, compute())
    assert mean_error(merged, picture()) < 0.97 * mean_error(sources[:1], picture())


def test_a_source_of_something_else_changes_hardly_anything():
    other = torch.from_numpy(0.2 + 0.6 * procedural_image(SIDE_PX, 7))[None]
    sources = noisy(torch.cat([picture(), other]))
    merged = MERGE(InMemory(sources), of_the_first(2), CERTAIN, compute())
    assert mean_error(merged, picture()) < 1.02 * mean_error(sources[:1], picture())


def test_without_noise_the_image_is_that_of_the_base_and_no_source_is_looked_at_again():
    sources = OneByOne(picture().repeat(3, 1, 1, 1))
    merged = MERGE(sources, of_the_first(3), CERTAIN, compute())
    torch.testing.assert_close(merged, picture())
    assert sources.asked == [0, 1, 2]


def test_the_order_of_the_sources_does_not_matter():
    sources = noisy(picture().repeat(3, 1, 1, 1))
    merged = MERGE(InMemory(sources), of_the_first(3), CERTAIN, compute())
    turned = MERGE(InMemory(sources.flip(0)), of_the_first(3).flip(0), CERTAIN, compute())
    torch.testing.assert_close(turned, merged)
