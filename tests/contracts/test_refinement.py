"""The contract of every refinement."""

import pytest
import torch
from implementations import every

from dfp_batch.core.sources import InMemory
from method_parts import OneByOne, compute

every_refinement = every("refinement")


def random_decision(count, h, w, seed=0):
    noise = torch.randn(count, 1, h, w, generator=torch.Generator().manual_seed(seed))
    return (10 * noise).softmax(0)


@every_refinement
@pytest.mark.parametrize("size", [(16, 16), (17, 23)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [2, 3])
def test_gives_a_decision_and_leaves_the_sources_alone(part, count, channels, size, texture):
    images = torch.cat([texture(*size, channels, seed=seed) for seed in range(count)])
    before = images.clone()
    refined = part(InMemory(images), random_decision(count, *size), compute())
    assert refined.shape == (count, 1, *size)
    assert refined.dtype == torch.float32
    assert not refined.requires_grad
    assert (refined >= 0).all()
    torch.testing.assert_close(refined.sum(0), torch.ones(1, *size))
    assert torch.equal(images, before)


@every_refinement
def test_the_same_seed_gives_the_same_decision(part, texture):
    sources = InMemory(torch.cat([texture(16, 20, seed=seed) for seed in range(2)]))
    first, second = (part(sources, random_decision(2, 16, 20), compute(5)) for _ in range(2))
    assert torch.equal(first, second)


@every_refinement
def test_it_tells_its_iterations_and_no_others(part, texture):
    told = []
    sources = InMemory(torch.cat([texture(16, 20, seed=seed) for seed in range(2)]))
    how = compute(on_iteration=lambda *event: told.append(event[1:]))
    part(sources, random_decision(2, 16, 20), how)
    assert told == [(k + 1, part.iterations) for k in range(part.iterations)]


@every_refinement
def test_it_holds_one_frame_at_a_time_or_says_that_it_needs_all(part, texture):
    frames = OneByOne(torch.cat([texture(20, 24, seed=seed) for seed in range(3)]))
    part(frames, random_decision(3, 20, 24), compute())
    assert part.needs_all or frames.asked in ([], [0, 1, 2], [0, 1, 2] * 2)
