"""The first stage, for CPUs: read, check, register, expose, measure focus, merge."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch.alignment.stack import Stack
from dfp_batch.alignment.stack_alignment import StackAlignment, align_stack
from dfp_batch.config import Output, RunConfig
from dfp_batch.core.decision import confidence, winners
from dfp_batch.core.sources import whole
from dfp_batch.engine import receipt, registration_file
from dfp_batch.engine.budget import prepare_limit_s
from dfp_batch.engine.frames import Alphas, Colours, Frames, open_frames, read_frame
from dfp_batch.engine.progress import UNWATCHED, Progress
from dfp_batch.errors import ConfigError, ImageError
from dfp_batch.io import codec
from dfp_batch.io.codec import Frame
from dfp_batch.merging.blend import Blend
from dfp_batch.pipeline.fusion import (
    SMALLEST_PX,
    FusionConfig,
    Merged,
    is_light,
    measure_focus,
    merge,
)
from dfp_batch.runs.manifest import Pair

LOW_CONFIDENCE = 0.1
_CPU = torch.device("cpu")
_MOST_FRAMES = 200


@dataclass(frozen=True)
class Prepared:
    """RegistrationResult sources, merged to one unless the refinement is work for an accelerator.

    Attributes:
        sources: (M, C, h, w), float32, in [0, 1]; M = 1 if they are merged, else N.
        decision: (N, 1, h, w), float32, sums to 1 over N; None if the sources are merged.
        labels: Index among all frames of the source of every pixel, (h, w); None as long as the
            decision is not refined.
        kept: Indices among all frames of the N that were registered.
        floor: Sources as merged by the preset ``classical``, (1, C, h, w), float32, in [0, 1].
        confidence: Of the measured focus, (h, w), in 255ths.
        valid: Pixels that every frame covers, (h, w).
        alpha: (1, 1, h, w), float32, in [0, 1], or None.
        blank: The reference frame without its pixels: type, white and metadata.
        registration: Content of registration.json.
    """

    sources: NDArray[np.float32]
    decision: NDArray[np.float32] | None
    labels: NDArray[np.uint8] | None
    kept: tuple[int, ...]
    floor: NDArray[np.float32]
    confidence: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    alpha: NDArray[np.float32] | None
    blank: Frame
    registration: bytes

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        arrays = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        return sum(array.nbytes for array in arrays)


def prepare(
    pair: Pair, run: RunConfig, progress: Progress = UNWATCHED, relief: int = 0
) -> tuple[Prepared, dict[str, Any]]:
    """Read, check, register and expose the frames, measure their focus, and merge them.

    About six full frames (h * w * C in float32) and the decision are in memory at once, however
    many frames there are, and one more where the floor is another image; only a refinement that
    fits a network needs all of them.

    Args:
        pair: What to read.
        run: What to compute.
        progress: Hears of it.
        relief: As in ``merge``.

    Raises:
        ImageError: if a frame or a reference is not what it must be.
        AlignmentError: if the frames could not be registered.
        StorageError: if something cannot be read.
    """
    config = for_pair(pair, run.fusion)
    versions = receipt.versions(pair)  # before they are read: a change meanwhile is noticed later
    with open_frames(pair.sources) as frames:
        reference = _reference(frames, config)
        h, w, _ = reference.pixels.shape
        progress.expect(prepare_limit_s(len(frames), h * w))
        _check_truth(pair, reference, config.scale)
        check_output(reference, run.output)
        white = frames.white()
        alignment = _alignment(pair, frames, white, run, config)
        if run.align_from is not None:  # another run may have had another reference
            reference = frames[alignment.registered.reference]
        reference = _emptied(replace(reference, white=white))
        prepared = _prepared(frames, reference, alignment, config, relief)
    if run.output.crop == "valid" and not prepared.valid.any():
        raise ImageError("no pixel is seen by all frames; use --crop none")
    progress.check()
    return prepared, {"source_versions": versions, **_facts(prepared, alignment)}


def for_pair(pair: Pair, config: FusionConfig) -> FusionConfig:
    """The composition with what the manifest says of one pair."""
    if pair.reference_frame is None:
        return config
    return replace(config, align=replace(config.align, reference=pair.reference_frame))


def _reference(frames: Frames, config: FusionConfig) -> Frame:
    index = reference_index(len(frames), config)
    frame = frames[index]
    check_side(frames.names[index], *frame.pixels.shape[:2])
    return frame


def reference_index(count: int, config: FusionConfig) -> int:
    """Which of so many frames the others are registered to.

    Raises:
        ImageError: if they are too many, or there is no such frame.
    """
    if count > _MOST_FRAMES:
        raise ImageError(f"{count} frames, at most {_MOST_FRAMES} can be fused")
    try:
        return config.align.reference_of(count)
    except ConfigError as error:  # a stack with fewer frames than the others
        raise ImageError(str(error)) from error


def check_side(name: str, h: int, w: int) -> None:
    """Refuse a frame that is too small.

    Raises:
        ImageError: if it is.
    """
    if min(h, w) < SMALLEST_PX:
        raise ImageError(f"{name} is {w}x{h} px, each side must be at least {SMALLEST_PX} px")


def _emptied(frame: Frame) -> Frame:
    """What a frame is, without the memory of its pixels."""
    alpha = None if frame.alpha is None else frame.alpha[:0].copy()
    return replace(frame, pixels=frame.pixels[:0].copy(), alpha=alpha)


def _check_truth(pair: Pair, source: Frame, scale: int) -> None:
    """A reference of the wrong size would be found out only after the costly part."""
    h, w, _ = source.pixels.shape
    for url in truths(pair):
        truth_h, truth_w, _ = read_frame(url).pixels.shape
        check_truth(url, (truth_h, truth_w), (h, w), scale)


def truths(pair: Pair) -> tuple[str, ...]:
    """URLs of the images at output size that a pair is measured with."""
    return (*filter(None, [pair.reference]), *(pair.reference_sources or ()))


def check_truth(url: str, truth: tuple[int, int], source: tuple[int, int], scale: int) -> None:
    """Refuse a reference (H, W) that is not ``scale`` times as large as the sources (h, w).

    Raises:
        ImageError: if it is not.
    """
    h, w = (scale * side for side in source)
    if truth != (h, w):
        raise ImageError(
            f"reference {url} is {truth[1]}x{truth[0]} px, expected {w}x{h}: "
            f"scale {scale} times the sources"
        )


def check_output(frame: Frame, output: Output) -> str:
    """Extension of the file that will hold frames like this one.

    Raises:
        ImageError: if the format that was asked for cannot hold them.
    """
    if output.format == "auto":
        return codec.extension_for(frame)
    extension = codec.extension_of(f".{output.format}")
    try:
        codec.check_depth(extension, frame)
    except ConfigError as error:
        raise ImageError(f"--format {output.format}: {error}") from error
    return extension


def _alignment(
    pair: Pair, frames: Frames, white: float, run: RunConfig, config: FusionConfig
) -> StackAlignment:
    if run.align_from is None:
        return align_stack(Colours(frames), white, config.align, config.exposure)
    shape = frames[0].pixels.shape
    return registration_file.read(run.align_from, pair.pair_id, len(frames), shape)


def _prepared(
    frames: Frames, reference: Frame, alignment: StackAlignment, config: FusionConfig, relief: int
) -> Prepared:
    stack = Stack(Colours(frames), codec.white(reference), alignment)
    floor = _floor(stack, config)  # first, so that there is never more than one decision
    measured = measure_focus(stack, config)
    sure = (confidence(measured)[0, 0] * 255).round().to(torch.uint8).numpy()
    if is_light(config):
        merged = merge(stack, measured, config, _CPU, relief=relief)
        labels = np.take(np.array(alignment.kept, np.uint8), winners(merged.decision).numpy())
    else:
        merged, labels = Merged(whole(stack), measured, measured), None
    alpha = None
    if reference.alpha is not None:
        alphas = Stack(Alphas(frames), codec.white(reference), alignment.unexposed())
        alpha = Blend()(alphas, merged.decision).numpy()
    return Prepared(
        sources=merged.sources.numpy(),
        decision=None if len(merged.sources) == 1 else merged.weights.numpy(),
        labels=labels,
        kept=alignment.kept,
        floor=merged.sources.numpy() if floor is None else floor,
        confidence=sure,
        valid=stack.valid,
        alpha=alpha,
        blank=replace(reference, alpha=None),
        registration=registration_file.to_bytes(alignment, frames.names, sure.shape),
    )


def _floor(stack: Stack, config: FusionConfig) -> NDArray[np.float32] | None:
    """Sources as the preset ``classical`` merges them; None if that is what ``config`` does."""
    floor, parts = floor_config(config), ("focus", "refinement", "merge")
    if all(getattr(config, part) == getattr(floor, part) for part in parts):
        return None
    return merge(stack, measure_focus(stack, floor), floor, _CPU).sources.numpy()


def floor_config(config: FusionConfig) -> FusionConfig:
    """The preset ``classical`` with scale, kernel and registration of another composition."""
    kept = ("align", "exposure", "kernel", "scale", "seed", "precision")
    return FusionConfig.preset("classical", **{name: getattr(config, name) for name in kept})


def _facts(prepared: Prepared, alignment: StackAlignment) -> dict[str, Any]:
    found = alignment.registered
    others = [k for k in range(len(found.flags)) if k != found.reference]
    return {
        "n_sources": len(found.flags),
        "bit_depth": prepared.blank.bit_depth,
        "significant_bits": prepared.blank.significant_bits,
        "reference_frame": found.reference,
        "align_flags": list(found.flags),
        "align_score_before": min(found.before[k] for k in others),
        "align_score_after": min(found.after[k] for k in others),
        "gain_min": float(alignment.gains.min()),
        "gain_max": float(alignment.gains.max()),
        "valid_share": float(prepared.valid.mean()),
        "low_confidence_share": float((prepared.confidence < 255 * LOW_CONFIDENCE).mean()),
    }
