"""Weights of a fresh network."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def fresh(make: Callable[[], Network], generator: torch.Generator) -> Network:
    """A network with PyTorch's default initialisation from an explicit generator, on its device.

    The global random state is as before. (A network on the device "meta" draws nothing at all, but
    to take it from there imports a computer algebra system, two seconds of every process.)
    """
    with torch.random.fork_rng(devices=[]):
        network = make()
    network.to(generator.device)
    network.apply(lambda module: _initialise(module, generator))
    return network


@torch.no_grad()
def _initialise(module: nn.Module, generator: torch.Generator) -> None:
    if isinstance(module, nn.Conv2d):
        bound = module.weight[0].numel() ** -0.5
        module.weight.uniform_(-bound, bound, generator=generator)
        if module.bias is not None:
            module.bias.uniform_(-bound, bound, generator=generator)
    elif isinstance(module, nn.BatchNorm2d):
        module.weight.fill_(1.0)
        module.bias.fill_(0.0)
