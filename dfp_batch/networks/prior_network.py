"""The network of the learned prior: it adds detail to a back-projected enlargement."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dfp_batch.core.degradation import CODE_LENGTH
from dfp_batch.errors import ConfigError
from dfp_batch.networks.initialisation import fresh
from dfp_batch.networks.residual_block import ResidualBlock, convolution

ENLARGEMENTS = (2, 3, 4)

_DETAIL_GAIN = 4.0  # makes back-projected detail about as large as the image
_TAIL_GAIN = 0.25
_BRANCH_GAIN = 0.1  # a block starts close to the identity


class PriorNetwork(nn.Module):
    """Adds detail to a back-projected enlargement; all convolutions work at source resolution.

    A head for every scale, one trunk of residual blocks, a tail for every scale with pixel shuffle.

    Attributes:
        width: Channels of the trunk.
        halo_px: Source pixels on every side that a pixel of the result depends on.
        tail_px: Those that a pixel of the tail's result depends on.
        ranges: Of what its blocks see, for ``Int8Blocks``; 1 until they are measured.
    """

    ranges: Tensor
    tail_px = 1

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.width = width
        self.halo_px = 2 * blocks + 1 + self.tail_px
        inputs = {scale: 1 + scale**2 + CODE_LENGTH for scale in ENLARGEMENTS}
        self.heads = nn.ModuleDict({f"x{s}": convolution(inputs[s], width) for s in ENLARGEMENTS})
        self.trunk = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.register_buffer("ranges", torch.ones(blocks, 2))
        self.tails = nn.ModuleDict({f"x{s}": convolution(width, s**2) for s in ENLARGEMENTS})

    def forward(
        self,
        low: Tensor,
        projected: Tensor,
        code: Tensor,
        blocks: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """The sharp image.

        Args:
            low: Luma at source size, (N, 1, h, w), in [0, 1].
            projected: Its back-projected enlargement, (N, 1, scale * h, scale * w).
            code: Of the kernel, (N, 8); see ``Kernel.code``.
            blocks: In place of the blocks of the trunk, in another arithmetic.

        Returns:
            (N, 1, scale * h, scale * w), float32.
        """
        scale = projected.shape[-1] // low.shape[-1]
        detail = _DETAIL_GAIN * (functional.pixel_unshuffle(projected, scale) - low)
        maps = code[:, :, None, None].expand(-1, -1, *low.shape[-2:])
        inputs = torch.cat((low - 0.5, detail, maps), 1)
        features = self.heads[f"x{scale}"](inputs.contiguous(memory_format=torch.channels_last))
        if blocks is not None:
            features = features.float()
        tail: Tensor = self.tails[f"x{scale}"](features + (blocks or self.trunk)(features))
        return projected + _TAIL_GAIN * functional.pixel_shuffle(tail, scale).float()


@dataclass(frozen=True)
class PriorSpec:
    """Size of the network.

    Attributes:
        width: Channels of the trunk.
        blocks: Residual blocks of the trunk.

    Raises:
        ConfigError: if one is not positive.
    """

    width: int = 64
    blocks: int = 8

    def __post_init__(self) -> None:
        if min(self.width, self.blocks) < 1:
            raise ConfigError(f"width and blocks must be >= 1, got {self.width} and {self.blocks}")

    def build(self, generator: torch.Generator) -> PriorNetwork:
        """A fresh network, which gives back the enlargement that it gets."""
        network = fresh(lambda: PriorNetwork(self.width, self.blocks), generator)
        with torch.no_grad():
            for name, weight in network.trunk.named_parameters():
                if name.endswith("second.weight"):
                    weight.mul_(_BRANCH_GAIN)
            for parameter in network.tails.parameters():
                parameter.zero_()
        return _channels_last(network)


def _channels_last(network: PriorNetwork) -> PriorNetwork:
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
