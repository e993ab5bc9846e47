"""Where two depths are in focus at one place, the nearer one counts."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.core.decision import winners
from dfp_batch.core.sources import InMemory
from dfp_batch.refinement.near_first import NearFirst, cover_, near_end
from dfp_batch.refinement.unrefined import Unrefined
from dfp_batch.synthetic import SceneSet, SceneSpec
from method_parts import compute


def decision_of(*weights):
    """(N, 1, 1, 1) that sums to 1."""
    given_weights = torch.tensor(weights).view(-1, 1, 1, 1)
    return given_weights / given_weights.sum()


def winner_with(near, *weights):
    decision = decision_of(*weights)
    refine = NearFirst(Unrefined(), near)
    sources = InMemory(torch.zeros(len(weights), 1, 1, 1))
    return int(winners(refine(sources, decision, compute())))


def test_of_two_peaks_the_nearer_one_wins():
    peaks = (0.1, 0.35, 0.05, 0.4, 0.1)
    assert winner_with("first", *peaks) == 1
    assert winner_with("last", *peaks) == 3


def test_one_peak_stays_however_wide():
    assert winner_with("first", 0.05, 0.3, 0.35, 0.3) == 2
    assert winner_with("last", 0.3, 0.35, 0.3, 0.05) == 1


def test_a_small_peak_covers_nothing():
    assert winner_with("first", 0.15, 0.02, 0.8) == 2


def test_a_pair_is_left_as_it_is():
    assert winner_with("first", 0.45, 0.55) == 1


@settings(deadline=None)
@given(st.integers(0, 9999), st.integers(3, 6), st.booleans())
def test_weights_stay_a_decision_and_only_those_behind_lose(seed, count, is_first):
    before = torch.rand(count, 1, 5, 6, generator=torch.Generator().manual_seed(seed)) + 1e-3
    before /= before.sum(0)
    after = before.clone()
    order = range(count) if is_first else range(count - 1, -1, -1)
    cover_(after, order)
    torch.testing.assert_close(after.sum(0), torch.ones(1, 5, 6))
    kept = torch.stack([after[index] / before[index] for index in order])
    assert (kept.diff(dim=0) <= 1e-4).all()


def test_the_near_end_is_told_by_outlines_and_not_by_the_order():
    scene = SceneSet("bundled", SceneSpec(frames=5, layers=5), side_px=192, count=1).scene(0)
    sources, labels = torch.from_numpy(scene.sources), torch.from_numpy(scene.labels)
    everywhere = torch.ones_like(labels, dtype=torch.bool)
    assert near_end(InMemory(sources), labels, everywhere) == "last"
    assert near_end(InMemory(sources.flip(0)), 4 - labels, everywhere) == "first"
    assert near_end(InMemory(sources), labels, ~everywhere) is None
