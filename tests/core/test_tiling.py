import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional

from dfp_batch.core.tiling import boxes, in_tiles, spans, with_neighbours
from dfp_batch.errors import ConfigError

SIZES = st.integers(1, 70)


def uniform(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def blurred(image, _halo=None, radius_px=2):
    padded = functional.pad(image, (radius_px,) * 4, mode="replicate")
    return functional.avg_pool2d(padded, 2 * radius_px + 1, stride=1)


@given(length_px=st.integers(1, 500), side_px=st.integers(1, 90), halo_px=st.integers(0, 40))
@settings(max_examples=80, derandomize=True, deadline=None)
def test_spans_cover_every_pixel_once_and_are_nearly_equal(length_px, side_px, halo_px):
    found = spans(length_px, side_px, halo_px)
    pixels = torch.arange(length_px)
    assert torch.equal(torch.cat([pixels[s.own()] for s in found]), pixels)
    for span in found:
        read = pixels[span.read()]
        assert torch.equal(read[span.within()], pixels[span.own()])
        assert read[0] == max(0, span.start - halo_px)
        assert read[-1] == min(length_px, span.stop + halo_px) - 1
    lengths = [s.stop - s.start for s in found]
    assert max(lengths) <= side_px
    assert max(lengths) - min(lengths) <= 1


@given(
    wanted=arrays(np.bool_, st.tuples(st.integers(1, 60), st.integers(1, 60)), fill=st.just(False)),
    most_px=st.integers(1, 40),
    halo_px=st.integers(0, 9),
)
@settings(max_examples=80, derandomize=True, deadline=None)
def test_boxes_hold_all_that_is_wanted_once_and_nothing_beside_it(wanted, most_px, halo_px):
    held = np.zeros(wanted.shape, int)
    for box in boxes(wanted, most_px, halo_px):
        own = tuple(span.own() for span in box)
        held[own] += 1
        assert max(held[own].shape) <= most_px
        assert wanted[own].any(0)[[0, -1]].all()
        assert wanted[own].any(1)[[0, -1]].all()
        for span, length_px in zip(box, wanted.shape, strict=True):
            assert span.start - span.before_px == max(0, span.start - halo_px)
            assert span.stop + span.after_px == min(length_px, span.stop + halo_px)
    assert held.max() <= 1
    assert (held[wanted] == 1).all()


def test_what_lies_apart_is_in_boxes_of_its_own():
    wanted = np.zeros((100, 100), bool)
    wanted[3:9, 4:20] = wanted[80:99, 70:90] = True
    found = [tuple(span.own() for span in box) for box in boxes(wanted, 100, 10)]
    assert found == [np.s_[3:9, 4:20], np.s_[80:99, 70:90]]
    assert len(boxes(wanted, 100, 60)) == 1  # what is read beside them would be more


@given(h=SIZES, w=SIZES, side_px=st.integers(1, 40))
@settings(max_examples=40, derandomize=True, deadline=None)
def test_cut_and_put_together_is_the_image(h, w, side_px):
    image = uniform(2, 3, h, w)
    assert torch.equal(in_tiles(lambda tile, _halo: tile, (image,), side_px, 3), image)


@given(h=SIZES, w=SIZES, side_px=st.integers(1, 40))
@settings(max_examples=40, derandomize=True, deadline=None)
def test_a_filter_in_tiles_is_the_filter(h, w, side_px):
    image = uniform(1, 2, h, w)
    torch.testing.assert_close(in_tiles(blurred, (image,), side_px, 2), blurred(image))


@given(h=SIZES, w=SIZES, side_px=st.integers(1, 40), most_px=st.integers(0, 4))
@settings(max_examples=40, derandomize=True, deadline=None)
def test_every_tile_is_told_its_halo(h, w, side_px, most_px):
    image = uniform(1, 1, h, w)
    unfinished = torch.full_like(image, torch.nan)

    def finished_nearby(tile, halo):
        window = halo.window(*tile.shape[-2:], most_px)
        made = unfinished[..., : tile.shape[-2], : tile.shape[-1]].clone()
        made[..., window[0], window[1]] = tile[..., window[0], window[1]]
        return made

    assert torch.equal(in_tiles(finished_nearby, (image,), side_px, 3), image)


def test_a_halo_too_small_shows():
    image = uniform(1, 1, 32, 32)
    assert not torch.allclose(in_tiles(blurred, (image,), 8, 1), blurred(image))


def test_images_of_other_sizes_are_cut_alike():
    low, high = uniform(1, 1, 19, 33), uniform(1, 1, 57, 99)

    def both(low, high, _halo=None):
        return functional.interpolate(blurred(low), scale_factor=3) + high

    torch.testing.assert_close(in_tiles(both, (low, high), 7, 2), both(low, high))


def test_no_tile_is_larger_than_asked_with_its_halo():
    seen = []

    def watched(tile, _halo):
        seen.append(tuple(tile.shape[-2:]))
        return tile

    in_tiles(watched, (uniform(1, 1, 100, 65),), 16, 3)
    assert max(max(size) for size in seen) <= 16 + 2 * 3


@pytest.mark.parametrize(("side_px", "halo_px"), [(0, 1), (4, -1)])
def test_impossible_tiles_are_refused(side_px, halo_px):
    message = f"tiles must have a side >= 1 px and a halo >= 0 px, got {side_px} and {halo_px}"
    with pytest.raises(ConfigError, match=f"^{message}$"):
        spans(10, side_px, halo_px)


@given(parts=st.lists(st.integers(1, 12), min_size=1, max_size=8), reach_px=st.integers(0, 15))
@settings(max_examples=80, derandomize=True, deadline=None)
def test_rows_that_come_in_parts_are_seen_once_with_their_neighbours(parts, reach_px):
    rows = torch.arange(sum(parts))[None, None, :, None].expand(1, 2, -1, 3)
    slabs = list(with_neighbours(iter(rows.split(parts, -2)), sum(parts), reach_px))
    own = torch.cat([slab.image[..., slab.own, :] for slab in slabs], -2)
    assert torch.equal(own, rows)
    for slab in slabs:
        seen, mine = slab.image[0, 0, :, 0], slab.image[0, 0, slab.own, 0]
        assert seen[0] == slab.first
        assert seen[0] <= max(0, mine[0] - reach_px)
        assert seen[-1] >= min(sum(parts) - 1, mine[-1] + reach_px)
