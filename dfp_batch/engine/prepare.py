"""The first stage, for CPUs: read, check, register and expose; merge, where no device does it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch.alignment.drafts import Drafts
from dfp_batch.alignment.stack_alignment import StackAlignment, align_stack, gains_of
from dfp_batch.config.run_config import RunConfig
from dfp_batch.core.contracts import Images
from dfp_batch.engine import receipt, registration_file
from dfp_batch.engine.budget import prepare_limit_s
from dfp_batch.engine.camera_kernels import camera_of
from dfp_batch.engine.checks import (
    check_channels,
    check_output,
    check_side,
    check_truths,
    for_pair,
    reference_index,
)
from dfp_batch.engine.frames import Alphas, Colours, Frames, open_frames
from dfp_batch.engine.merging import Aligned, Maps, merge_frames
from dfp_batch.engine.progress import UNWATCHED, Progress
from dfp_batch.engine.ranges import in_unit, span_of
from dfp_batch.errors import ImageError
from dfp_batch.io import codec
from dfp_batch.io.codec import Frame, Span
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.placement import Accelerator, Placement, Step, placement
from dfp_batch.pipeline.steps import Workplace
from dfp_batch.runs.manifest import Pair

_CPU = torch.device("cpu")
_MOST_RELIEF = 1  # beyond that the memory of the device is not relied on any more


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is known of a pair before its reconstruction.

    Either the frames are merged to one already, or they are handed over as they are stored.

    Attributes:
        aligned: Frames, to be merged by the next stage; None if they are merged.
        merged: (1, C, h, w), float32, in [0, 1]; None if they are not merged.
        maps: Of the decision; None if they are not merged.
        compared: Whether the result is compared with the classical floor.
        floor: Sources as merged by the preset ``classical``, (1, C, h, w), float32, in [0, 1]; None
            where nothing is compared with it, or the result is the floor itself.
        valid: Pixels that every frame covers, (h, w).
        blank: The reference frame without its pixels: type, white and metadata.
        registration: Content of registration.json.
        channels: Merged by the decision for the frames, (K, h, w), float32, in [0, 1]; None where
            the frames are all there is.
        channel_names: Of the K channels.
        camera: That took the pair, by whose name a kernel may be known; "" if nothing says it.
    """

    aligned: Aligned | None
    merged: NDArray[np.float32] | None
    maps: Maps | None
    compared: bool
    floor: NDArray[np.float32] | None
    valid: NDArray[np.bool_]
    blank: Frame
    registration: bytes
    channels: NDArray[np.float32] | None = None
    channel_names: tuple[str, ...] = ()
    camera: str = ""

    @property
    def to_merge(self) -> tuple[int, int]:
        """Number of frames that are not merged yet, and pixels of one, of all channels."""
        images = 1 + len(self.channel_names)
        return (0 if self.aligned is None else len(self.aligned.frames)), self.valid.size * images

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        held = [self.merged, self.floor, self.valid, self.channels]
        own = sum(array.nbytes for array in held if array is not None)
        return own + sum(part.nbytes for part in (self.maps, self.aligned) if part is not None)


@dataclass(frozen=True)
class Circumstances:
    """What the engine tells the first stage beside the pair and the configuration.

    Attributes:
        accelerator: Of the second stage; None is a CPU.
        compare_floor: Whether the classical floor is made, too, to be compared with.
        relief: How often memory was short before.
    """

    accelerator: Accelerator | None = None
    compare_floor: bool = True
    relief: int = 0


ALONE = Circumstances()


