"""An enlarger of somebody else, used by name: SRCNN (Dong et al., 2016), the first network for it.

Usage: python examples/srcnn.py WEIGHTS.npz

In a run: PYTHONPATH=examples dfp-batch submit manifest.parquet --scale 2 --set policy=always --set
reconstruction=srcnn:Srcnn --set reconstruction.weights=/path/to/srcnn_x2.npz

The file holds float32 arrays conv1_weight (64, 1, 9, 9), conv2_weight (32, 64, 5, 5), conv3_weight
(1, 32, 5, 5) and their biases conv1_bias...; each scale has weights of its own, so that {scale} in
the path stands for that of the run.
"""

import sys
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dfp_batch import fuse
from dfp_batch.config.run_config import run_config
from dfp_batch.core.contracts import Compute, Reconstruction, Solution
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import enlarge, luma
from dfp_batch.errors import ConfigError
from fuse_two_arrays import scene

Layers = tuple[tuple[Tensor, Tensor], ...]

LAYERS = ("conv1", "conv2", "conv3")
_BLACK, _WHITE = 16 / 255, 235 / 255  # of the luma that the network has learnt from


@dataclass(frozen=True)
class Srcnn(Reconstruction):
    """Bicubic enlargement whose luma goes through three convolutions.

    Attributes:
        weights: File of the weights; ``{scale}`` in it becomes that of the run.
    """

    weights: str = ""

    @torch.no_grad()
    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Solution:
        """The enlarged image.

        Raises:
            ConfigError: if the weights cannot be read.
        """
        large = enlarge((decision * sources).sum(0, keepdim=True), degrade.scale)
        plane = luma(large)
        layers = load(self.weights.replace("{scale}", str(degrade.scale)))
        sharper = through(layers, _BLACK + (_WHITE - _BLACK) * plane)
        detail = (sharper - _BLACK) / (_WHITE - _BLACK) - plane
        return Solution((large + detail).clamp(0, 1), large.new_empty(0))


def through(layers: Layers, plane: Tensor) -> Tensor:
    """What the layers make of luma (1, 1, H, W)."""
    for number, layer in enumerate(layers, 1):
        weight, bias = (part.to(plane.device) for part in layer)
        margin = weight.shape[-1] // 2
        padded = functional.pad(plane, (margin,) * 4, mode="replicate")
        plane = functional.conv2d(padded, weight, bias)
        plane = plane.relu_() if number < len(layers) else plane
    return plane


@lru_cache(maxsize=2)
def load(path: str) -> Layers:
    """Weight and bias of every layer.

    Raises:
        ConfigError: if the file has not what it must.
    """
    try:
        with np.load(path) as file:
            layers = tuple(
                (torch.from_numpy(file[f"{name}_weight"]), torch.from_numpy(file[f"{name}_bias"]))
                for name in LAYERS
            )
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise ConfigError(
            f"reconstruction.weights must be an .npz of SRCNN's layers, got {path!r} ({error})"
        ) from error
    if any(first[0].shape[0] != second[0].shape[1] for first, second in pairwise(layers)):
        raise ConfigError(f"reconstruction.weights: the layers in {path!r} do not fit each other")
    return layers


def main() -> None:
    """Enlarge a scene with it."""
    settings = {"reconstruction": "srcnn:Srcnn", "reconstruction.weights": sys.argv[1]}
    config = run_config("fast", None, {**settings, "policy": "always", "scale": 2}).fusion
    height, width = fuse(scene(), config).fused.shape[-2:]
    print(f"{width}x{height} px")


if __name__ == "__main__":
    main()
