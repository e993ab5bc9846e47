import pytest
import torch
from torch import nn

from dfp_batch.core.tiling import Halo
from dfp_batch.networks import int8
from dfp_batch.networks.int8 import Int8Blocks, is_exact, ranges_of
from dfp_batch.networks.residual_block import ResidualBlock

needs_int8 = pytest.mark.skipif(
    not is_exact(), reason="this CPU does not add products of 8 bits exactly"
)

ROOM = 1.25  # a range is wider than the largest value that was seen


def blocks_of(width, dilations, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(*(ResidualBlock(width, dilation) for dilation in dilations))


def features_of(width, height, breadth, seed=1):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, width, height, breadth, generator=generator)
    return features.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def both(blocks, features):
    ranges = ranges_of(blocks, lambda: blocks(features))
    return blocks(features), Int8Blocks(blocks, ranges)(features)


@needs_int8
@pytest.mark.parametrize("dilations", [(1,), (1, 1, 1), (1, 2, 4)])
@pytest.mark.parametrize("size", [(3, 5), (24, 17), (1, 40)])
@pytest.mark.parametrize("width", [16, 48])
def test_it_is_what_the_blocks_compute(width, size, dilations):
    features = features_of(width, *size)
    plain, whole = both(blocks_of(width, dilations), features)
    added, error = plain - features, whole - plain
    assert whole.shape == plain.shape
    assert whole.dtype == torch.float32
    assert error.square().mean().sqrt() < 0.05 * added.square().mean().sqrt()


@needs_int8
def test_what_it_gets_is_left_alone():
    features = features_of(16, 8, 8)
    before = features.clone()
    both(blocks_of(16, (1,)), features)
    assert torch.equal(features, before)


@needs_int8
@pytest.mark.parametrize("reach_px", [0, 1])
def test_a_tile_with_its_halo_is_exact_as_far_as_is_asked(reach_px):
    features, blocks = features_of(16, 40, 30), blocks_of(16, (1, 2))
    whole = Int8Blocks(blocks, torch.tensor([[3.0, 3.0]] * 2))
    px = 5 + reach_px
    tile = features[..., 10 - px : 20 + px, : 12 + px]
    made = whole(tile, Halo(px, px, 0, px), reach_px)
    assert made.shape == tile.shape
    assert torch.equal(
        made[..., 5:-5, :-5], whole(features)[..., 10 - reach_px : 20 + reach_px, : 12 + reach_px]
    )


@needs_int8
def test_what_is_beyond_the_range_is_clipped_and_does_not_wrap():
    blocks, ranges = blocks_of(16, (1,)), torch.tensor([[1 / ROOM, 1e6]])
    features = features_of(16, 12, 12) * 1000
    clipped = features.clamp(-128 / 127, 1)
    added, of_clipped = (Int8Blocks(blocks, ranges)(one) - one for one in (features, clipped))
    torch.testing.assert_close(added, of_clipped, rtol=1e-3, atol=1e-3)


@needs_int8
def test_a_flat_image_stays_flat_up_to_its_borders():
    whole = Int8Blocks(blocks_of(16, (1, 2)), torch.ones(2, 2))
    made = whole(torch.full((1, 16, 9, 11), 0.3))
    assert torch.equal(made, made[..., :1, :1].expand_as(made))


def test_the_ranges_are_the_largest_values_that_convolutions_see():
    blocks = blocks_of(4, (1, 1))
    features = features_of(4, 6, 6)
    with torch.no_grad():
        found = ranges_of(blocks, lambda: (blocks(0.5 * features), blocks(features)))
        hidden = blocks[0].first(features).relu()
        expected = [(features, hidden), (between := blocks[0](features), None)]
        later = blocks[1].first(between).relu()
    assert found[0].tolist() == [float(one.abs().max()) for one in expected[0]]
    assert found[1].tolist() == [float(between.abs().max()), float(later.max())]
    assert not blocks[0].first._forward_pre_hooks


def test_the_hooks_are_gone_after_an_error():
    blocks = blocks_of(4, (1,))
    with pytest.raises(ZeroDivisionError):
        ranges_of(blocks, lambda: 1 / 0)
    assert not blocks[0].first._forward_pre_hooks


def test_where_pytorch_has_no_such_convolution_there_is_none(monkeypatch):
    def absent(*_):
        raise NotImplementedError

    monkeypatch.setattr(int8, "_Convolution", absent)
    assert not is_exact.__wrapped__()
