"""The learned prior: enlargement by a network that has seen procedural scenes only."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from dfp_batch.errors import ConfigError
from dfp_batch.method.baseline import project_back
from dfp_batch.method.degrade import CODE_LENGTH, Degradation
from dfp_batch.method.image import blockiness, enlarge, luma, noise_level
from dfp_batch.method.network import initialise
from dfp_batch.method.optimise import Compute
from dfp_batch.method.tiling import in_tiles

SHIPPED = {
    size: Path(__file__).parent / "weights" / f"prior-{size}.safetensors"
    for size in ("small", "large")
}
ENLARGEMENTS = (2, 3, 4)
PROJECTION_STEPS = 10  # before the network; its weights are made for so many
_TILE_PX = 320  # more costs memory; less costs time in halos, most where the network is deep
_LEAST_NOISE, _MOST_NOISE = 1 / 255, 2 / 255  # standard deviations
_LEAST_BLOCKS, _MOST_BLOCKS = 1.15, 1.35  # JPEG of quality 90, 80
_DETAIL_GAIN = 4.0  # makes back-projected detail about as large as the image
_TAIL_GAIN = 0.25
_BRANCH_GAIN = 0.1  # a block starts close to the identity


class _Block(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = _convolution(width, width)

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = self.second(self.first(features).relu_())
        return features + added


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    # Replicated borders: no layer sees zeros where an image, or a tile at its border, ends.
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")


class PriorNetwork(nn.Module):
    """Adds detail to a back-projected enlargement; all convolutions work at source resolution.

    A head for every scale, one trunk of residual blocks, a tail for every scale with pixel shuffle.

    Attributes:
        width: Channels of the trunk.
        halo_px: Source pixels on every side that a pixel of the result depends on.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.width = width
        self.halo_px = 2 * blocks + 2
        inputs = {scale: 1 + scale**2 + CODE_LENGTH for scale in ENLARGEMENTS}
        self.heads = nn.ModuleDict({f"x{s}": _convolution(inputs[s], width) for s in ENLARGEMENTS})
        self.trunk = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.tails = nn.ModuleDict({f"x{s}": _convolution(width, s**2) for s in ENLARGEMENTS})

    def forward(self, low: Tensor, projected: Tensor, code: Tensor) -> Tensor:
        """The sharp image.

        Args:
            low: Luma at source size, (N, 1, h, w), in [0, 1].
            projected: Its back-projected enlargement, (N, 1, scale * h, scale * w).
            code: Of the kernel, (N, 8); see ``Kernel.code``.

        Returns:
            (N, 1, scale * h, scale * w), float32.
        """
        scale = projected.shape[-1] // low.shape[-1]
        detail = _DETAIL_GAIN * (functional.pixel_unshuffle(projected, scale) - low)
        maps = code[:, :, None, None].expand(-1, -1, *low.shape[-2:])
        inputs = torch.cat((low - 0.5, detail, maps), 1)
        features = self.heads[f"x{scale}"](inputs.contiguous(memory_format=torch.channels_last))
        tail: Tensor = self.tails[f"x{scale}"](features + self.trunk(features))
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
        with torch.device("meta"):
            network = PriorNetwork(self.width, self.blocks)
        network.to_empty(device=generator.device)
        network.apply(lambda module: initialise(module, generator))
        with torch.no_grad():
            for name, weight in network.trunk.named_parameters():
                if name.endswith("second.weight"):
                    weight.mul_(_BRANCH_GAIN)
            for parameter in network.tails.parameters():
                parameter.zero_()
        return _channels_last(network)


def _channels_last(network: PriorNetwork) -> PriorNetwork:
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def save_prior(path: Path, spec: PriorSpec, weights: dict[str, Tensor]) -> None:
    """Write weights in float16, with what they belong to."""
    halves = {name: weight.half().contiguous().cpu() for name, weight in weights.items()}
    save_file(halves, path, {name: str(value) for name, value in vars(spec).items()})


def load_prior(path: Path, device: torch.device) -> PriorNetwork:
    """A network with weights from a file, trainable, in float32.

    Raises:
        ConfigError: if the file is not there, or does not hold such weights.
    """
    spec, weights = _read(path)
    network = spec.build(torch.Generator(device))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"{path}: holds other weights than a prior's: {error}") from error
    return network


