"""The work on one item at one scale: all its methods, each to a row. Errors become rows, too."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from dfp_batch.engine.stages import as_failure
from dfp_batch.errors import DivergedError, ImageError, StorageAccessError
from dfp_batch.evaluation.items import Case, Item
from dfp_batch.evaluation.methods import External, Method, at_scale
from dfp_batch.evaluation.scores import Scorer
from dfp_batch.io import codec, storage, urls
from dfp_batch.io.codec import Frame
from dfp_batch.metrics.names import OF_AN_EVALUATION
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.fusion import FusionResult, fuse
from dfp_batch.pipeline.steps import Merged, Workplace, choose_device, reconstruct
from dfp_batch.runs.manifest import folder_name

log = logging.getLogger(__name__)

Row = dict[str, Any]

SCHEMA = pa.schema(
    [
        pa.field("set", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("scale", pa.int32(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        ("degrade", pa.string()),
        ("error_type", pa.string()),
        ("error_message", pa.string()),
        ("n_sources", pa.int32()),
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        *((name, pa.float64()) for name in OF_AN_EVALUATION),
    ]
)


@dataclass(frozen=True)
class Task:
    """One item at one scale with the methods that are still to be scored.

    Attributes:
        label: Of the set.
        item: The item.
        methods: By name.
        images_url: Folder for sources and results, or None.
    """

    label: str
    item: Item
    methods: Mapping[str, Method]
    images_url: str | None = None

    @property
    def what(self) -> str:
        """The item and the scale for people."""
        return f"{self.item.name} at x{self.item.scale}"

    def apart(self) -> list["Task"]:
        """A task per method."""
        return [replace(self, methods={name: method}) for name, method in self.methods.items()]

    def row(self, method: str, **columns: Any) -> Row:  # noqa: ANN401
        """A whole row; columns that are not given are None."""
        fixed = {"set": self.label, "item": self.item.name, "scale": self.item.scale}
        return dict.fromkeys(SCHEMA.names) | fixed | {"method": method} | columns

    def failed(self, method: str, error: Exception) -> Row:
        """The row of a method that could not be scored.

        Raises:
            StorageAccessError: if that is the error: no other item would fare better.
        """
        if isinstance(error, StorageAccessError):
            raise error
        failure = as_failure(error)
        return self.row(
            method, status="error", error_type=failure.error_type, error_message=failure.message
        )


def run(task: Task) -> list[Row]:
    """Score every method of a task: one row each, or none if the item has no such scale.

    Raises:
        StorageAccessError: if the store cannot be used at all.
    """
    try:
        case = task.item.load()
        if case is None:
            return []
        _write_sources(task, case)
    except Exception as error:
        log.warning("%s failed", task.what, exc_info=error)
        return [task.failed(method, error) for method in task.methods]
    scorer = Scorer(case, task.item.scale)
    return [_scored(task, scorer, name, method) for name, method in task.methods.items()]


def _scored(task: Task, scorer: Scorer, name: str, method: Method) -> Row:
    try:
        result = _result(task.item, scorer, method)
        scores = scorer.score(codec.to_unit(result.frame), result.decision)
        _write_image(task, f"images/x{task.item.scale}/{folder_name(name)}", result.frame)
    except Exception as error:
        log.warning("%s with %s failed", task.what, name, exc_info=error)
        return task.failed(name, error)
    return task.row(name, status="ok", **_facts(scorer, result.seconds), **scores)


def _facts(scorer: Scorer, seconds: float | None) -> dict[str, Any]:
    """The columns of a row that is ok, apart from the scores."""
    height, width = scorer.size
    kernel = scorer.case.kernel
    return {
        "degrade": None if kernel is None else str(kernel),
        "n_sources": len(scorer.case.sources),
        "width_px": width,
        "height_px": height,
        "seconds": seconds,
        "seconds_per_mp": seconds and seconds / (width * height / 1e6),
    }


@dataclass(frozen=True, eq=False)
class _Result:
    """What a method made, at the levels of the sources: what a user would find in the file."""

    frame: Frame
    decision: NDArray[np.float32] | None = None
    seconds: float | None = None


def _result(item: Item, scorer: Scorer, method: Method) -> _Result:
    if isinstance(method, External):
        return _Result(_external(item, scorer, method))
    config = at_scale(method, item.scale)
    sources = torch.from_numpy(scorer.case.sources)
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    start = clock()
    fused = fuse(sources, config)
    image = fused.fused.cpu().numpy()  # waits for the device
    seconds = clock() - start
    decision = _of_all(fused) if config.focus.decides else None
    if not np.isfinite(image).all():
        raise DivergedError("the result holds NaN or infinity")
    return _Result(codec.from_unit(image, scorer.case.dtype), decision, seconds)


def _of_all(fused: FusionResult) -> NDArray[np.float32]:
    """The decision for all N frames, (N, 1, h, w): nothing for those that were left out."""
    kept, found = fused.alignment.kept, fused.decision.cpu().numpy()
    whole = np.zeros((len(fused.alignment.gains), *found.shape[1:]), np.float32)
    whole[list(kept)] = found
    return whole


def _external(item: Item, scorer: Scorer, method: External) -> Frame:
    """A result as it is, or enlarged if it is as large as the sources."""
    frame, url = method.read(item.name, item.scale)
    size = frame.pixels.shape[:2]
    h, w = scorer.case.sources.shape[-2:]
    if size == scorer.size:
        return frame
    if size != (h, w):
        height, width = scorer.size
        raise ImageError(
            f"{url} is {frame.size}, expected {width}x{height} px (the output) "
            f"or {w}x{h} px (the sources)"
        )
    single = torch.from_numpy(codec.to_unit(frame)[None])
    config = FusionConfig(reconstruction=method.enlargement, kernel=method.kernel, scale=item.scale)
    enlarged, _ = reconstruct(Merged.of_one(single), config, Workplace(choose_device(None)))
    return codec.from_unit(enlarged.cpu().numpy(), frame.pixels.dtype)


def _write_sources(task: Task, case: Case) -> None:
    """``<item>_A.png``... or, past Z, a folder of numbered images: as ``manifest`` takes them."""
    few = len(case.sources) <= len(ascii_uppercase)
    for index, source in enumerate(case.sources):
        ending = f"_{ascii_uppercase[index]}" if few else f"/{index + 1:03d}"
        frame = codec.from_unit(source, case.dtype)
        _write_image(task, f"sources/x{task.item.scale}", frame, ending)


def _write_image(task: Task, folder: str, frame: Frame, ending: str = "") -> None:
    """``<folder>/<item><ending>.png``, or .tiff for floats; nothing if no images are wanted."""
    if task.images_url is None:
        return
    extension = codec.extension_for(frame)
    name = f"{folder_name(task.item.name)}{ending}.{extension}"
    storage.write_bytes(urls.join(task.images_url, folder, name), codec.encode(frame, extension))
