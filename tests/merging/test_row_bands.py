"""A merge in bands of rows is the merge of the whole."""

import pytest
import torch

from dfp_batch.core.decision import one_hot
from dfp_batch.core.filters import plain_filters
from dfp_batch.core.sources import InMemory, Some
from dfp_batch.merging.blend import Blend
from dfp_batch.merging.defocus_spread import DefocusSpreadCorrection
from dfp_batch.merging.row_bands import merge_in_bands
from dfp_batch.merging.seam_pyramid import SeamPyramid
from method_parts import CERTAIN, OneByOne, compute

H, W = 1100, 48
MOST_PX = 800 * W  # two bands at least


class Counting(InMemory):
    """Notes which rows are looked at."""

    def __init__(self, images):
        super().__init__(images)
        object.__setattr__(self, "asked", [])

    def rows(self, index, rows, where, beside=None):
        self.asked.append((rows.start, rows.stop))
        return super().rows(index, rows, where, beside)


@pytest.fixture(scope="module")
def sources(texture):
    return torch.cat([texture(H, W, seed=seed) for seed in range(3)])


@pytest.fixture(scope="module")
def decision():
    """The first of three counts most in every band; two seams wind from top to bottom."""
    rows, columns = torch.arange(H)[:, None], torch.arange(W)
    winding = 26 + 4 * torch.sin(rows / 40)
    labels = (columns > winding).long() + (columns > winding + 12).long()
    return one_hot(labels, 3)


MERGES = [SeamPyramid(), SeamPyramid(free_steps=1), DefocusSpreadCorrection()]


@pytest.mark.parametrize("merge", MERGES, ids=["seams", "free-step", "spread"])
def test_bands_are_those_of_the_whole(merge, sources, decision):
    whole = merge(InMemory(sources), decision, CERTAIN, compute())
    looked_at = Counting(sources)
    banded = merge_in_bands(merge, looked_at, decision, CERTAIN, compute(), 1, MOST_PX)
    assert len(set(looked_at.asked)) >= 2
    assert max(stop - start for start, stop in looked_at.asked) * W <= MOST_PX
    torch.testing.assert_close(banded, whole, atol=1e-5, rtol=0)
    assert banded.movedim(1, -1).is_contiguous()  # as OpenCV takes it


def test_certainty_is_cut_with_the_bands(sources, decision):
    certainty = torch.linspace(0, 1, H)[None, :, None].expand(1, H, W).contiguous()
    whole = SeamPyramid()(InMemory(sources), decision, certainty, compute())
    banded = merge_in_bands(
        SeamPyramid(), InMemory(sources), decision, certainty, compute(), 1, MOST_PX
    )
    torch.testing.assert_close(banded, whole, atol=1e-5, rtol=0)


def test_the_farther_apart_the_sources_that_meet_the_wider_the_halo():
    merge = DefocusSpreadCorrection()
    reaches = [merge.reach_px(step) for step in (0, 1, 9, 20)]
    assert reaches == sorted(reaches)
    assert reaches[-1] > 20 * SeamPyramid().band_px


def test_what_cannot_be_cut_is_merged_as_a_whole(sources, decision):
    """A merge that says nothing of its reach, sources without rows, and another device."""
    whole = Blend()(InMemory(sources), decision, CERTAIN, compute())
    for images in (OneByOne(sources), Counting(sources)):
        assert torch.equal(
            merge_in_bands(Blend(), images, decision, CERTAIN, compute(), 1, MOST_PX), whole
        )
    slow, quick = OneByOne(sources), Counting(sources)
    merge_in_bands(SeamPyramid(), slow, decision, CERTAIN, compute(), 1, MOST_PX)
    assert sorted(slow.asked) == [0, 1, 2]
    with plain_filters():
        merge_in_bands(SeamPyramid(), quick, decision, CERTAIN, compute(), 1, MOST_PX)
    assert not quick.asked


def test_some_sources_have_rows_if_all_have(sources):
    nowhere = torch.zeros(40, W, dtype=torch.bool)
    some = Some(InMemory(sources), (2, 0))
    assert some.has_rows
    assert not Some(OneByOne(sources), (2, 0)).has_rows
    assert torch.equal(some.rows(0, slice(30, 70), nowhere), sources[2, :, 30:70])
