"""What the frames and references of a pair must be, told before the costly part."""

from dataclasses import replace

from dfp_batch.config.run_config import Output
from dfp_batch.engine.frames import read_frame
from dfp_batch.errors import ConfigError, ImageError
from dfp_batch.io import codec, ome_zarr
from dfp_batch.io.codec import Frame
from dfp_batch.pipeline.checked_sources import SMALLEST_PX
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.slabs import MOST_AT_ONCE
from dfp_batch.runs.manifest import Pair

MOST_FRAMES = 2000


def for_pair(pair: Pair, config: FusionConfig) -> FusionConfig:
    """The composition with what the manifest says of one pair."""
    if pair.reference_frame is None:
        return config
    return replace(config, align=replace(config.align, reference=pair.reference_frame))


def reference_index(count: int, config: FusionConfig) -> int:
    """Which of so many frames the others are registered to.

    Raises:
        ImageError: if they are too many, or there is no such frame.
    """
    if count > MOST_FRAMES:
        raise ImageError(f"{count} frames, at most {MOST_FRAMES} can be fused")
    if count > MOST_AT_ONCE and _takes_all(config):
        raise ImageError(
            f"{count} frames, at most {MOST_AT_ONCE} can be fused by a composition that needs all "
            "at once, as paper does; take another preset"
        )
    try:
        return config.align.reference_of(count)
    except ConfigError as error:  # a stack with fewer frames than the others
        raise ImageError(str(error)) from error


def check_channels(count: int, config: FusionConfig) -> None:
    """Refuse channels that a composition could not fuse all alike.

    Raises:
        ImageError: if there are several, and all frames are needed at once.
    """
    if count > 1 and _takes_all(config):
        raise ImageError(
            f"{count} channels cannot be fused by a composition that needs all frames at once, as "
            "paper does; take another preset"
        )


def _takes_all(config: FusionConfig) -> bool:
    """Whether no frame can be let go before the reconstruction."""
    return bool(config.refinement.iterations or config.merge.needs_all)


def check_side(name: str, h: int, w: int) -> None:
    """Refuse a frame that is too small.

    Raises:
        ImageError: if it is.
    """
    if min(h, w) < SMALLEST_PX:
        raise ImageError(f"{name} is {w}x{h} px, each side must be at least {SMALLEST_PX} px")


def check_truths(pair: Pair, source: Frame, scale: int) -> None:
    """Refuse references of the wrong size, which would be found out only after the costly part.

    Raises:
        ImageError: if one cannot be decoded, or is not as large as the result.
        StorageError: if one cannot be read.
    """
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


def check_output(frame: Frame, output: Output, channels: int = 1) -> str:
    """Extension of the file that will hold frames like this one.

    Args:
        frame: The reference frame, or one like it.
        output: What was asked for.
        channels: Of the file, each of which is such a frame.

    Raises:
        ImageError: if the format that was asked for cannot hold them.
    """
    if output.format == "ome-zarr":
        if frame.alpha is not None:
            raise ImageError("--format ome-zarr: ome-zarr holds no alpha; use png or tiff")
        ome_zarr.check_writer()
        return "ome.zarr"
    if channels > 1:
        if output.format in ("auto", "tiff"):
            return "ome.tiff"
        raise ImageError(
            f"--format {output.format}: holds one image, the result has {channels} channels; "
            "use tiff or ome-zarr"
        )
    if output.format == "auto":
        return codec.extension_for(frame)
    extension = codec.extension_of(f".{output.format}")
    try:
        codec.check_depth(extension, frame)
    except ConfigError as error:
        raise ImageError(f"--format {output.format}: {error}") from error
    return extension
