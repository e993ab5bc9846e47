import pytest
import torch
from torch.nn import functional

from dfp_batch.networks.residual_block import Bordered

SIZES = [(2, 3, 5, 4), (1, 2, 2, 2), (1, 2, 6, 3), (2, 1, 1, 4), (1, 3, 3, 1), (1, 1, 1, 1)]


def features(size, layout):
    generator = torch.Generator().manual_seed(0)
    plain = torch.randn(size, dtype=torch.float64, generator=generator)
    return plain.contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", SIZES)
def test_a_border_is_that_of_torch_with_its_gradient(size, layout):
    ours, theirs = (features(size, layout).requires_grad_() for _ in range(2))
    padded = Bordered.apply(ours)
    expected = functional.pad(theirs, (1,) * 4, mode="replicate")
    assert torch.equal(padded, expected)
    assert padded.is_contiguous(memory_format=torch.channels_last)
    weights = features(padded.shape, layout)
    kept = weights.clone()
    (padded * padded).backward(weights)
    (expected * expected).backward(weights)
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert torch.equal(weights, kept)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", SIZES)
def test_a_gradient_that_comes_is_left_as_it_is(size, layout):
    padded = Bordered.apply(features(size, layout).requires_grad_())
    gradient = torch.ones_like(padded)
    padded.backward(gradient)
    assert (gradient == 1).all()