def grow(network: PriorNetwork, path: Path) -> None:
    """Give a network weights of a shallower one: it computes the same, its further blocks nothing.

    Raises:
        ConfigError: if the file cannot be used, or holds a network that is wider or deeper.
    """
    spec, weights = _read(path)
    if spec.width != network.width or spec.blocks > len(network.trunk):
        raise ConfigError(
            f"{path}: has {spec.blocks} blocks of {spec.width} channels, which cannot grow to "
            f"{len(network.trunk)} of {network.width}"
        )
    network.load_state_dict(weights, strict=False)
    with torch.no_grad():
        for block in list(network.trunk.children())[spec.blocks :]:
            for parameter in block.get_submodule("second").parameters():
                parameter.zero_()


@lru_cache(maxsize=2)
def _read(path: Path) -> tuple[PriorSpec, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            facts: dict[str, Any] = file.metadata() or {}
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        return PriorSpec(int(facts["width"]), int(facts["blocks"])), weights
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: must be weights written by train_prior.py: {error}") from error


def start_from(low: Tensor, degrade: Degradation) -> Tensor:
    """What the network adds to: ten steps of back projection, (N, C, scale * h, scale * w)."""
    interpolated = enlarge(low, degrade.scale)
    return project_back(interpolated, low, degrade, PROJECTION_STEPS)[0]


def _trusted(low: Tensor) -> Tensor:
    """Share of the last steps that is taken: 1 for clean sources, 0 for noise or coarse JPEG."""
    noise = (_MOST_NOISE - noise_level(low)) / (_MOST_NOISE - _LEAST_NOISE)
    blocks = (_MOST_BLOCKS - blockiness(low)) / (_MOST_BLOCKS - _LEAST_BLOCKS)
    return torch.minimum(noise, blocks).clamp(0, 1)


@dataclass(frozen=True)
class LearnedPrior:
    """Back projection, and the detail that a network adds to its luma.

    Grey stays grey: the detail is the same in all channels. At scale 1 nothing is added.

    Attributes:
        weights: "small" or "large", which come with the package, or a file of ``train_prior.py``.
            Large ones have twice the layers, and take twice the time.
        final_steps: Of back projection after the network. They bring back detail, and noise: what
            they change is taken less, the more noise is in the sources (from one to two levels of 8
            bits) and the more the blocks of JPEG show (from about quality 90 to 80).

    Raises:
        ConfigError: if final_steps is negative.
    """

    weights: str = "small"
    final_steps: int = 1

    def __post_init__(self) -> None:
        if self.final_steps < 0:
            raise ConfigError(f"reconstruction.final_steps must be >= 0, got {self.final_steps}")

    def build(self, device: torch.device) -> PriorNetwork:
        """The network, trainable.

        Raises:
            ConfigError: if the file of the weights cannot be used.
        """
        return load_prior(SHIPPED.get(self.weights) or Path(self.weights), device)

    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> tuple[Tensor, Tensor]:
        """Fused (1, C, scale * h, scale * w) in [0, 1]; mean |u - D(x)| before each last step.

        Raises:
            ConfigError: if the file of the weights cannot be used.
        """
        low = (decision * sources).sum(0, keepdim=True)
        return self.apply(self.build(low.device), low, degrade, compute)

    @torch.no_grad()
    def apply(
        self, network: PriorNetwork, low: Tensor, degrade: Degradation, compute: Compute
    ) -> tuple[Tensor, Tensor]:
        """As a call, of the merged sources u (1, C, h, w) and with a network like the prior's."""
        if degrade.scale == 1:
            return low.clamp(0, 1), low.new_empty(0)
        projected = start_from(low, degrade)
        detailed = projected + self._detail(network, low, projected, degrade, compute)
        nearer, residuals = project_back(detailed, low, degrade, self.final_steps)
        fused = detailed + _trusted(luma(low)) * (nearer - detailed)
        return fused.clamp(0, 1), residuals

    def _detail(
        self,
        network: PriorNetwork,
        low: Tensor,
        projected: Tensor,
        degrade: Degradation,
        compute: Compute,
    ) -> Tensor:
        """What the network adds to the luma, (1, 1, scale * h, scale * w)."""
        code = degrade.kernel.code(degrade.scale)[None].to(low.device)
        grey = luma(projected)

        def enlarged(low: Tensor, projected: Tensor) -> Tensor:
            with compute.autocast():
                result: Tensor = network(low, projected, code)
            return result

        side_px = compute.side_px(_TILE_PX)
        return in_tiles(enlarged, (luma(low), grey), side_px, network.halo_px) - grey
