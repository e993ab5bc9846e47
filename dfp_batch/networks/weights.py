"""Files of weights: the only code that reads or writes them."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dfp_batch.errors import ConfigError
from dfp_batch.networks.blur_network import BlurNetwork
from dfp_batch.networks.defocus_spread_network import DefocusSpreadNetwork
from dfp_batch.networks.prior_network import PriorNetwork, PriorSpec


def load_weights(network: nn.Module, path: Path, job: str) -> None:
    """Give a network the weights in a file.

    Args:
        network: Takes them.
        path: Of a safetensors file.
        job: That writes such files.

    Raises:
        ConfigError: if the file is not there, or does not hold such weights.
    """
    try:
        with safe_open(path, "pt") as file:
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ConfigError(f"{path}: must be weights written by {job}: {error}") from error


DEFOCUS_SPREAD = Path(__file__).parent / "weights" / "defocus-spread.safetensors"


def save_defocus_spread(path: Path, weights: dict[str, Tensor]) -> None:
    """Write weights in float16."""
    save_file({name: weight.half().contiguous() for name, weight in weights.items()}, path)


@lru_cache(maxsize=4)
def load_defocus_spread(
    path: Path = DEFOCUS_SPREAD, device: torch.device | None = None
) -> DefocusSpreadNetwork:
    """The network with weights from a file, not to be changed: one for every device.

    Raises:
        ConfigError: if the file is not there, or does not hold such weights.
    """
    network = DefocusSpreadNetwork()
    load_weights(network, path, "train_defocus_spread.py")
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


BLUR = Path(__file__).parent / "weights" / "blur.safetensors"


def save_blur(path: Path, network: BlurNetwork) -> None:
    """Write its weights."""
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)


@lru_cache(maxsize=1)
def load_blur(path: Path = BLUR) -> BlurNetwork:
    """The networks with weights from a file, not to be changed.

    Raises:
        ConfigError: if the file is not there, or does not hold such weights.
    """
    network = BlurNetwork()
    load_weights(network, path, "train_blur.py")
    return network.eval()


PRIORS = {
    size: Path(__file__).parent / "weights" / f"prior-{size}.safetensors"
    for size in ("small", "large")
}


def save_prior(path: Path, spec: PriorSpec, weights: dict[str, Tensor]) -> None:
    """Write weights in float16, with what they belong to."""
    halves = {name: weight.half().contiguous().cpu() for name, weight in weights.items()}
    save_file(halves, path, {name: str(value) for name, value in vars(spec).items()})


@lru_cache(maxsize=4)
def load_prior(path: Path, device: torch.device) -> PriorNetwork:
    """The network with weights from a file, in float32, not to be changed: one for every device.

    Raises:
        ConfigError: if the file is not there, or does not hold such weights.
    """
    spec, weights = _read_prior(path)
    network = spec.build(torch.Generator(device))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"{path}: holds other weights than a prior's: {error}") from error
    return network.eval().requires_grad_(False)


def grow(network: PriorNetwork, path: Path) -> None:
    """Give a network weights of one no deeper: it computes the same, its further blocks nothing.

    Raises:
        ConfigError: if the file cannot be used, or holds a network that is wider or deeper.
    """
    spec, weights = _read_prior(path)
    if spec.width != network.width or spec.blocks > len(network.trunk):
        raise ConfigError(
            f"{path}: has {spec.blocks} blocks of {spec.width} channels, which cannot grow to "
            f"{len(network.trunk)} of {network.width}"
        )
    learnt = {name: weight for name, weight in weights.items() if name != "ranges"}
    network.load_state_dict(learnt, strict=False)
    with torch.no_grad():
        for block in list(network.trunk.children())[spec.blocks :]:
            for parameter in block.get_submodule("second").parameters():
                parameter.zero_()


def _read_prior(path: Path) -> tuple[PriorSpec, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            facts: dict[str, Any] = file.metadata() or {}
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        return PriorSpec(int(facts["width"]), int(facts["blocks"])), weights
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: must be weights written by train_prior.py: {error}") from error
