"""The contract of every merge."""

import pytest
import torch
from implementations import every

from dfp_batch.core.decision import one_hot
from dfp_batch.core.sources import InMemory
from method_parts import CERTAIN, OneByOne, compute

every_merge = every("merge")
sizes = pytest.mark.parametrize("size", [(16, 16), (17, 40), (67, 50)])


def stripes(count, h, w):
    """Decision (count, 1, h, w) of so many vertical stripes."""
    labels = torch.arange(w).mul(count).div(w, rounding_mode="floor").expand(h, w)
    return one_hot(labels, count)


@every_merge
@sizes
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_merges_to_one_image_in_range_or_to_all(part, count, channels, size, texture):
    images = torch.cat([texture(*size, channels, seed=seed) for seed in range(count)])
    before = images.clone()
    for decision in (torch.full((count, 1, *size), 1 / count), stripes(count, *size)):
        merged = part(InMemory(images), decision, CERTAIN, compute())
        assert merged.shape in ((1, channels, *size), (count, channels, *size))
        assert merged.dtype == torch.float32
        assert ((merged >= 0) & (merged <= 1)).all()
    assert torch.equal(images, before)


@every_merge
def test_equal_sources_are_kept(part, texture):
    image = texture(40, 33)
    decision = torch.full((3, 1, 40, 33), 1 / 3)
    merged = part(InMemory(image.expand(3, -1, -1, -1)), decision, CERTAIN, compute())
    torch.testing.assert_close(merged, image.expand_as(merged))


@every_merge
def test_the_order_of_the_sources_does_not_matter(part, scene):
    decision = one_hot((torch.arange(64) >= 40).long().expand(64, 64), 2)  # no tie
    merged = part(InMemory(scene.sources), decision.clone(), CERTAIN, compute())
    flipped = part(InMemory(scene.sources.flip(0)), decision.flip(0), CERTAIN, compute())
    expected = merged if len(merged) == 1 else merged.flip(0)
    torch.testing.assert_close(flipped, expected)


@every_merge
def test_it_holds_one_frame_at_a_time_or_says_that_it_needs_all(part, texture):
    frames = OneByOne(torch.cat([texture(48, 40, seed=seed) for seed in range(3)]))
    part(frames, stripes(3, 48, 40), CERTAIN, compute())
    assert part.needs_all or frames.asked == [0, 1, 2] * (len(frames.asked) // 3)


@every_merge
@pytest.mark.parametrize("halvings", [1, 2])
def test_smaller_tiles_give_the_same(part, halvings, texture):
    images = torch.cat([texture(300, 75, seed=seed) for seed in range(2)])
    whole = part(InMemory(images), stripes(2, 300, 75), CERTAIN, compute())
    smaller = part(InMemory(images), stripes(2, 300, 75), CERTAIN, compute(halvings=halvings))
    torch.testing.assert_close(smaller, whole, atol=1e-5, rtol=0)
