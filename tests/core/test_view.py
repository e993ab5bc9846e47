"""Sources that do not show the whole view."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from dfp_batch.core.decision import winners
from dfp_batch.core.sources import InMemory
from dfp_batch.core.view import complete_, hide_


class Partial(InMemory):
    """Of which the first shows everything, the others what they are told."""

    def __init__(self, shown):
        super().__init__(torch.zeros(len(shown), 1, *shown.shape[-2:]))
        object.__setattr__(self, "shown", shown)

    def covered(self, index):
        return None if index == 0 else self.shown[index]


@st.composite
def partial_sources(draw):
    """Sources with a decision (N, 1, 6, 7) for them."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    count = draw(st.integers(1, 4))
    shown = (torch.rand(count, 1, 6, 7, generator=generator) > 0.4).float()
    shown[0] = 1
    decision = torch.rand(count, 1, 6, 7, generator=generator)
    sharp = draw(st.booleans())  # one_hot, so that some weights vanish altogether
    decision = (decision == decision.amax(0)).float() if sharp else decision / decision.sum(0)
    return Partial(shown), decision


@given(partial_sources())
def test_no_weight_is_for_what_a_source_does_not_show_and_all_sum_to_one(given_sources):
    sources, before = given_sources
    decision = before.clone()
    assert hide_(decision, sources) == (len(sources) > 1)
    complete_(decision, sources)
    assert not decision[sources.shown == 0].any()
    torch.testing.assert_close(decision.sum(0), torch.ones(1, 6, 7))
    seen_by_all = (sources.shown == 1).all(0)
    torch.testing.assert_close(decision[:, seen_by_all], before[:, seen_by_all])


@given(partial_sources())
def test_where_no_weight_is_left_the_other_labels_are_taken(given_sources):
    sources, before = given_sources
    decision = before.clone()
    hide_(decision, sources)
    lost = decision.sum(0) == 0
    complete_(decision, sources, torch.zeros(6, 7, dtype=torch.int16))
    assert not winners(decision)[lost[0]].any()


def test_sources_that_show_everything_are_left_alone():
    decision = torch.rand(3, 1, 4, 5)
    before = decision.clone()
    assert not hide_(decision, InMemory(torch.zeros(3, 1, 4, 5)))
    assert torch.equal(decision, before)


def test_a_certain_place_may_take_a_source_to_its_rim_and_another_not():
    share = torch.tensor([0.0, 0.25, 0.75, 1.0]).expand(2, 1, 1, 4)
    certainty = torch.tensor([1.0, 0.8, 0.5, 0.0]).expand(1, 1, 4)
    for certain, taken in ((certainty, [0, 1, 1, 1]), (0.0, [0, 0, 0, 1]), (1.0, [0, 1, 1, 1])):
        decision = torch.full((2, 1, 1, 4), 0.5)
        hide_(decision, Partial(share), certain)
        assert (decision[1, 0, 0] > 0).int().tolist() == taken


def test_a_decision_may_lie_in_memory_as_it_likes():
    shown = (torch.arange(6) < 3).float().expand(2, 1, 4, 6)
    decision = torch.full((2, 1, 6, 4), 0.5).mT
    assert not decision[0].is_contiguous()
    assert hide_(decision, Partial(shown))
    assert torch.equal(decision, 0.5 * torch.cat([torch.ones(1, 1, 4, 6), shown[1:]]))
