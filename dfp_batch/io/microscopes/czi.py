"""CZI of Zeiss."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from dfp_batch.io.codec.frame import Pixels
from dfp_batch.io.codec.header import RefusedError
from dfp_batch.io.microscopes.shared import (
    NOT_AXES,
    UM_PER_M,
    Format,
    channel_names,
    chosen,
    depth_of,
)
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.urls import is_local, protocol_and_path
from dfp_batch.io.volume import Axes, Kind, Part, Volume

_PIECE_BYTES = 16 * 2**20
_TYPES = {
    "Gray8": ("uint8", 1),
    "Gray16": ("uint16", 1),
    "Gray32Float": ("float32", 1),
    "Bgr24": ("uint8", 3),
    "Bgr48": ("uint16", 3),
}


def _parts(file: Any) -> tuple[Part, ...]:  # noqa: ANN401
    """Its scenes."""
    box = file.total_bounding_box_no_pyramid
    depth = depth_of({name: end - start for name, (start, end) in box.items()})
    scenes = sorted(file.scenes_bounding_rectangle_no_pyramid) or [0]
    return tuple(Part(f"#{k}", str(scene), depth) for k, scene in enumerate(scenes))


@contextmanager
def _local_copy(url: str) -> Iterator[str]:
    """Path of the file on this machine: the library reads no others, so they are copied."""
    if is_local(url):
        with open_seekable(url):  # its errors, if it cannot be read
            pass
        yield protocol_and_path(url)[1]
        return
    with tempfile.TemporaryDirectory(prefix="dfp-") as folder, open_seekable(url) as file:
        path = os.path.join(folder, "copy.czi")
        _copy(file, path)
        yield path


def _copy(file: BinaryIO, path: str) -> None:
    with open(path, "wb") as copy:
        shutil.copyfileobj(file, copy, _PIECE_BYTES)


def _volume(file: Any, url: str, axis: str) -> Volume:  # noqa: ANN401
    box: Mapping[str, tuple[int, int]] = file.total_bounding_box_no_pyramid
    size, scene = _scene(file, box, url)
    lengths = [(name, end - start) for name, (start, end) in box.items() if name not in NOT_AXES]
    axes = Axes.of(lengths, size, 1, axis)
    dtype, samples = _type(file, box)
    if samples > 1:
        axes = Axes.of(lengths, size, samples, axis)
    names = [name for name, _ in lengths]
    kind = Kind(
        "CZI",
        size,
        samples,
        dtype,
        channel_names(_channels(file.metadata), axes.length("C")),
        axes.length(axes.depth),
        _pixel_size_um(file.metadata),
    )
    return Volume(url, kind, _reader(file, box, names, axes.place, scene))


def _scene(
    file: Any,  # noqa: ANN401
    box: Mapping[str, tuple[int, int]],
    url: str,
) -> tuple[tuple[int, int], int | None]:
    """Height and width of what a URL names, and its number; None where there are no scenes."""
    scenes = file.scenes_bounding_rectangle_no_pyramid
    index = chosen(url, max(1, len(scenes)), "scenes or positions")
    if len(scenes) <= 1:
        return (box["Y"][1] - box["Y"][0], box["X"][1] - box["X"][0]), None
    scene = sorted(scenes)[index]
    return (scenes[scene].h, scenes[scene].w), scene


def _reader(
    file: Any,  # noqa: ANN401
    box: Mapping[str, tuple[int, int]],
    names: Sequence[str],
    place: Callable[[int, int], tuple[int, ...]],
    scene: int | None,
) -> Callable[[int, int], Pixels]:
    def read(channel: int, k: int) -> Pixels:
        places = dict(zip(names, place(channel, k), strict=True))
        plane = {name: box[name][0] + places[name] for name in names}
        return np.asarray(file.read(plane=plane, scene=scene))[:, :, ::-1]  # blue comes first

    return read


def _type(file: Any, box: Mapping[str, tuple[int, int]]) -> tuple[str, int]:  # noqa: ANN401
    first, end = box.get("C", (0, 1))
    kinds = {file.get_channel_pixel_type(channel) for channel in range(first, end)}
    kind = kinds.pop()
    if kinds or kind not in _TYPES:
        every = ", ".join(sorted({kind, *kinds}))
        raise RefusedError(f"holds {every} pixels, expected one of {', '.join(_TYPES)}")
    return _TYPES[kind]


def _channels(metadata: Mapping[str, Any]) -> list[str | None]:
    found = _inside(metadata, "Information", "Image", "Dimensions", "Channels", "Channel")
    return [one.get("@Name") for one in _listed(found)]


def _pixel_size_um(metadata: Mapping[str, Any]) -> tuple[float, float] | None:
    distances = _listed(_inside(metadata, "Scaling", "Items", "Distance"))
    metres = {one.get("@Id"): float(one.get("Value") or 0) for one in distances}
    x, y = (metres.get(name, 0.0) * UM_PER_M for name in "XY")
    return (x, y) if x > 0 and y > 0 else None


def _inside(metadata: Mapping[str, Any], *path: str) -> Any:  # noqa: ANN401
    """What stands at a path of the XML, as dictionaries; None if nothing does."""
    found: Any = metadata
    for name in ("ImageDocument", "Metadata", *path):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _listed(found: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401
    """One element, or several of a name."""
    every = found if isinstance(found, list) else [found]
    return [one for one in every if isinstance(one, Mapping)]


CZI = Format("a CZI", "pylibCZIrw.czi", "CziReader", _volume, _parts, _local_copy)
