"""The contract of every focus measure."""

import pytest
import torch
from implementations import every

from dfp_batch.core.image import luma
from dfp_batch.core.sources import InMemory
from method_parts import OneByOne

every_measure = every("focus")
sizes = pytest.mark.parametrize("size", [(16, 16), (17, 33)])


def assert_is_decision(decision, count, size):
    assert decision.shape == (count, 1, *size)
    assert decision.dtype == torch.float32
    assert (decision >= 0).all()
    torch.testing.assert_close(decision.sum(0), torch.ones(1, *size))


@every_measure
@sizes
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_gives_a_decision_and_leaves_the_sources_alone(part, count, channels, size, stack):
    images = stack(count, channels, *size)
    untouched = images.clone()
    decision = part(InMemory(images))
    assert_is_decision(decision, count, size)
    assert torch.equal(images, untouched)
    assert torch.equal(part(InMemory(images)), decision)


@every_measure
@pytest.mark.parametrize("values", [(0, 0), (1, 1), (0, 1), (0.3, 0.3, 0.3), (0, 0, 1)])
def test_flat_sources_have_a_decision(part, values):
    images = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 16, 19)
    assert_is_decision(part(InMemory(images)), len(values), (16, 19))


@every_measure
@pytest.mark.parametrize("count", [2, 3])
def test_a_black_source_is_not_in_focus(part, count, texture):
    """A lens cap: the spectrum to divide by is 0 (Eq. 13)."""
    images = torch.cat([texture(24, 24, seed=seed) for seed in range(count)])
    images[-1] = 0
    decision = part(InMemory(images))
    assert_is_decision(decision, count, (24, 24))
    if part.decides:
        assert (decision.argmax(0) == count - 1).float().mean() < 0.1


@every_measure
def test_grey_and_colour_of_the_same_luma_decide_alike(part, stack):
    colour = stack(2, 3, 24, 24)
    grey = part(InMemory(luma(colour)))
    torch.testing.assert_close(part(InMemory(colour)), grey, atol=1e-4, rtol=1e-4)


@every_measure
def test_it_looks_at_one_frame_after_the_other_or_says_that_it_needs_all(part, stack):
    """A stack of 200 frames must not be in memory at once."""
    frames = OneByOne(stack(4, 3, 24, 40))
    part(frames)
    once = [] if part.decides else [0]
    assert part.needs_all or frames.asked in ([0, 1, 2, 3], once)


@every_measure
def test_it_finds_the_sharp_half_if_it_decides(part, scene):
    decision = part(InMemory(scene.sources))
    right = (decision.argmax(0) == scene.decision.argmax(0))[..., :30].float().mean()
    assert not part.decides or right > 0.8
