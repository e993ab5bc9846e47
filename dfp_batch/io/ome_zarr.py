"""OME-Zarr 0.4 and 0.5, which zarr reads and writes: an extra of this package."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, takewhile
from types import ModuleType
from typing import Any

import numpy as np

from dfp_batch.errors import ImageError
from dfp_batch.io.codec.frame import Frame, Pixels, white
from dfp_batch.io.codec.header import RefusedError, named
from dfp_batch.io.codec.stack_facts import size_um
from dfp_batch.io.volume import DAMAGE, Axes, Kind, Part, Volume

_MOST_CHUNK_BYTES = 2**32
_MOST_KEPT_BYTES = 2**28  # of blocks that were read for one of their images
_TILE_PX = 1024
_SMALLEST_PX = 16  # of a side that is halved
_VERSION = "0.5"
_UNITS = {
    "angstrom": "Å",
    "picometer": "pm",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "decimeter": "dm",
    "meter": "m",
    "inch": "in",
}
_PLANE = ("Y", "X")


@contextmanager
def open_zarr(url: str, axis: str) -> Iterator[Volume]:
    """The images of an OME-Zarr at their full resolution.

    Args:
        url: Of the group that holds the image.
        axis: Z, or T, that is the depth as well.

    Raises:
        ImageError: It is none, or holds no stack.
        StorageError: The store failed.
    """
    with named(url):
        yield _volume(url, axis)


def parts_of_zarr(url: str) -> tuple[Part, ...]:
    """The images of an OME-Zarr: one, or those of a plate, or of a file that was converted.

    Raises:
        ImageError: It is none.
        StorageError: The store failed.
    """
    with named(url):
        library = _library()
        try:
            group = _opened(library, url)
            return tuple(Part(mark, mark[1:], _depth(group, path)) for mark, path in _images(group))
        except DAMAGE as error:
            raise _damaged(error) from error


def read_array(url: str) -> Pixels:
    """The whole image of an OME-Zarr at its full resolution, with all of its axes.

    Raises:
        ImageError: It is none, or zarr is not installed.
        StorageError: The store failed.
    """
    with named(url):
        try:
            group, said = _image_group(_library(), url)
            return np.asarray(group[said["multiscales"][0]["datasets"][0]["path"]][...])
        except DAMAGE as error:
            raise _damaged(error) from error


def _images(group: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - of an optional package
    """What names the images below a group, and their paths; the only one needs no name."""
    said = _ome(group)
    if "plate" in said:
        for well in (one["path"] for one in said["plate"]["wells"]):
            for field_of_view in _ome(group[well])["well"]["images"]:
                path = f"{well}/{field_of_view['path']}"
                yield f"/{path}", path
    elif "multiscales" not in said and "bioformats2raw.layout" in said:
        paths = list(takewhile(lambda path: path in group, map(str, count())))
        yield from ((f"/{path}" if len(paths) > 1 else "", path) for path in paths)
    else:
        yield "", ""


def _depth(group: Any, path: str) -> int:  # noqa: ANN401
    """Images along Z of the image at a path, or along T where that is stored in its place."""
    image = group[path] if path else group
    scales = _ome(image)["multiscales"][0]
    shape = image[scales["datasets"][0]["path"]].shape
    sizes = dict(zip(_axis_names(scales), map(int, shape), strict=True))
    depth = sizes.get("Z", 1)
    return depth if depth > 1 else sizes.get("T", 1)


def _library() -> ModuleType:
    try:
        import zarr  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RefusedError(
            "is an OME-Zarr, which needs the package zarr; pip install 'dfp-batch[microscopy]'"
        ) from error
    return zarr


def _volume(url: str, axis: str) -> Volume:
    library = _library()
    try:
        group, said = _image_group(library, url)
        scales = said["multiscales"][0]
        array = group[scales["datasets"][0]["path"]]
        lengths = list(zip(_axis_names(scales), array.shape, strict=True))
        if tuple(name for name, _ in lengths[-2:]) != _PLANE:
            raise RefusedError("has other last axes than y and x; save it as t, c, z, y, x")
        axes = Axes.of(lengths[:-2], array.shape[-2:], 1, axis)
        _check_chunks(array)
        kind = Kind(
            "OME-Zarr",
            (int(array.shape[-2]), int(array.shape[-1])),
            1,
            np.dtype(array.dtype).name,
            _channel_names(said, axes.length("C")),
            axes.length(axes.depth),
            _pixel_size_um(scales),
        )
        return Volume(url, kind, _Blocks(array, axes).read)
    except DAMAGE as error:
        raise _damaged(error) from error


def _damaged(error: BaseException) -> RefusedError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return RefusedError(f"is not a whole OME-Zarr of version 0.4 or 0.5 ({reason})")


def _opened(library: ModuleType, url: str) -> Any:  # noqa: ANN401
    """The group at a URL."""
    from dfp_batch.io.zarr_store import FolderStore  # noqa: PLC0415 - needs zarr

    return library.open_group(FolderStore(url), mode="r")


def _image_group(library: ModuleType, url: str) -> tuple[Any, Mapping[str, Any]]:
    """The group that holds one image, and what it says of itself.

    Raises:
        RefusedError: There are several.
    """
    group = _opened(library, url)
    said = _ome(group)
    if "plate" in said or "well" in said:
        raise RefusedError("is a plate of several positions; name the image in it, .../A/1/0")
    if "multiscales" not in said and "bioformats2raw.layout" in said:
        if "1" in group:
            raise RefusedError("holds several images or positions; name the one in it, .../0")
        group = group["0"]
        said = _ome(group)
    return group, said


def _ome(group: Any) -> Mapping[str, Any]:  # noqa: ANN401 - of an optional package
    said = group.attrs.asdict()
    found: Mapping[str, Any] = said.get("ome", said)
    return found


def _axis_names(scales: Mapping[str, Any]) -> list[str]:
    axes = scales["axes"]
    return [(one["name"] if isinstance(one, Mapping) else one).upper() for one in axes]


def _channel_names(said: Mapping[str, Any], count: int) -> tuple[str, ...]:
    channels = said.get("omero", {}).get("channels", [])
    labels = [str(channel.get("label", "")) for channel in channels]
    return tuple((labels[k] if k < len(labels) else "") or str(k) for k in range(count))


def _pixel_size_um(scales: Mapping[str, Any]) -> tuple[float, float] | None:
    """Of the full resolution, from both places that may scale it."""
    factor = {name: 1.0 for name in _PLANE}
    names, is_known = _axis_names(scales), False
    for place in (scales["datasets"][0], scales):
        for step in place.get("coordinateTransformations", []):
            if step.get("type") == "scale":
                is_known = True
                for name in _PLANE:
                    factor[name] *= float(step["scale"][names.index(name)])
    units = {name: _unit(scales["axes"][names.index(name)]) for name in _PLANE}
    y, x = (size_um(factor[name], units[name]) if is_known else None for name in _PLANE)
    return None if x is None or y is None else (x, y)


def _unit(axis: Any) -> str:  # noqa: ANN401 - of a file
    unit = str(axis.get("unit", "")) if isinstance(axis, Mapping) else ""
    return _UNITS.get(unit, unit)


def _check_chunks(array: Any) -> None:  # noqa: ANN401 - of an optional package
    """Refuse chunks that no memory holds."""
    if math.prod(array.chunks) * array.dtype.itemsize > _MOST_CHUNK_BYTES:
        raise RefusedError(f"has chunks of {array.chunks}, expected at most 4 GB; save it again")


@dataclass
class _Blocks:
    """Images of an array; where a chunk holds several, they are kept for the next ones.

    Attributes:
        array: Of zarr.
        axes: Of it, without Y and X.
    """

    array: Any
    axes: Axes
    _kept: dict[int, tuple[int, Pixels]] = field(default_factory=dict)

    def read(self, channel: int, k: int) -> Pixels:
        """Image (h, w)."""
        step = self._step()
        if step == 1:
            return np.asarray(self.array[self.axes.place(channel, k)])
        first = k - k % step
        if self._kept.get(channel, (-1,))[0] != first:
            self._kept[channel] = first, self._block(channel, first, step)
        return np.asarray(self._kept[channel][1][k - first])

    def _step(self) -> int:
        """Images along the depth that are read at once."""
        depth = [name for name, _ in self.axes.lengths].index(self.axes.depth)
        step = int(self.array.chunks[depth])
        plane = math.prod(self.array.shape[-2:]) * self.array.dtype.itemsize
        kept = step * plane * self.axes.length("C")
        return step if kept <= _MOST_KEPT_BYTES else 1

    def _block(self, channel: int, first: int, step: int) -> Pixels:
        place: list[Any] = list(self.axes.place(channel, first))
        depth = [name for name, _ in self.axes.lengths].index(self.axes.depth)
        place[depth] = slice(first, first + step)
        return np.asarray(self.array[tuple(place)])


def check_writer() -> ModuleType:
    """Refuse to write OME-Zarr where zarr is not installed.

    Raises:
        ImageError: It is not.
    """
    try:
        import zarr  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImageError(
            "--format ome-zarr: needs the package zarr; pip install 'dfp-batch[microscopy]'"
        ) from error
    return zarr


def files_of(frames: Sequence[Frame], names: Sequence[str]) -> dict[str, bytes]:
    """An OME-Zarr 0.5 of images of one size and kind: its files, by their paths.

    Beside the image lie smaller ones, each of half the size, down to one that fits a tile.

    Args:
        frames: One of grey or colour, or a grey one for each channel; none with alpha.
        names: Of the channels; of colours they are known.

    Raises:
        ImageError: zarr is not installed, or refuses the image.
    """
    library = check_writer()
    planes = np.concatenate([frame.pixels for frame in frames], axis=2).transpose(2, 0, 1)
    if frames[0].pixels.shape[2] > 1:
        names = ("red", "green", "blue")
    store = library.storage.MemoryStore()
    try:
        levels = [_write_level(library, store, level, one) for level, one in _pyramid(planes)]
    except (ValueError, TypeError, RuntimeError) as error:
        raise ImageError(f"cannot encode {frames[0].size} as OME-Zarr: {error}") from error
    made = {key: buffer.to_bytes() for key, buffer in store._store_dict.items()}
    return {**made, "zarr.json": _group(frames[0], names, levels)}


def _pyramid(planes: Pixels) -> Iterator[tuple[int, Pixels]]:
    """Planes (C, h, w), and smaller and smaller ones, each with its level."""
    for level in count():
        yield level, planes
        if max(planes.shape[1:]) <= _TILE_PX or min(planes.shape[1:]) < _SMALLEST_PX:
            return
        planes = np.stack([_halved(plane) for plane in planes])


def _halved(plane: Pixels) -> Pixels:
    """Means of 2 x 2 px; an odd last row or column is left out."""
    h, w = (length // 2 for length in plane.shape)
    blocks = plane[: 2 * h, : 2 * w].reshape(h, 2, w, 2)
    means = blocks.mean(axis=(1, 3), dtype=np.float64)
    rounded = np.rint(means) if plane.dtype.kind in "iu" else means
    return np.asarray(rounded, plane.dtype)


def _write_level(library: ModuleType, store: Any, level: int, planes: Pixels) -> int:  # noqa: ANN401
    array = library.create_array(
        store=store,
        name=str(level),
        shape=planes.shape,
        chunks=(1, *(min(_TILE_PX, side) for side in planes.shape[1:])),
        dtype=planes.dtype,
        dimension_names=["c", "y", "x"],
    )
    array[...] = planes
    return level


def _group(frame: Frame, names: Sequence[str], levels: Sequence[int]) -> bytes:
    """The metadata of the group."""
    size = frame.metadata.pixel_size_um
    unit = {} if size is None else {"unit": "micrometer"}
    x, y = size or (1.0, 1.0)
    space = [{"name": name, "type": "space", **unit} for name in "yx"]
    image = {
        "axes": [{"name": "c", "type": "channel"}, *space],
        "datasets": [
            {"path": str(level), "coordinateTransformations": _steps(2**level, x, y)}
            for level in levels
        ],
    }
    low, high = frame.span or (0.0, white(frame))
    window = {"min": low, "max": high, "start": low, "end": high}
    channels = [{"label": name, "active": True, "window": window} for name in names]
    ome = {"version": _VERSION, "multiscales": [image], "omero": {"channels": channels}}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    return json.dumps(group, indent=1).encode()


def _steps(factor: int, x: float, y: float) -> list[dict[str, Any]]:
    """From pixels to places: they are ``factor`` times as large, and so is their first middle."""
    steps: list[dict[str, Any]] = [{"type": "scale", "scale": [1.0, factor * y, factor * x]}]
    shift = (factor - 1) / 2
    if shift:
        steps.append({"type": "translation", "translation": [0.0, shift * y, shift * x]})
    return steps
