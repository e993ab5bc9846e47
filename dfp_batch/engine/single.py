"""One item without Ray: the three stages in a row."""

from dataclasses import dataclass, replace

from dfp_batch.config.run_config import RunConfig
from dfp_batch.core.allocator import kept_memory
from dfp_batch.core.contracts import OnIteration, ignore_progress
from dfp_batch.engine import image_files
from dfp_batch.engine.image_files import Content
from dfp_batch.engine.prepare import Circumstances, prepare
from dfp_batch.engine.publish import encoded, finished_frame
from dfp_batch.engine.reconstruct import reconstruct
from dfp_batch.errors import ConfigError
from dfp_batch.io import codec
from dfp_batch.io.codec import Frame
from dfp_batch.io.codec.index_map import encode_indices
from dfp_batch.pipeline import steps
from dfp_batch.pipeline.placement import accelerator_of
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.row_problems import source_problems


@dataclass(frozen=True)
class Files:
    """Whole files: the image in its format, two PNG maps at source size, and the registration."""

    image: Content
    decision: bytes
    confidence: bytes
    registration: bytes


def format_of(url: str) -> str:
    """Format of ``Output`` that a file name asks for.

    Raises:
        ConfigError: if the name ends in none of them.
    """
    if image_files.is_folder(url.lower().rstrip("/")):
        return "ome-zarr"
    extension = codec.extension_of(url)
    return "jpeg" if extension == "jpg" else extension


def fuse_files(
    sources: tuple[str, ...], run: RunConfig, on_iteration: OnIteration = ignore_progress
) -> Files:
    """Fuse the images of these URLs.

    Raises:
        ConfigError: if they are too few.
        PairError: if they cannot be fused.
        StorageError: if they cannot be read.
    """
    problems = source_problems(sources)
    if problems:
        raise ConfigError(f"fuse: {'; '.join(problems)}")
    accelerator = accelerator_of(steps.choose_device(None))
    alone = Circumstances(accelerator, compare_floor=False)
    with kept_memory():
        prepared, _ = prepare(Pair("command line", sources), run, circumstances=alone)
    with kept_memory():
        reconstructed, _ = reconstruct(prepared, run.fusion, on_iteration)
    prepared = replace(prepared, merged=None)
    with kept_memory():
        frame = finished_frame(prepared, reconstructed, run)
        return Files(
            encoded(frame, prepared, reconstructed, run)[1],
            encode_indices(reconstructed.maps.labels),
            codec.encode(Frame(reconstructed.maps.confidence[..., None]), "png"),
            prepared.registration,
        )
