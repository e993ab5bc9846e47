"""One kernel for each camera of an archive: ``--kernel auto``.

A single item tells little of its kernel, as soft objects look like blur. So before the run some of
its items are looked at, and what the sharpest parts of their frames say is put together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from random import Random

import cv2
import numpy as np
import torch

from dfp_batch.config.run_config import RunConfig
from dfp_batch.core.image import Plane, luma
from dfp_batch.degradation.kernel_estimation import (
    ArchiveKernel,
    KernelEstimate,
    combine,
    estimate_kernel,
)
from dfp_batch.engine.camera_kernels import Found, FoundKernels, camera_of
from dfp_batch.engine.checks import for_pair, reference_index
from dfp_batch.engine.frames import open_frames
from dfp_batch.errors import ObjectMissingError, PairError
from dfp_batch.io import codec, storage, urls
from dfp_batch.io.parallel import in_parallel
from dfp_batch.runs.manifest import Pair

_NAME = "kernel.json"
_CROP_PX = 1024
_MOST_ITEMS = 512  # of all cameras of a manifest together
_MOST_FRAMES = 4  # of an item that are looked at
_THREADS = 2  # each holds a frame


@dataclass(frozen=True)
class _Seen:
    """What was seen of an item.

    Attributes:
        camera: That took it; None if it could not be read.
        estimates: Of the kernel, of those frames that tell it.
    """

    camera: str | None
    estimates: Sequence[KernelEstimate] = ()


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
        storage.create_bytes(target, _look(chosen, run).to_bytes())
    known = FoundKernels.of_bytes(storage.read_bytes(target))
    for line in known.lines():
        noted(line)
    return replace(run, fusion=replace(run.fusion, kernel=known.kernel))


def _sample(pairs: Sequence[Pair], most: int, seed: int) -> list[Pair]:
    """At most so many pairs of each camera of the manifest, fewer of each if these are many."""
    cameras: dict[str | None, list[Pair]] = {}
    for pair in pairs:
        cameras.setdefault(pair.camera, []).append(pair)
    in_all = max(most, _MOST_ITEMS)
    share = max(1, min(most, in_all // max(1, len(cameras))))
    groups = sorted(cameras.values(), key=len, reverse=True)
    chosen = (Random(seed).sample(group, min(share, len(group))) for group in groups)
    return list(chain.from_iterable(chosen))[:in_all]


def _look(pairs: Sequence[Pair], run: RunConfig) -> FoundKernels:
    seen = list(in_parallel(partial(_of_item, run=run), pairs, threads=_THREADS))
    scale = run.fusion.scale
    whole = _found(seen, scale)
    cameras: dict[str, list[_Seen]] = {}
    for one in seen:
        if one.camera is not None:
            cameras.setdefault(one.camera, []).append(one)
    if len(cameras) == 1:
        return FoundKernels(whole)
    found = {name: _found(cameras[name], scale) for name in sorted(cameras)}
    told = {name: one for name, one in found.items() if one.frames}
    return FoundKernels(whole, {name: one.or_sharper(whole) for name, one in told.items()})


def _found(seen: Sequence[_Seen], scale: int) -> Found:
    known = [estimate for one in seen for estimate in one.estimates]
    kernel = combine(known, scale)
    sigma, error = (round(v, 3) if known else None for v in (kernel.sigma_px, kernel.error_px))
    return Found(str(kernel.kernel), sigma, error, len(seen), len(known))


def _of_item(pair: Pair, run: RunConfig) -> _Seen:
    """By some frames; nothing of an item that cannot be read: its row will say so."""
    camera, estimates = pair.camera, []
    try:
        with open_frames(pair.sources, run.reading) as frames:
            count = len(frames)
            reference = reference_index(count, for_pair(pair, run.fusion))
            chosen = np.linspace(0, count - 1, min(count, _MOST_FRAMES)).round().astype(int)
            for index in sorted({reference, *chosen.tolist()}):
                frame = frames[index]
                if index == reference:
                    camera = camera_of(pair, frame)
                if index in chosen:
                    estimates.append(_of_frame(frame, run.fusion.scale))
    except (PairError, ObjectMissingError):
        return _Seen(pair.camera)
    return _Seen(camera, [one for one in estimates if math.isfinite(one.error_px)])


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
