"""The running mean of a network's weights: smoother than the weights of any one step."""

import torch
from torch import nn


@torch.no_grad()
def approach(mean: nn.Module, network: nn.Module, share: float) -> None:
    """Move the weights of ``mean`` by a share of the way to those of ``network``.

    Args:
        mean: Is changed.
        network: Of the same structure.
        share: In [0, 1]; 1 makes them equal.
    """
    torch._foreach_lerp_(list(mean.parameters()), list(network.parameters()), share)


def share_of_step(step: int, averaged_steps: int) -> float:
    """Share for ``approach``: the mean is over more and more steps, in the end over the last ones.

    Args:
        step: Steps done, from 1.
        averaged_steps: Over how many it is at most.
    """
    return 1 - min(1 - 1 / averaged_steps, (1 + step) / (10 + step))
