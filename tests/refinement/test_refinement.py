import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from dfp_batch.core.sources import InMemory
from dfp_batch.errors import ConfigError
from dfp_batch.networks.skip_net import SkipNet
from dfp_batch.refinement.area_clean_up import AreaCleanUp, drop_small_regions
from dfp_batch.refinement.chain import Chain
from dfp_batch.refinement.confidence_voting import ConfidenceVoting
from dfp_batch.refinement.decision_embedding import DecisionEmbedding, binarise, embedding_loss
from dfp_batch.refinement.guided_filter import GuidedFilter
from dfp_batch.refinement.unrefined import Unrefined
from method_parts import compute

SMALL = SkipNet(widths=(8, 16), skip_width=2)


def random_decision(count, h, w, seed=0):
    noise = torch.randn(count, 1, h, w, generator=torch.Generator().manual_seed(seed))
    return (10 * noise).softmax(0)


# Guided filter.


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.25, 0.75), (0.5, 0.2, 0.3)])
def test_guided_filter_keeps_a_constant_decision(weights, texture):
    sources = torch.cat([texture(20, 24, seed=seed) for seed in range(len(weights))])
    decision = torch.tensor(weights).view(-1, 1, 1, 1).expand(-1, 1, 20, 24)
    refined = GuidedFilter()(InMemory(sources), decision.clone(), compute())
    torch.testing.assert_close(refined, decision, atol=1e-5, rtol=0)


def test_guided_filter_moves_a_border_to_the_edge_of_the_content():
    columns = torch.arange(32).expand(1, 1, 32, 32)
    edge = torch.where(columns < 16, 0.2, 0.8)
    shifted = (columns < 18).float()
    refined = GuidedFilter()(
        InMemory(edge.expand(2, 3, 32, 32)), torch.cat([shifted, 1 - shifted]), compute()
    )
    assert (refined[0, 0].diff(dim=-1).abs().argmax(-1) == 15).all()
    assert refined[0, 0, :, 15].min() > 0.9
    assert refined[0, 0, :, 17].max() < 0.5


def test_guided_filter_smooths_where_there_is_no_content():
    flat = torch.full((2, 3, 32, 32), 0.5)
    decision = random_decision(2, 32, 32)
    before = decision.std()
    assert GuidedFilter()(InMemory(flat), decision, compute()).std() < 0.2 * before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"radius_px": 0}, "refinement.radius_px must be >= 1, got 0"),
        ({"epsilon": 0.0}, "refinement.epsilon must be > 0, got 0.0"),
    ],
)
def test_guided_filter_refuses_settings_out_of_range(fields, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        GuidedFilter(**fields)


# Area clean-up.


labels = hnp.arrays(
    np.int64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2)
)


def regions_of(label_map):
    """Connected regions (4 neighbours) as boolean masks."""
    for label in np.unique(label_map):
        numbered, count = ndimage.label(label_map == label)
        yield from (numbered == k for k in range(1, count + 1))


@given(labels, st.floats(0, 0.5))
@settings(derandomize=True, deadline=None, max_examples=80)
def test_drop_small_regions_changes_small_regions_only(label_map, share):
    before = label_map.copy()
    result = drop_small_regions(label_map, share)
    np.testing.assert_array_equal(label_map, before)
    kept = [r for r in regions_of(before) if r.sum() >= share * before.size]
    if not kept:
        np.testing.assert_array_equal(result, before)
        return
    large = np.logical_or.reduce(kept)
    np.testing.assert_array_equal(result[large], before[large])
    assert set(np.unique(result)) == set(np.unique(before[large]))


@given(labels)
@settings(derandomize=True, deadline=None, max_examples=20)
def test_drop_small_regions_of_no_size_drops_nothing(label_map):
    np.testing.assert_array_equal(drop_small_regions(label_map, 0.0), label_map)


def test_drop_small_regions_gives_islands_to_their_surroundings():
    label_map = np.zeros((10, 10), np.int64)
    label_map[:, 5:] = 1
    expected = label_map.copy()
    label_map[2, 2] = 1
    label_map[7:9, 8] = 0
    np.testing.assert_array_equal(drop_small_regions(label_map, 0.03), expected)


