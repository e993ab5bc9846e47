"""Which pairs are compared with the classical floor."""

import pytest

from dfp_batch.engine.floor_sample import FIRST, SHARE, is_compared

IDS = [f"p{k}" for k in range(20_000)]


def compared(mode, seed=0):
    return [is_compared(mode, place, pair_id, seed) for place, pair_id in enumerate(IDS)]


@pytest.mark.parametrize(("mode", "share"), [("all", 1.0), ("none", 0.0)])
def test_all_or_none(mode, share):
    assert sum(compared(mode)) == share * len(IDS)


def test_a_sample_is_the_first_and_a_share_of_the_others():
    found = compared("sample")
    assert all(found[:FIRST])
    assert sum(found[FIRST:]) == pytest.approx(SHARE * len(IDS), rel=0.2)


def test_a_sample_is_the_same_again_and_another_with_another_seed():
    assert compared("sample") == compared("sample")
    assert compared("sample") != compared("sample", seed=1)


def test_the_choice_of_a_pair_does_not_depend_on_the_others():
    """A run that is resumed, or has more pairs, samples the same."""
    alone = [is_compared("sample", FIRST, pair_id, 0) for pair_id in IDS[FIRST:]]
    assert alone == compared("sample")[FIRST:]
