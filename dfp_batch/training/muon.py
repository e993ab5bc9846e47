"""Muon, an optimiser of matrices."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_MOMENTUM, _WEIGHT_DECAY = 0.95, 0.1
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is made orthogonal: all directions learn alike (Jordan, 2024).

    A convolution is the matrix of its outputs by all its weights. At equal time it brought the
    network further than Adam, which the other weights keep. Twice its default rate diverges.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the orthogonal matrices next to the momenta.

        All weights of one shape go together: a GPU is asked once, and not for every matrix.
        """
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                alike.setdefault(weight.shape, []).append(weight)
            for weights in alike.values():
                self._move(weights, group["lr"])

    def _move(self, weights: list[Tensor], rate: float | Tensor) -> None:
        gradients = [gradient_of(weight) for weight in weights]
        momenta = [
            self.state[weight].setdefault("momentum", torch.zeros_like(weight))
            for weight in weights
        ]
        torch._foreach_lerp_(momenta, gradients, 1 - _MOMENTUM)
        ahead = torch.stack(torch._foreach_lerp(gradients, momenta, _MOMENTUM))
        along = orthogonal(ahead.flatten(2)).view(ahead.shape)
        torch._foreach_mul_(weights, 1 - rate * _WEIGHT_DECAY)
        torch._foreach_sub_(weights, (rate * along).unbind())


def gradient_of(weight: Tensor) -> Tensor:
    """Of a weight that has one."""
    assert weight.grad is not None
    return weight.grad


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearly the nearest matrices (..., m, n), m <= n, with orthonormal rows; by Newton and Schulz.

    Returns:
        Of the same shape, float32.
    """
    a, b, c = _NEWTON_SCHULZ
    norms = matrices.norm(dim=(-2, -1), keepdim=True)
    x: Tensor = (matrices / (norms + 1e-7)).bfloat16()
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.float()