def prepare(
    pair: Pair,
    run: RunConfig,
    progress: Progress = UNWATCHED,
    circumstances: Circumstances = ALONE,
) -> tuple[Prepared, dict[str, Any]]:
    """Read, check, register and expose the frames; merge them, unless the next stage does.

    To merge takes some full frames (h * w * C in float32) and the decision at once, however many
    frames there are, and one more where the floor is another image; of what is above 14 MP the
    most is worked on in bands. To hand them over takes all frames, at the depth of their files.

    Args:
        pair: What to read.
        run: What to compute.
        progress: Hears of it.
        circumstances: What else matters.

    Raises:
        ImageError: if a frame or a reference is not what it must be.
        AlignmentError: if the frames could not be registered.
        StorageError: if something cannot be read.
    """
    config = for_pair(pair, run.fusion)
    versions = receipt.versions(pair)  # before they are read: a change meanwhile is noticed later
    chosen = partial(reference_index, config=config)
    with open_frames(pair.sources, run.reading, chosen) as stored:
        reference = _reference(stored, config)
        h, w, _ = reference.pixels.shape
        progress.expect(prepare_limit_s(len(stored), h * w * stored.n_images))
        _check(pair, reference, stored.n_channels, run, config)
        frames, white, span = _ranged(stored)
        colours = Drafts(Colours(frames))
        alignment = _alignment(pair, frames, colours, white, (h, w), run, config)
        if run.align_from is not None:  # another run may have had another reference
            reference = stored[alignment.registered.reference]
        plan = _placement(reference, frames, config, circumstances)
        prepared = _prepared(
            frames,
            alignment.mended(colours),
            _described(reference, white, span),
            alignment,
            config,
            plan,
            circumstances,
        )
    if run.output.crop == "valid" and not prepared.valid.any():
        raise ImageError("no pixel is seen by all frames; use --crop none")
    progress.check()
    camera = camera_of(pair, reference)
    read = {
        "camera": camera or None,
        "source_versions": versions,
        "source_notes": list(frames.notes) or None,
    }
    known = replace(prepared, camera=camera)
    return known, {**read, **_facts(prepared, alignment)}


def _ranged(stored: Frames) -> tuple[Frames, float, Span | None]:
    """Frames to compute with, the value of white in them, and the range that became [0, 1]."""
    first = stored[0]  # held, so that it is not decoded for each of these
    span = span_of(stored)
    frames = in_unit(stored, span)
    white = frames.white()
    del first
    return frames, white, span


def _check(
    pair: Pair, reference: Frame, n_channels: int, run: RunConfig, config: FusionConfig
) -> None:
    """Refuse what could not be finished, before anything is computed."""
    check_channels(n_channels, config)
    check_truths(pair, reference, config.scale)
    check_output(reference, run.output, n_channels)


def _placement(
    reference: Frame, frames: Frames, config: FusionConfig, circumstances: Circumstances
) -> Placement:
    h, w, channels = reference.pixels.shape
    if frames.channels is not None:
        return Placement.after(Step.MERGE)
    accelerator = circumstances.accelerator
    if accelerator is not None and circumstances.relief > _MOST_RELIEF:
        accelerator = Accelerator(0)
    return placement(config, len(frames), (h, w, channels), accelerator)


def _reference(frames: Frames, config: FusionConfig) -> Frame:
    index = reference_index(len(frames), config)
    frame = frames[index]
    check_side(frames.names[index], *frame.pixels.shape[:2])
    return frame


def _described(reference: Frame, white: float, span: Span | None) -> Frame:
    """The reference frame with what all frames say together."""
    if span is None:
        return replace(reference, white=white)
    return replace(reference, white=None, span=span)


def _emptied(frame: Frame) -> Frame:
    """What a frame is, without the memory of its pixels."""
    return replace(frame, pixels=frame.pixels[:0].copy())


def _alignment(
    pair: Pair,
    frames: Frames,
    colours: Drafts,
    white: float,
    size: tuple[int, int],
    run: RunConfig,
    config: FusionConfig,
) -> StackAlignment:
    if run.align_from is None:
        found = align_stack(colours, white, config.align, config.exposure)
    else:
        shape = frames[0].pixels.shape
        found = registration_file.read(run.align_from, pair.pair_id, len(frames), shape)
    return found.with_spots(colours, white, size) if config.spots == "mend" else found


