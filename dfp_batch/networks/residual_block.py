"""What the networks of the prior and of the seams are built of."""

from torch import Tensor, nn


def convolution(inputs: int, outputs: int, dilation: int = 1) -> nn.Conv2d:
    """3 x 3, of the same size, with replicated borders.

    So no layer sees zeros where an image, or a tile at its border, ends.

    Args:
        inputs: Channels.
        outputs: Channels.
        dilation: Pixels from one tap to the next.
    """
    return nn.Conv2d(
        inputs, outputs, 3, padding=dilation, dilation=dilation, padding_mode="replicate"
    )


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
