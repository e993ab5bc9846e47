"""The network of the seams: three smooth fields, from two sources and the decision."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dfp_batch.networks.residual_block import ResidualBlock, convolution

PLANES = 5

_WIDTH = 32
_DILATIONS = (1, 2, 4, 2, 1)

_CONTRAST = 4.0  # brings differences of sources to the range of the other inputs
_OFFSET_GAIN = 0.1


class DefocusSpreadNetwork(nn.Module):
    """Three smooth fields: an offset, and how much of the detail of either source is added.

    It works at half the resolution, on all pixels of 2 x 2 at once.
    """

    halo_px = sum(_DILATIONS) + len(_DILATIONS) + 3  # of half the resolution

    def __init__(self) -> None:
        super().__init__()
        self.head = convolution(4 * PLANES, _WIDTH)
        self.trunk = nn.Sequential(*(ResidualBlock(_WIDTH, dilation) for dilation in _DILATIONS))
        self.tail = convolution(_WIDTH, 3)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)  # it begins with adding nothing

    def forward(self, planes: Tensor, details: Tensor) -> Tensor:
        """What is to be added to the merged plane where the band is 1.

        Args:
            planes: (N, 5, h, w), h and w even: merged, first and second source in [0, 1], weight of
                the first one, band.
            details: ``detail`` of the first and the second source, (N, 2, h, w).

        Returns:
            (N, 1, h, w), float32.
        """
        merged, first, second, weight, band = planes.chunk(PLANES, 1)
        differences = _CONTRAST * (first - merged), _CONTRAST * (second - merged)
        inputs = torch.cat((merged - 0.5, *differences, weight - 0.5, band - 0.5), 1)
        fields = self.tail(self.trunk(self.head(functional.pixel_unshuffle(inputs, 2))))
        larger = functional.interpolate(fields.float(), scale_factor=2, mode="bilinear")
        result: Tensor = _OFFSET_GAIN * larger[:, :1] + (larger[:, 1:] * details).sum(1, True)
        return result