def _prepared(
    frames: Frames,
    colours: Images,
    reference: Frame,
    alignment: StackAlignment,
    config: FusionConfig,
    plan: Placement,
    circumstances: Circumstances,
) -> Prepared:
    white = codec.white(reference) if reference.span is None else 1.0
    size = reference.pixels.shape[:2]
    has_alpha = reference.alpha is not None
    alphas = Alphas(frames) if has_alpha else None
    channels = _channels(frames, white, alignment, config)
    aligned = Aligned(colours, alphas, white, alignment, channels)
    # First, so that there is never more than one decision.
    floor = _floor(aligned, config, plan) if circumstances.compare_floor else None
    found, merged = None, None
    if not plan.hands_over_frames:
        found = merge_frames(aligned, config, Workplace(_CPU, relief=circumstances.relief))
        merged = found.merged.sources.numpy()
    return Prepared(
        aligned=_loaded(aligned) if plan.hands_over_frames else None,
        merged=merged,
        maps=found.maps if found else None,
        floor=merged if floor is None and circumstances.compare_floor else floor,
        compared=circumstances.compare_floor,
        valid=alignment.valid((size[0], size[1])),
        blank=replace(_emptied(reference), alpha=None),
        registration=registration_file.to_bytes(alignment, frames.names, (size[0], size[1])),
        channels=found.channels if found else None,
        channel_names=frames.channels.names if frames.channels else (),
    )


def _channels(
    frames: Frames, white: float, alignment: StackAlignment, config: FusionConfig
) -> list[tuple[Images, NDArray[np.float64]]]:
    """Every channel with its own exposure; none where the frames are all there is."""
    if frames.channels is None:
        return []
    found = [Colours(channel) for channel in frames.channels.frames]
    registered = alignment.registered
    return [(images, gains_of(images, white, registered, config.exposure)) for images in found]


def _loaded(aligned: Aligned) -> Aligned:
    """The frames that could be registered, in memory; an empty one stands for each other."""
    kept = aligned.alignment.kept

    def load(images: Images) -> Sequence[NDArray[Any]]:
        none = images[kept[0]][:0].copy()
        return [images[index] if index in kept else none for index in range(len(images))]

    alphas = None if aligned.alphas is None else load(aligned.alphas)
    return replace(aligned, frames=load(aligned.frames), alphas=alphas)


def _floor(aligned: Aligned, config: FusionConfig, plan: Placement) -> NDArray[np.float32] | None:
    """Sources as the preset ``classical`` merges them; None if ``config`` does it here anyway."""
    floor, parts = floor_config(config), ("focus", "refinement", "merge")
    is_same = all(getattr(config, part) == getattr(floor, part) for part in parts)
    if config == floor or (is_same and not plan.hands_over_frames):
        return None
    colours = replace(aligned, alphas=None, channels=())
    return merge_frames(colours, floor, Workplace(_CPU)).merged.sources.numpy()


def floor_config(config: FusionConfig) -> FusionConfig:
    """The preset ``classical`` with scale, kernel and registration of another composition."""
    kept = ("align", "exposure", "kernel", "scale", "seed", "precision")
    return FusionConfig.preset("classical", **{name: getattr(config, name) for name in kept})


def _facts(prepared: Prepared, alignment: StackAlignment) -> dict[str, Any]:
    found = alignment.registered
    others = [k for k in range(len(found.flags)) if k != found.reference]
    return {
        "n_sources": len(found.flags),
        "channel_names": list(prepared.channel_names) or None,
        "bit_depth": prepared.blank.bit_depth,
        "significant_bits": prepared.blank.significant_bits,
        **dict(zip(("range_low", "range_high"), prepared.blank.span or (None, None), strict=True)),
        "reference_frame": found.reference,
        "align_flags": list(found.flags),
        "align_score_before": min(found.before[k] for k in others),
        "align_score_after": min(found.after[k] for k in others),
        "gain_min": float(alignment.gains.min()),
        "gain_max": float(alignment.gains.max()),
        "mended_spots": len(alignment.spots),
        "valid_share": float(prepared.valid.mean()),
    }


def confidence_facts(maps: Maps) -> dict[str, Any]:
    """What the row says of the measured focus."""
    return {"low_confidence_share": maps.low_confidence_share}
