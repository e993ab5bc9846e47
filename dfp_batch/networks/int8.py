"""Residual blocks in whole numbers of 8 bits: on many CPUs twice as fast as bfloat16.

Weights are whole numbers times a factor per channel, what a convolution sees is times one per
convolution, and sums have 32 bits. What a block adds, and what it is added to, stays float32: so
errors do not add up from block to block.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dfp_batch.core.tiling import Halo
from dfp_batch.networks.residual_block import ResidualBlock

Levels = NDArray[np.uint8]  # (h, w, C)
Image = NDArray[np.float32]

_MOST = 127  # of a weight, and of a value with a sign
_MIDDLE, _LEVELS = 128, 255
_SPAN = 1.25  # of the largest value seen: hard inputs go beyond it, and what is clipped shows
_TINY = 1e-12
_WHOLE = Halo()  # an image that is no tile has none


class Int8Blocks:
    """What a sequence of residual blocks computes, with their present weights.

    It is for applying a network, one image at a time, on a CPU for which ``is_exact``.

    Args:
        blocks: Residual blocks.
        ranges: Largest absolute value that the first and the second convolution of every block
            see, (blocks, 2); what is larger is clipped.
    """

    def __init__(self, blocks: nn.Sequential, ranges: Tensor) -> None:
        spans = (_SPAN * ranges.detach().cpu().float()).clamp(min=_TINY)
        self._blocks = [
            (
                _Convolution(block.get_submodule("first"), float(seen) / _MOST, _MIDDLE),
                _Convolution(block.get_submodule("second"), float(hidden) / _LEVELS, 0),
            )
            for block, (seen, hidden) in zip(blocks.children(), spans, strict=True)
        ]

    @torch.no_grad()
    def __call__(self, features: Tensor, halo: Halo = _WHOLE, reach_px: int = 0) -> Tensor:
        """Features (1, C, h, w), of the same shape, float32.

        Args:
            features: What the first block sees.
            halo: Of the tile that they are: less and less of it is worked on, and left unfinished.
            reach_px: Of the halo, that must be finished.
        """
        made = features.to(torch.float32, copy=True, memory_format=torch.channels_last)
        channels, height, width = made.shape[1:]
        stream = _array(made).reshape(height, -1)
        needed_px = reach_px + sum(
            first.reach_px + second.reach_px for first, second in self._blocks
        )
        for first, second in self._blocks:
            rows, columns = halo.window(height, width, needed_px)
            part = stream[rows, channels * columns.start : channels * columns.stop]
            hidden = first.relu(first.levels(part), second.step)
            part += _array(second(hidden)).reshape(part.shape)
            needed_px -= first.reach_px + second.reach_px
        return made


class _Convolution:
    """One of a residual block: it sees ``step * (levels - zero)``."""

    def __init__(self, convolution: nn.Module, step: float, zero: int) -> None:
        weight, bias = (value.detach().float() for value in convolution.parameters())
        self.step, self._zero, self._bias = step, zero, bias
        steps = (weight.abs().amax((1, 2, 3)) / _MOST).clamp(min=_TINY)
        whole = (weight / steps[:, None, None, None]).round().to(torch.int8)
        self._steps, self._zeros = steps, torch.zeros(len(steps), dtype=torch.int64)
        self._channels = weight.shape[1]
        self._dilation = list(convolution.dilation)  # type: ignore[arg-type]
        geometry, likely = ([1, 1], [0, 0], self._dilation, 1), [1, self._channels, 64, 64]
        self._packed = torch.ops.onednn.qconv_prepack(whole, steps, step, zero, *geometry, likely)

    @property
    def reach_px(self) -> int:
        """Of its taps."""
        return int(self._dilation[0])

    def levels(self, rows: Image) -> Levels:
        """Of features (h, w * C)."""
        levels: NDArray[Any] = cv2.addWeighted(
            rows, 1 / self.step, rows, 0, self._zero, dtype=cv2.CV_8U
        )
        return levels.reshape(len(rows), -1, self._channels)

    def relu(self, levels: Levels, step: float) -> Levels:
        """What is above 0 of the result, in levels of that step."""
        made = self._applied(levels, step, torch.uint8, "relu")
        return _array(made)

    def __call__(self, levels: Levels) -> Tensor:
        """The result (1, C, h, w), float32, with the channels last in memory."""
        return self._applied(levels, 1.0, torch.float32, "none")

    def _applied(self, levels: Levels, step: float, dtype: torch.dtype, then: str) -> Tensor:
        px = self.reach_px
        bordered = cv2.copyMakeBorder(levels, px, px, px, px, cv2.BORDER_REPLICATE)
        seen = torch.from_numpy(bordered).permute(2, 0, 1)[None]
        made: Tensor = torch.ops.onednn.qconv2d_pointwise(
            *(seen, self.step, self._zero),
            *(self._packed, self._steps, self._zeros, self._bias),
            *([1, 1], [0, 0], self._dilation, 1),
            *(step, 0, dtype, then, [], ""),
        )
        return made


def _array(features: Tensor) -> NDArray[Any]:
    """Features (1, C, h, w) as OpenCV takes them, (h, w, C)."""
    array: NDArray[Any] = features[0].permute(1, 2, 0).numpy()
    return array


@torch.no_grad()
def ranges_of(blocks: nn.Sequential, run: Callable[[], object]) -> Tensor:
    """Largest absolute values that convolutions see, (blocks, 2), while something is computed.

    Args:
        blocks: Residual blocks.
        run: Applies the network.
    """
    found = torch.zeros(len(blocks), 2)
    hooks = [
        convolution.register_forward_pre_hook(partial(_note, row, place))
        for row, block in zip(found, blocks.children(), strict=True)
        for place, convolution in enumerate(block.children())
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _note(row: Tensor, place: int, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    row[place] = max(float(row[place]), float(inputs[0].abs().amax()))


@lru_cache
def is_exact() -> bool:
    """Whether this processor adds products of 8 bits as they are.

    Without instructions for it two products are added in 16 bits, which the largest exceed; or
    PyTorch has no such convolution there.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        block = ResidualBlock(16)
        for parameter in block.parameters():
            parameter.fill_(1.0)
        features = torch.full((1, 16, 4, 4), _SPAN)
        blocks, hidden = nn.Sequential(block), float(block.first(features).max())
        expected = blocks(features)
        try:
            found = Int8Blocks(blocks, torch.tensor([[1.0, hidden / _SPAN]]))(features)
        except (NotImplementedError, RuntimeError):
            return False
        return bool(((found - expected).abs() < 0.01 * expected).all())
