"""One kernel for a whole archive, which one camera has made: ``--kernel auto``.

A single item tells little of its kernel, as soft objects look like blur. So before the run some of
its items are looked at, and what the sharpest parts of their frames say is put together.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random

import cv2
import numpy as np
import torch

from dfp_batch.config.run_config import Reading, RunConfig, kernel_of
from dfp_batch.core.image import Plane, luma
from dfp_batch.degradation.kernel_estimation import (
    ArchiveKernel,
    KernelEstimate,
    combine,
    estimate_kernel,
)
from dfp_batch.engine.frames import open_frames
from dfp_batch.errors import ObjectMissingError, PairError
from dfp_batch.io import codec, storage, urls
from dfp_batch.io.parallel import in_parallel
from dfp_batch.runs.manifest import Pair

_NAME = "kernel.json"
_CROP_PX = 1024
_MOST_FRAMES = 4  # of an item that are looked at
_THREADS = 2  # each holds a frame


@dataclass(frozen=True)
class Found:
    """What was found, as the run directory has it.

    Attributes:
        kernel: As the command line names it.
        sigma_px: Of a Gaussian that blurs like it, in pixels of the result; None if unknown.
        error_px: Expected error of that.
        items: That were looked at.
        frames: Of these, of which a kernel could be told.
    """

    kernel: str
    sigma_px: float | None
    error_px: float | None
    items: int
    frames: int

    def __str__(self) -> str:
        """A line for people."""
        if self.sigma_px is None:
            return f"kernel of the archive: {self.kernel}; {self.items} items could not tell it"
        return (
            f"kernel of the archive: {self.kernel} (sigma {self.sigma_px:.2f} +- "
            f"{self.error_px:.2f} px say {self.frames} frames of {self.items} items)"
        )


def with_archive_kernel(
    run: RunConfig, url: str, pairs: Sequence[Pair], noted: Callable[[str], None]
) -> RunConfig:
    """A configuration whose kernel is known; what ``ArchiveKernel`` stands for is found once.

    Args:
        run: Any configuration.
        url: Run directory; it keeps what was found.
        pairs: All pairs of the run.
        noted: Told what was found.

    Raises:
        StorageError: if the run directory cannot be read or written.
    """
    kernel = run.fusion.kernel
    if not isinstance(kernel, ArchiveKernel) or run.fusion.scale == 1:
        return run
    target = urls.join(url, _NAME)
    if not storage.exists(target):
        chosen = _sample(pairs, kernel.sample, run.fusion.seed)
        found = _look(chosen, run.fusion.scale, run.reading)
        storage.create_bytes(target, json.dumps(asdict(found), indent=1).encode())
    known = Found(**json.loads(storage.read_bytes(target)))
    noted(str(known))
    return replace(run, fusion=replace(run.fusion, kernel=kernel_of(known.kernel)))


def _sample(pairs: Sequence[Pair], most: int, seed: int) -> list[Pair]:
    return Random(seed).sample(list(pairs), min(most, len(pairs)))


def _look(pairs: Sequence[Pair], scale: int, reading: Reading) -> Found:
    def of_pair(pair: Pair) -> list[KernelEstimate]:
        return _of_item(pair, scale, reading)

    estimates = [one for found in in_parallel(of_pair, pairs, threads=_THREADS) for one in found]
    known = [one for one in estimates if math.isfinite(one.error_px)]
    one = combine(known, scale)
    sigma, error = (round(v, 3) if known else None for v in (one.sigma_px, one.error_px))
    return Found(str(one.kernel), sigma, error, len(pairs), len(known))


def _of_item(pair: Pair, scale: int, reading: Reading) -> list[KernelEstimate]:
    """Of some frames; none of an item that cannot be read, which will have a row that says so."""
    try:
        with open_frames(pair.sources, reading) as frames:
            count = len(frames)
            chosen = np.unique(np.linspace(0, count - 1, min(count, _MOST_FRAMES)).round())
            return [_of_frame(frames[int(index)], scale) for index in chosen]
    except (PairError, ObjectMissingError):
        return []


def _of_frame(frame: codec.Frame, scale: int) -> KernelEstimate:
    image = torch.from_numpy(codec.to_unit(frame))
    plane = luma(image[None])[0, 0].numpy()
    return estimate_kernel(torch.from_numpy(sharpest_part(plane))[None, None], scale)


def sharpest_part(plane: Plane) -> Plane:
    """The square of at most 1024 px of a luma (h, w) with the most detail."""
    h, w = (min(side, _CROP_PX) for side in plane.shape)
    detail = np.abs(np.asarray(cv2.Laplacian(plane, cv2.CV_32F)))
    sums = np.pad(detail.cumsum(0, np.float64).cumsum(1), ((1, 0), (1, 0)))
    step = max(1, _CROP_PX // 8)
    tops, lefts = (
        np.unique(np.r_[0 : side - own + 1 : step, side - own])
        for side, own in zip(plane.shape, (h, w), strict=True)
    )
    rows = sums[tops + h] - sums[tops]
    found = rows[:, lefts + w] - rows[:, lefts]
    row, column = np.unravel_index(found.argmax(), found.shape)
    top, left = tops[row], lefts[column]
    return np.ascontiguousarray(plane[top : top + h, left : left + w])
