"""Recorded steps: on a GPU they are those that are done at once."""

from copy import deepcopy
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from dfp_batch.core.recording import make_recordable, recorded, repeat, set_rate
from dfp_batch.training import loop
from dfp_batch.training.muon import Muon

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


class Pieces(NamedTuple):
    given: Tensor
    wanted: Tensor


def weight():
    return nn.Parameter(torch.arange(8.0).reshape(2, 4).sin())


def test_a_rate_on_the_device_moves_weights_as_a_number_does():
    plain, held = weight(), weight()
    by_number, by_tensor = Muon([plain], 0.1), Muon([held], 0.1)
    make_recordable([by_tensor], torch.device("cpu"))
    rate = by_tensor.param_groups[0]["lr"]
    for share in (0.5, 1.0, 0.25):
        for optimiser, its_weight in ((by_number, plain), (by_tensor, held)):
            its_weight.grad = share * torch.ones(2, 4)
            set_rate(optimiser.param_groups[0], 0.1 * share)
            optimiser.step()
    torch.testing.assert_close(plain, held)
    assert by_tensor.param_groups[0]["lr"] is rate
    assert by_tensor.defaults["lr"] == 0.1


def trained(record, device):
    torch.manual_seed(0)
    network = nn.Linear(4, 2).to(device)
    adam = torch.optim.Adam(network.parameters(), 0.01, fused=True)
    training = loop.Training(network, deepcopy(network), (adam,), 1.0, 100)
    move = lambda batch: training.descend(  # noqa: E731
        lambda network: (network(batch.given.to(device)) - batch.wanted.to(device)).abs().mean()
    )
    if record:
        move = recorded(move, training.optimisers, device)
    losses = []
    for step in range(12):
        generator = torch.Generator().manual_seed(step)
        count = 3 + step % 2
        batch = Pieces(*(torch.rand(count, side, generator=generator) for side in (4, 2)))
        losses.append(training.advance(lambda batch=batch: move(batch), 1 - step / 12).item())
    return [*losses, *network.weight.flatten().tolist()]


@needs_gpu
def test_recorded_steps_of_several_shapes_are_those_done_at_once():
    device = torch.device("cuda")
    assert trained(True, device) == pytest.approx(trained(False, device), rel=1e-5)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_a_step_is_done_as_often_as_was_asked(device):
    numbers = torch.tensor([1.0, 2.0], device=device)
    repeat(lambda: numbers.mul_(2).add_(1), 3, numbers.device)
    assert numbers.tolist() == [15.0, 23.0]
