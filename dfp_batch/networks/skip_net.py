"""SKIPnet, the encoder-decoder whose structure is the prior (paper section 3.2.1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfp_batch.core.contracts import NetworkSpec
from dfp_batch.core.part import Count, OddCount
from dfp_batch.errors import ConfigError
from dfp_batch.networks.initialisation import fresh


class _ConvNormAct(nn.Sequential):
    """Reflect-pad, convolution, batch norm, LeakyReLU."""

    def __init__(self, channels: tuple[int, int], size: int, stride: int, slope: float) -> None:
        super().__init__(
            nn.Conv2d(
                *channels,
                size,
                stride=stride,
                padding=size // 2,
                padding_mode="reflect" if size > 1 else "zeros",  # to reflect nothing is a copy
                bias=False,
            ),
            _norm(channels[1]),
            nn.LeakyReLU(slope, inplace=True),
        )


def _norm(channels: int) -> nn.BatchNorm2d:
    # One image is the whole batch: its own statistics are used always, so none are tracked.
    return nn.BatchNorm2d(channels, track_running_stats=False)


class _Doubling(nn.Upsample):
    """Bilinear, twice the size; on a GPU by a form of our own, to the same result.

    Where kernels must be deterministic, the gradient of PyTorch's is a sort of all its places.
    """

    def __init__(self) -> None:
        super().__init__(scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, features: Tensor) -> Tensor:
        return doubled(features) if features.is_cuda else super().forward(features)


def doubled(features: Tensor) -> Tensor:
    """Features (N, C, h, w) at twice the size: weights 3/4 and 1/4 of the two nearest pixels."""
    for dim in (2, 3):
        count = features.shape[dim]
        before = torch.cat((features.narrow(dim, 0, 1), features.narrow(dim, 0, count - 1)), dim)
        after = torch.cat((features.narrow(dim, 1, count - 1), features.narrow(dim, -1, 1)), dim)
        phases = torch.lerp(features, before, 0.25), torch.lerp(features, after, 0.25)
        features = torch.stack(phases, dim + 1).flatten(dim, dim + 1)
    return features


class _Stage(nn.Module):
    """Encoder block, whatever lies below it, decoder block, and the skip between them."""

    def __init__(self, spec: "SkipNet", depth: int, inputs: int) -> None:
        super().__init__()
        width = spec.widths[depth]
        last = depth + 1 == len(spec.widths)
        below = width if last else spec.widths[depth + 1]
        self.skip = _ConvNormAct((inputs, spec.skip_width), 1, 1, spec.slope)
        self.encode = nn.Sequential(
            *spec.convolution((inputs, width), 1), *spec.convolution((width, width), 2)
        )
        self.below = nn.Identity() if last else _Stage(spec, depth + 1, width)
        self.enlarge = _Doubling()
        self.decode = nn.Sequential(
            _norm(below + spec.skip_width),
            *spec.convolution((below + spec.skip_width, width), 1),
            *spec.convolution((width, width), 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        deep = self.enlarge(self.below(self.encode(features)))
        joined: Tensor = self.decode(torch.cat((deep, self.skip(features)), dim=1))
        return joined


@dataclass(frozen=True)
class SkipNet(NetworkSpec):
    """SKIPnet: D encoder and decoder blocks with skips, 1x1 convolution, logits out.

    The caller applies the sigmoid (image) or softmax (decision).

    Differs from the released code, as the paper says: the encoder convolves before it strides, and
    both decoder convolutions are nd x nd (the code has 1x1 for the second), 2.07 M parameters.

    Attributes:
        kernel_px: nd, odd; 5 in the paper.
        two_3x3: Replace every 5x5 convolution by two 3x3 ones (paper section 3.2.1).
        widths: Channels of the blocks; their number is the depth D.
        skip_width: Channels of each skip.
        slope: Of LeakyReLU for negative values.

    Raises:
        ConfigError: if kernel_px is not a positive odd number, two_3x3 goes with another than 5, or
            a width is not positive.
    """

    kernel_px: OddCount = 5
    two_3x3: bool = False
    widths: tuple[Count, ...] = (8, 16, 32, 64, 128)
    skip_width: Count = 4
    slope: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.two_3x3 and self.kernel_px != 5:  # noqa: PLR2004
            raise ConfigError(
                f"network.two_3x3 replaces 5x5 kernels, got kernel_px {self.kernel_px}"
            )
        if not self.widths:
            raise ConfigError("network.widths must name one channel count or more, got none")

    @property
    def size_multiple(self) -> int:
        """2^D: every block halves the size once."""
        return int(2 ** len(self.widths))

    @property
    def minimum_px(self) -> int:
        """The deepest block must hold more pixels than it pads, and norm over more than one."""
        return int(2 ** (len(self.widths) - 1)) * max(4, self.kernel_px // 2 + 1)

    def convolution(self, channels: tuple[int, int], stride: int) -> list[nn.Module]:
        """Pad, convolve, normalise and activate, once with nd x nd or twice with 3x3."""
        if not self.two_3x3:
            return [_ConvNormAct(channels, self.kernel_px, stride, self.slope)]
        inner = (channels[1], channels[1])
        return [
            _ConvNormAct(channels, 3, 1, self.slope),
            _ConvNormAct(inner, 3, stride, self.slope),
        ]

    def build(self, channels: tuple[int, int], generator: torch.Generator) -> nn.Module:
        """Network of (1, inputs, H, W) -> logits (1, outputs, H, W), H and W as ``size_multiple``.

        All weights come from ``generator``; the global random state is neither read nor moved.
        """
        inputs, outputs = channels
        return fresh(
            lambda: nn.Sequential(_Stage(self, 0, inputs), nn.Conv2d(self.widths[0], outputs, 1)),
            generator,
        ).train()
