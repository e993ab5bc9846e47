"""What runs where: which steps ``prepare`` does on a CPU, and which are done on the device."""

from dataclasses import dataclass
from enum import StrEnum

import torch

from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.slabs import MOST_AT_ONCE

_FULL_FRAMES = 14  # in float32, that the steps up to the merge hold at once
_REDUCED = 1 / 8  # of every frame, made smaller where nothing is in focus, and of what it shows
_DECISIONS = 4  # likewise; evidence at several scales, duals of the labelling
_OUTPUTS = 10  # images of the size of the result, that the enlargement holds
_TILE_BYTES = 1 << 30  # of the largest network in a tile
_USABLE = 0.8  # of the memory of a device: the rest is its context and what is lost in pieces


class Step(StrEnum):
    """Steps of the method, in their order."""

    REGISTER = "register"
    WARP = "warp"
    FOCUS = "focus"
    REFINE = "refine"
    MERGE = "merge"
    ENLARGE = "enlarge"


@dataclass(frozen=True)
class Accelerator:
    """The device of the second stage, if it is not the CPU.

    Attributes:
        memory_bytes: Its share for one pair.
    """

    memory_bytes: int


def accelerator_of(device: torch.device) -> Accelerator | None:
    """What a device offers beside the CPU; None is the CPU itself."""
    if device.type == "cpu":
        return None
    return Accelerator(torch.cuda.get_device_properties(device).total_memory)


@dataclass(frozen=True)
class Placement:
    """Who does which steps.

    Attributes:
        prepare: Of the first stage, on a CPU.
        reconstruct: Of the second stage, on the accelerator if there is one.
    """

    prepare: tuple[Step, ...]
    reconstruct: tuple[Step, ...]

    @classmethod
    def after(cls, last: Step) -> "Placement":
        """The second stage begins after this step."""
        steps = list(Step)
        cut = steps.index(last) + 1
        return cls(tuple(steps[:cut]), tuple(steps[cut:]))

    @property
    def hands_over_frames(self) -> bool:
        """Whether the second stage gets the frames as they are stored, not one merged image."""
        return Step.MERGE in self.reconstruct


def placement(
    config: FusionConfig,
    n_frames: int,
    size: tuple[int, int, int],
    accelerator: Accelerator | None,
) -> Placement:
    """Which steps run where, for one item.

    Decoding and registration are work for a CPU. From the warp on everything runs on the
    accelerator if the item fits its memory; a larger or deeper one is merged frame by frame on a
    CPU. Without
    an accelerator both stages have a CPU: then the second one merges only what fits a network, or
    wants all sources, which are smallest as they are stored.

    Args:
        config: What to compute.
        n_frames: N.
        size: (h, w, C) of a frame.
        accelerator: Of the second stage; None is a CPU.
    """
    if config.refinement.iterations or config.merge.needs_all:
        return Placement.after(Step.REGISTER)
    if accelerator is None:
        return Placement.after(Step.MERGE)
    if n_frames > MOST_AT_ONCE:
        return Placement.after(Step.MERGE)
    fits = device_bytes(config, n_frames, size) <= _USABLE * accelerator.memory_bytes
    return Placement.after(Step.REGISTER if fits else Step.MERGE)


def device_bytes(config: FusionConfig, n_frames: int, size: tuple[int, int, int]) -> int:
    """Memory that all steps from the warp on take on a device, about."""
    h, w, channels = size
    frame, decision = 4 * h * w * channels, 4 * h * w * n_frames
    needs_all = config.focus.needs_all or config.refinement.needs_all or config.merge.needs_all
    frames = _FULL_FRAMES + (n_frames if needs_all else _REDUCED * n_frames)
    return max(
        int(frames * frame) + _DECISIONS * decision,
        _OUTPUTS * config.scale**2 * frame + decision + (_TILE_BYTES if config.scale > 1 else 0),
    )
