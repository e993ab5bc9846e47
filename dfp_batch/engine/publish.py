"""The third stage, for CPUs: measure, encode, write."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch import metrics
from dfp_batch.alignment.crop import valid_rectangle
from dfp_batch.config.run_config import RunConfig
from dfp_batch.core.image import enlarge, luma
from dfp_batch.core.tiling import spans
from dfp_batch.engine import image_files, registration_file
from dfp_batch.engine.budget import publish_limit_s
from dfp_batch.engine.checks import check_output
from dfp_batch.engine.frames import read_frame
from dfp_batch.engine.image_files import Content
from dfp_batch.engine.prepare import Prepared, floor_config
from dfp_batch.engine.progress import UNWATCHED, Progress
from dfp_batch.engine.reconstruct import Reconstructed, as_stored
from dfp_batch.io import codec, ome_zarr, storage, urls
from dfp_batch.io.codec import Frame, Span
from dfp_batch.io.codec.frame import Pixels
from dfp_batch.io.codec.index_map import encode_indices
from dfp_batch.pipeline import steps
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.steps import Merged, Workplace
from dfp_batch.runs.manifest import Pair, folder_name

_CPU = torch.device("cpu")
_ROWS = 512  # that are in float32 at once


def publish(
    pair: Pair,
    prepared: Prepared,
    reconstructed: Reconstructed,
    run: RunConfig,
    run_url: str,
    progress: Progress = UNWATCHED,
) -> tuple[None, dict[str, Any]]:
    """Measure, encode and write; the files are whole before the row exists.

    Raises:
        PairTimeoutError: if nobody waits for this any more; another attempt may be writing.
        StorageError: if something cannot be written.
    """
    progress.expect(publish_limit_s(prepared.valid.size, run.fusion.scale))
    measured = _measure_all(pair, prepared, reconstructed, run.fusion)
    frame = finished_frame(prepared, reconstructed, run)
    extension, data = encoded(frame, prepared, reconstructed, run)
    folder = urls.join(run_url, "outputs", folder_name(pair.pair_id))
    progress.check()
    for name, content in _side_files(prepared, reconstructed, frame).items():
        storage.write_bytes(urls.join(folder, name), content)
    url = urls.join(folder, f"fused.{extension}")
    digest, size = image_files.write(url, data)
    height, width, _ = frame.pixels.shape
    return None, {
        "output_url": url,
        "output_sha256": digest,
        "output_bytes": size,
        "width_px": width,
        "height_px": height,
        **measured,
    }


def finished_frame(prepared: Prepared, reconstructed: Reconstructed, run: RunConfig) -> Frame:
    """The image at the depth of the sources, with their alpha and metadata, cropped if asked."""
    blank, scale = prepared.blank, run.fusion.scale
    alpha = None
    maps = reconstructed.maps
    if maps.alpha is not None:
        larger = enlarge(torch.from_numpy(maps.alpha.copy()), scale)[0].numpy()
        alpha = as_stored(larger, blank).pixels[..., 0]
    return _finished(reconstructed.pixels, alpha, prepared, run)


def encoded(
    frame: Frame, prepared: Prepared, reconstructed: Reconstructed, run: RunConfig
) -> tuple[str, Content]:
    """Extension and content of the file of the result, or of the files of an OME-Zarr.

    Args:
        frame: The finished image; of several channels that which was decided by.
        prepared: By the first stage.
        reconstructed: By the second.
        run: What was asked for.

    Raises:
        ImageError: if it cannot be encoded.
    """
    names = prepared.channel_names
    extension = check_output(frame, run.output, len(names) or 1)
    frames = [frame]
    if reconstructed.channels:
        frames = [_finished(pixels, None, prepared, run) for pixels in reconstructed.channels]
    if extension == "ome.zarr":
        return extension, ome_zarr.files_of(frames, names or ("0",))
    if reconstructed.channels:
        return extension, codec.encode_channels(frames, names)
    return extension, codec.encode(frame, extension, run.output.quality)


def _finished(pixels: Pixels, alpha: Pixels | None, prepared: Prepared, run: RunConfig) -> Frame:
    """The frame of an image, with the metadata of the sources, cropped if asked."""
    blank, scale = prepared.blank, run.fusion.scale
    size_um = blank.metadata.pixel_size_um
    smaller_um = size_um and (size_um[0] / scale, size_um[1] / scale)
    metadata = replace(blank.metadata, pixel_size_um=smaller_um)
    frame = replace(_frame(pixels, blank), alpha=alpha, metadata=metadata)
    return cropped(frame, prepared.valid, scale) if run.output.crop == "valid" else frame


def _frame(pixels: Pixels, blank: Frame) -> Frame:
    """Samples like those of the sources."""
    return Frame(pixels, white=blank.white, span=blank.span)


def cropped(frame: Frame, valid: NDArray[np.bool_], scale: int) -> Frame:
    """The largest rectangle of a frame (scale * h, scale * w) that is ``valid`` (h, w)."""
    top, left, height, width = (scale * side for side in valid_rectangle(valid))
    window = (slice(top, top + height), slice(left, left + width))
    alpha = None if frame.alpha is None else frame.alpha[window]
    return replace(frame, pixels=np.ascontiguousarray(frame.pixels[window]), alpha=alpha)


def _side_files(prepared: Prepared, reconstructed: Reconstructed, frame: Frame) -> dict[str, bytes]:
    maps = reconstructed.maps
    files = {
        "decision.png": encode_indices(maps.labels),
        "confidence.png": codec.encode(Frame(maps.confidence[..., None]), "png"),
        "preview.jpg": codec.encode(codec.thumbnail(frame), "jpg"),
        registration_file.NAME: prepared.registration,
    }
    if not prepared.valid.all():
        mask = prepared.valid[..., None].astype(np.uint8) * np.uint8(255)
        files["valid.png"] = codec.encode(Frame(mask), "png")
    return files


def _measure_all(
    pair: Pair, prepared: Prepared, reconstructed: Reconstructed, config: FusionConfig
) -> dict[str, float]:
    """Metrics of the result, and with the prefix ``floor_`` of the classical floor."""
    truth = _Truth.read(pair, prepared.blank.span)
    measured = truth.measure(_frame(reconstructed.pixels, prepared.blank))
    measured["consistency"] = reconstructed.consistency
    if not prepared.compared:
        return measured
    known = replace(config, kernel=reconstructed.kernel)
    is_floor = config == floor_config(config)
    floor = measured if is_floor else _measure_floor(truth, prepared, known)
    return measured | {f"floor_{name}": value for name, value in floor.items()}


def _measure_floor(truth: "_Truth", prepared: Prepared, config: FusionConfig) -> dict[str, float]:
    merged = Merged.of_one(torch.from_numpy(np.array(prepared.floor)))
    image, made = steps.reconstruct(merged, floor_config(config), Workplace(_CPU))
    measured = truth.measure(as_stored(image.numpy(), prepared.blank))
    return measured | {"consistency": made.consistency}


def _luma(frame: Frame) -> NDArray[np.float32]:
    """(H, W), in [0, 1]."""
    grey = np.empty(frame.pixels.shape[:2], np.float32)
    for rows in spans(len(grey), _ROWS, 0):
        part = replace(frame, pixels=frame.pixels[rows.own()], alpha=None)
        grey[rows.own()] = luma(torch.from_numpy(codec.to_unit(part))[None])[0, 0].numpy()
    return grey


@dataclass(frozen=True)
class _Truth:
    """What only the metrics see: luma (H, W) in [0, 1] of the references a pair has."""

    reference: NDArray[np.float32] | None
    sources: tuple[NDArray[np.float32], ...]

    @classmethod
    def read(cls, pair: Pair, span: Span | None) -> "_Truth":
        """All of them; of measured values 0 and 1 mean the same as in the sources."""

        def look(url: str) -> NDArray[np.float32]:
            return _luma(replace(read_frame(url), span=span))

        reference = look(pair.reference) if pair.reference else None
        return cls(reference, tuple(map(look, pair.reference_sources or ())))

    def measure(self, frame: Frame) -> dict[str, float]:
        image = _luma(frame)
        measured = metrics.paper_metrics(image * 255)
        if self.reference is not None:
            measured["psnr_db"] = metrics.psnr_db(image, self.reference)
            measured["ssim"] = metrics.ssim(image, self.reference)
        if self.sources:
            first, second = (metrics.paper_metrics(source * 255) for source in self.sources)
            relative = metrics.relative_metrics(measured, (first, second))
            measured = measured | relative
        return measured
