"""The network of the seams: smooth fields, from two sources and the decision."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dfp_batch.core.image import luma
from dfp_batch.networks.residual_block import ResidualBlock, convolution

COLOURS = 3
PLANES = 3 * COLOURS + 2

_REDUCTION = 2  # the network sees 2 x 2 pixels at once
_WIDTH = 32
_DILATIONS = (1, 2, 4, 2, 1)
_INPUTS = 5 * _REDUCTION**2 + 3 * COLOURS
_FIELDS = COLOURS + 2

_CONTRAST = 4.0  # brings differences of sources to the range of the other inputs
_OFFSET_GAIN = 0.1


class DefocusSpreadNetwork(nn.Module):
    """Smooth fields: an offset per colour, and how much of the detail of either source is added.

    It works at half the resolution, on the lumas of 2 x 2 pixels at once and on mean colours.
    """

    reduction = _REDUCTION
    halo_px = sum(_DILATIONS) + len(_DILATIONS) + 3  # of half the resolution

    def __init__(self) -> None:
        super().__init__()
        self.head = convolution(_INPUTS, _WIDTH)
        self.trunk = nn.Sequential(*(ResidualBlock(_WIDTH, dilation) for dilation in _DILATIONS))
        self.tail = convolution(_WIDTH, _FIELDS)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)  # it begins with adding nothing

    def forward(self, planes: Tensor, details: Tensor) -> Tensor:
        """What is to be added to the merged image where the band is 1.

        Args:
            planes: (N, 11, h, w), h and w even: colours of the merged image, of the first and of
                the second source, in [0, 1]; weight of the first one; band.
            details: ``detail`` of the colours of the first and of the second source, (N, 6, h, w).

        Returns:
            (N, 3, h, w), float32.
        """
        fields = self.tail(self.trunk(self.head(_seen(planes)))).float()
        larger = functional.interpolate(fields, scale_factor=_REDUCTION, mode="bilinear")
        result = _OFFSET_GAIN * larger[:, :COLOURS]
        for gain, one in zip(larger[:, COLOURS:].chunk(2, 1), details.chunk(2, 1), strict=True):
            result = torch.addcmul(result, gain, one)
        return result


def _seen(planes: Tensor) -> Tensor:
    """Lumas, weight and band of 2 x 2 pixels, and mean colours, (N, 29, h / 2, w / 2)."""
    shown, masks = planes[:, : 3 * COLOURS], planes[:, 3 * COLOURS :]
    greys = torch.cat([luma(one) for one in shown.chunk(3, 1)], 1)
    fine = torch.cat((_differences(greys, 1), masks - 0.5), 1)
    mean = _differences(functional.avg_pool2d(shown, _REDUCTION), COLOURS)
    return torch.cat((functional.pixel_unshuffle(fine, _REDUCTION), mean), 1)


def _differences(shown: Tensor, channels: int) -> Tensor:
    """The merged image, and what the first and the second source differ from it."""
    merged, *sources = shown.chunk(shown.shape[1] // channels, 1)
    return torch.cat((merged - 0.5, *(_CONTRAST * (source - merged) for source in sources)), 1)
