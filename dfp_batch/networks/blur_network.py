"""Many small networks that tell the blur of an image from a few numbers."""

import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_FARTHEST = 4.0  # a feature from the usual, in standard deviations
_MEMBERS, _SEEN = 16, 0.25  # networks; share of the features that each looks at
FEATURE_COUNT = 41  # see ``degradation/blur_features.py``
_CAUTIOUS = 0.25  # share of the networks that take the kernel for sharper than the one used
_HIDDEN = (48, 24)


class BlurNetwork(nn.Module):
    """Many small networks, from features (n, 41) to sigma and the log of its expected error.

    Each sees a few of the features, so that what misleads one of them misleads few of the networks
    (random subspaces; Ho, 1998). Sigma is of a Gaussian, in pixels of the sources; Lanczos2 and
    bicubic count as ``SHARP``.
    """

    mean: Tensor
    deviation: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURE_COUNT))
        self.register_buffer("deviation", torch.ones(FEATURE_COUNT))
        self.register_buffer("seen", (torch.rand(_MEMBERS, 1, FEATURE_COUNT) < _SEEN).float())
        sides = (FEATURE_COUNT, *_HIDDEN, 2)
        self.weights = nn.ParameterList(
            (2 * torch.rand(_MEMBERS, inputs, outputs) - 1) / math.sqrt(inputs)
            for inputs, outputs in pairwise(sides)
        )
        self.biases = nn.ParameterList(torch.zeros(_MEMBERS, 1, side) for side in sides[1:])

    def forward(self, given: Tensor) -> Tensor:
        """Sigma and log error, (members, n, 2), of features (n, 41) or (members, n, 41)."""
        usual = ((given - self.mean) / self.deviation).clamp(-_FARTHEST, _FARTHEST)
        values = usual * self.seen
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.baddbmm(bias, functional.silu(values) if layer else values, weight)
        return values

    @torch.no_grad()
    def estimate(self, given: NDArray[np.float32]) -> tuple[float, float, float]:
        """Sigma, its expected error and the cautious sigma, in pixels of the sources."""
        sigmas, log_errors = self(torch.from_numpy(given)[None])[:, 0].T
        error = log_errors.exp().mean()
        return float(sigmas.median()), float(error), float(sigmas.quantile(_CAUTIOUS))
