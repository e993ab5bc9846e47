"""Parts of one's own, and configurations in words, for the tests of the configuration."""

from dataclasses import dataclass, field

import torch

from dfp_batch.config.run_config import run_config
from dfp_batch.core.contracts import FocusMeasure
from dfp_batch.networks.skip_net import SkipNet

MINE = f"{__name__}:Average"
WITHOUT_DEFAULT = f"{__name__}:WithoutDefault"


def fusion(settings, preset="paper", file_text=None):
    return run_config(preset, file_text, settings).fusion


@dataclass(frozen=True)
class Average(FocusMeasure):
    """A focus measure of somebody else: no source is sharper than another."""

    strength: float = 1.0
    inner: SkipNet = field(default_factory=SkipNet)

    def __call__(self, sources):
        return torch.full_like(sources[0][:1], 1 / len(sources)).repeat(len(sources), 1, 1, 1)


@dataclass(frozen=True)
class WithoutDefault(Average):
    strength: float = field()

    def __init__(self, strength):
        object.__setattr__(self, "strength", strength)