@pytest.mark.parametrize("count", [2, 3])
def test_area_clean_up_is_the_largest_weight_without_islands(count, texture):
    sources = torch.cat([texture(20, 24, seed=seed) for seed in range(count)])
    decision = random_decision(count, 20, 24)
    kept = AreaCleanUp(0.0)(InMemory(sources), decision, compute())
    assert torch.equal(kept.argmax(0), decision.argmax(0))
    labels_before = torch.zeros(20, 24, dtype=torch.long)
    labels_before[4:6, 4:6] = 1
    island = torch.nn.functional.one_hot(labels_before, count).float().movedim(-1, 0)[:, None]
    assert (AreaCleanUp(0.05)(InMemory(sources), island, compute())[0] == 1).all()


@pytest.mark.parametrize("share", [1, -0.1, float("nan")])
def test_area_clean_up_refuses_settings_out_of_range(share):
    message = f"refinement.smallest_region must be >= 0 and < 1, got {share}"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        AreaCleanUp(share)


# ConfidenceVoting.


def decided(label_map, weight):
    """Decision whose largest weight is ``weight``; the others share the rest."""
    others = (1 - weight) / (int(label_map.max()) or 1)
    chosen = torch.nn.functional.one_hot(label_map, int(label_map.max()) + 1).bool()
    return torch.where(chosen, weight[..., None], others[..., None]).movedim(-1, 0)[:, None]


def voted(decision, **settings):
    """Labels (h, w); the sources do not matter."""
    count, _, h, w = decision.shape
    elected = ConfidenceVoting(**settings)(
        InMemory(torch.zeros(count, 3, h, w)), decision.clone(), compute()
    )
    assert set(elected.unique().tolist()) <= {0.0, 1.0}
    return elected.argmax(0)[0]


