"""What the networks of the prior and of the seams are built of."""

from typing import Any

import torch
from torch import Tensor, nn


def convolution(inputs: int, outputs: int, dilation: int = 1) -> nn.Conv2d:
    """3 x 3, of the same size, with replicated borders.

    So no layer sees zeros where an image, or a tile at its border, ends.

    Args:
        inputs: Channels.
        outputs: Channels.
        dilation: Pixels from one tap to the next.
    """
    return _Convolution(
        inputs, outputs, 3, padding=dilation, dilation=dilation, padding_mode="replicate"
    )


class _Convolution(nn.Conv2d):
    """On a GPU with a border of our own, to the same result."""

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, inputs, h, w); gives (N, outputs, h, w)."""
        if not (features.is_cuda and self.padding == (1, 1)):
            return super().forward(features)
        padded: Tensor = Bordered.apply(features)  # type: ignore[no-untyped-call]
        return nn.functional.conv2d(padded, self.weight, self.bias)


class Bordered(torch.autograd.Function):
    """Replicates the border of features once, as ``functional.pad`` does.

    That works on planes, one after the other: where channels lie last, as here, a GPU reads and
    writes the same memory many times, and adds up the gradient with atomics.
    """

    @staticmethod
    def forward(features: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C, h + 2, w + 2), with the channels last in memory."""
        n, channels, h, w = features.shape
        padded = torch.empty(
            (n, channels, h + 2, w + 2),
            dtype=features.dtype,
            device=features.device,
            memory_format=torch.channels_last,
        )
        padded[..., 1:-1, 1:-1] = features
        padded[..., 1:-1, :: w + 1] = features[..., :: max(1, w - 1)]
        padded[..., :: h + 1, :] = padded[..., 1 : h + 1 : max(1, h - 1), :]
        return padded

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ANN401
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        """The gradient of a pixel of the border is that of its copies, too."""
        rows = gradient[..., 1:-1, :].clone(memory_format=torch.channels_last)
        rows[..., 0, :] += gradient[..., 0, :]
        rows[..., -1, :] += gradient[..., -1, :]
        inner = rows[..., 1:-1]
        inner[..., 0] += rows[..., 0]
        inner[..., -1] += rows[..., -1]
        return inner


class ResidualBlock(nn.Module):
    """x + conv(relu(dilated conv(x)))."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = convolution(width, width, dilation)
        self.second = convolution(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, width, h, w), of the same shape."""
        added: Tensor = self.second(self.first(features).relu_())
        return features + added
