from copy import deepcopy

import torch
from torch import nn

from dfp_batch.training.muon import Muon, orthogonal


def matrices(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def weights():
    """Convolutions of two shapes, some with the channels last."""
    shapes = [(8, 8, 3, 3), (4, 8, 1, 1), (8, 8, 3, 3), (8, 8, 3, 3)]
    plain = [matrices(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    plain[2] = plain[2].contiguous(memory_format=torch.channels_last)
    return [nn.Parameter(each) for each in plain]


def stepped(parameters, optimisers):
    for step in range(3):
        for number, weight in enumerate(parameters):
            weight.grad = matrices(*weight.shape, seed=10 * step + number)
        for optimiser in optimisers:
            optimiser.step()
    return parameters


def test_matrices_made_orthogonal_together_are_those_made_so_alone():
    several = matrices(5, 8, 20)
    together = orthogonal(several)
    torch.testing.assert_close(together, torch.stack([orthogonal(each) for each in several]))
    assert together.dtype == torch.float32


def test_rows_become_nearly_orthonormal_whatever_the_size_of_the_matrix():
    for size in (1e-3, 1.0, 1e3):
        values = torch.linalg.svdvals(orthogonal(size * matrices(8, 40)))
        assert 0.6 < values.min() < values.max() < 1.3


def test_weights_moved_together_go_where_they_go_alone():
    together = weights()
    stepped(together, [Muon(together, 0.1)])
    alone = weights()
    stepped(alone, [Muon([weight], 0.1) for weight in alone])
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert ours.stride() == theirs.stride()


def test_the_state_can_be_kept():
    first, second = weights(), weights()
    before, after = Muon(first, 0.1), Muon(second, 0.1)
    stepped(first, [before])
    after.load_state_dict(deepcopy(before.state_dict()))
    with torch.no_grad():
        torch._foreach_copy_(second, first)
    for ours, theirs in zip(stepped(second, [after]), stepped(first, [before]), strict=True):
        assert torch.equal(ours, theirs)