def bands_of(count, h=48, w=48):
    return (torch.arange(w) * count // w).expand(h, w)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("weight", [1.0, 0.8])
def test_votes_keep_what_is_sure_everywhere(count, weight):
    labels_before = bands_of(count)
    decision = decided(labels_before, torch.full((48, 48), weight))
    assert torch.equal(voted(decision), labels_before)


@pytest.mark.parametrize("size", [(48, 48), (37, 51)])
def test_votes_keep_a_sure_island_that_is_larger_than_the_gaussian(size):
    label_map = torch.zeros(size, dtype=torch.long)
    label_map[10:24, 12:26] = 1
    elected = voted(decided(label_map, torch.ones(size)))
    assert (elected == label_map).float().mean() > 0.96
    assert (elected[12:22, 14:24] == 1).all()
    assert (elected[label_map == 0] == 0).all()


def test_votes_give_unsure_pixels_to_the_sure_ones_around_them():
    """Also in the middle of a hole that is many times as wide as the Gaussian."""
    label_map = bands_of(2)
    weight = torch.ones(48, 48)
    holes = torch.zeros(48, 48, dtype=torch.bool)
    holes[12:36, 3:21] = holes[12:36, 27:45] = True
    noise = torch.rand(48, 48, generator=torch.Generator().manual_seed(0)) < 0.5
    elected = voted(decided(torch.where(holes & noise, 1 - label_map, label_map),
                            torch.where(holes, 0.55, weight)))  # fmt: skip
    assert torch.equal(elected, label_map)


def test_votes_of_one_sure_pixel_count_everywhere():
    decision = decided(torch.ones(32, 32, dtype=torch.long), torch.full((32, 32), 0.55))
    decision[:, 0, 5, 7] = torch.tensor([1.0, 0.0])
    assert (voted(decision) == 0).all()


@pytest.mark.parametrize("count", [2, 3])
def test_votes_leave_the_labels_alone_where_nothing_is_sure(count):
    noise = torch.randn(count, 1, 20, 24, generator=torch.Generator().manual_seed(0))
    decision = (0.01 * noise).softmax(0)
    assert torch.equal(voted(decision), decision.argmax(0)[0])


def test_the_threshold_says_what_is_noise():
    label_map = torch.zeros(20, 20, dtype=torch.long)
    label_map[:, 10:] = 1
    weight = torch.where(label_map == 0, 1.0, 0.65)  # confidence 0.46
    decision = decided(label_map, weight)
    assert (voted(decision, threshold=0.2)[:, 15:] == 1).all()
    assert (voted(decision, threshold=0.5) == 0).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"threshold": 1.0}, "refinement.threshold must be >= 0 and < 1, got 1.0"),
        ({"threshold": -0.1}, "refinement.threshold must be >= 0 and < 1, got -0.1"),
        ({"threshold": float("nan")}, "refinement.threshold must be >= 0 and < 1, got nan"),
        ({"sigma_px": 0.0}, "refinement.sigma_px must be > 0, got 0.0"),
        ({"falloff": float("nan")}, "refinement.falloff must be > 0, got nan"),
        ({"levels": 0}, "refinement.levels must be >= 1, got 0"),
    ],
)
def test_votes_refuse_settings_out_of_range(fields, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        ConfidenceVoting(**fields)


# One after the other.


def test_then_hands_the_decision_of_the_first_to_the_second(texture):
    sources = torch.cat([texture(20, 24, seed=seed) for seed in range(2)])
    decision = random_decision(2, 20, 24)
    both = Chain(AreaCleanUp(), GuidedFilter())(InMemory(sources), decision, compute())
    cleaned = AreaCleanUp()(InMemory(sources), decision, compute())
    assert torch.equal(both, GuidedFilter()(InMemory(sources), cleaned, compute()))
    assert torch.equal(
        Chain(Unrefined(), Unrefined())(InMemory(sources), decision, compute()), decision
    )


# Decision embedding.


@pytest.mark.parametrize("count", [2, 3])
def test_binarise_is_one_hot_with_the_gradient_of_the_softmax(count):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, count, 5, 6, generator=generator).requires_grad_()
    weights = torch.randn(count, 1, 5, 6, generator=generator)
    hard = binarise(logits)
    assert hard.shape == (count, 1, 5, 6)
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(hard.argmax(0)[0], logits[0].argmax(0))
    torch.testing.assert_close(hard.sum(0), torch.ones(1, 5, 6))
    (straight_through,) = torch.autograd.grad((weights * hard).sum(), logits)
    soft = logits.softmax(1)[0].unsqueeze(1)
    (of_softmax,) = torch.autograd.grad((weights * soft).sum(), logits)
    torch.testing.assert_close(straight_through, of_softmax)
    assert straight_through.abs().max() > 0


@pytest.fixture(scope="module")
def bands(texture):
    """Bright sources (N, 3, 32, 32) of N bands, and the decision that follows them."""

    def make(count):
        columns = torch.arange(32) * count // 32
        textures = torch.cat([texture(32, 32, seed=seed) for seed in range(count)])
        sources = 0.3 * textures + 0.7 * columns / (count - 1)
        decision = (columns == torch.arange(count)[:, None]).float().view(count, 1, 1, 32)
        return sources, decision.expand(-1, 1, 32, 32)

    return make


@pytest.mark.parametrize("count", [2, 3])
def test_embedding_reproduces_an_easy_decision(count, bands):
    sources, decision = bands(count)
    network = SkipNet(widths=(8, 16, 32))
    refined = DecisionEmbedding(80, 1e-3, network)(InMemory(sources), decision, compute())
    assert set(refined.unique().tolist()) <= {0.0, 1.0}
    assert (refined == decision).float().mean() > 0.99
    early = DecisionEmbedding(1, 1e-3, network)(InMemory(sources), decision, compute())
    assert embedding_loss(refined, sources, decision) < embedding_loss(early, sources, decision)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"iterations": 0}, "refinement.iterations must be >= 1, got 0"),
        ({"learning_rate": 0.0}, "refinement.learning_rate must be > 0, got 0.0"),
    ],
)
def test_embedding_refuses_settings_out_of_range(fields, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        DecisionEmbedding(**fields)
