"""ND2, CZI and LIF, each read by the library of its format: an extra of this package."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from dfp_batch.io.codec.frame import Pixels
from dfp_batch.io.codec.header import RefusedError, named
from dfp_batch.io.codec.stack_layout import shown
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.urls import is_local, protocol_and_path
from dfp_batch.io.volume import DAMAGE, Axes, Kind, Volume

_UM_PER_M = 1e6
_PIECE_BYTES = 16 * 2**20
_CZI_TYPES = {
    "Gray8": ("uint8", 1),
    "Gray16": ("uint16", 1),
    "Gray32Float": ("float32", 1),
    "Bgr24": ("uint8", 3),
    "Bgr48": ("uint16", 3),
}
_NOT_AXES = ("Y", "X", "S")


@contextmanager
def open_nd2(url: str, axis: str) -> Iterator[Volume]:
    """The images of an ND2 of Nikon.

    Args:
        url: Of the file.
        axis: Z, or T, that is the depth as well.

    Raises:
        ImageError: It is none, or holds no stack.
        StorageError: The store failed.
    """
    with named(url), open_seekable(url) as file:
        library = _library("nd2", "an ND2")
        volume_of = partial(_nd2_volume, url=url, axis=axis)
        with _read("ND2", partial(library.ND2File, file), volume_of) as volume:
            yield volume


@contextmanager
def open_lif(url: str, axis: str) -> Iterator[Volume]:
    """The only stack in a LIF of Leica; arguments and errors as of ``open_nd2``."""
    with named(url), open_seekable(url) as file:
        library = _library("liffile", "a LIF")
        volume_of = partial(_lif_volume, url=url, axis=axis)
        with _read("LIF", partial(library.LifFile, file), volume_of) as volume:
            yield volume


@contextmanager
def open_czi(url: str, axis: str) -> Iterator[Volume]:
    """The images of a CZI of Zeiss; arguments and errors as of ``open_nd2``.

    Its library reads files of this machine only: others are copied to a temporary one.
    """
    with named(url):
        library = _library("pylibCZIrw.czi", "a CZI")
        volume_of = partial(_czi_volume, url=url, axis=axis)
        with (
            _local_copy(url) as path,
            _read("CZI", partial(library.CziReader, path), volume_of) as volume,
        ):
            yield volume


@contextmanager
def _read(
    name: str, opened: Callable[[], Any], volume_of: Callable[[Any], Volume]
) -> Iterator[Volume]:
    """What the library of a format reads of a file, which is closed at the end."""
    with _damage(name):
        file = opened()
    with closing(file):
        with _damage(name):
            volume = volume_of(file)
        yield volume


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """What is read in here belongs to a file of this format; if it is damaged, say so."""
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RefusedError(f"is not a whole {name} ({reason})") from error


def _library(name: str, what: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise RefusedError(
            f"is {what}, which needs the package {package}; pip install 'dfp-batch[microscopy]'"
        ) from error


@contextmanager
def _local_copy(url: str) -> Iterator[str]:
    """Path of the file on this machine."""
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


def _names(found: Sequence[str | None], count: int) -> tuple[str, ...]:
    """A name for each channel: their numbers, where they have none."""
    named = [*found, *[None] * count][:count]
    return tuple(name or str(k) for k, name in enumerate(named))


# ND2


def _nd2_volume(file: Any, url: str, axis: str) -> Volume:  # noqa: ANN401 - of an optional package
    sizes: Mapping[str, int] = file.sizes
    samples = sizes.get("S", 1)
    size = sizes["Y"], sizes["X"]
    lengths = [(name, length) for name, length in sizes.items() if name not in _NOT_AXES]
    axes = Axes.of(lengths, size, samples, axis)
    places = _nd2_places(file, axes)
    depth, channels = axes.length(axes.depth), axes.length("C")
    notes: tuple[str, ...] = ()
    if len(places) < depth:
        named = f"{depth} images that its description names"
        notes = (f"holds {len(places)} of the {named}; it is not whole",)

    @lru_cache(maxsize=1)
    def whole(k: int) -> Pixels:
        """All channels (C, h, w) of a frame, or its colours (h, w, 3)."""
        return np.asarray(file.read_frame(places[k]))

    def read(channel: int, k: int) -> Pixels:
        found: Pixels = whole(k)
        return found.reshape(channels, *size)[channel] if channels > 1 else found

    kind = Kind(
        "ND2",
        size,
        samples,
        np.dtype(file.dtype).name,
        _names(_nd2_channels(file), channels),
        len(places),
        _nd2_pixel_size_um(file),
    )
    return Volume(url, kind, read, notes)


def _nd2_places(file: Any, axes: Axes) -> list[int]:  # noqa: ANN401
    """Numbers of the frames along the depth that were written; others would come as black."""
    written = int(file.attributes.sequenceCount)
    found = {place.get(axes.depth, 0): k for k, place in enumerate(file.loop_indices)}
    in_order = [found[k] for k in sorted(found)]
    return [k for k in in_order if k < written]


def _nd2_channels(file: Any) -> list[str | None]:  # noqa: ANN401
    found = getattr(file.metadata, "channels", None) or []
    return [one.channel.name for one in found]


def _nd2_pixel_size_um(file: Any) -> tuple[float, float] | None:  # noqa: ANN401
    size = file.voxel_size()
    is_known = size.x > 0 and size.y > 0 and (size.x, size.y) != (1, 1)  # 1 stands for unknown
    return (float(size.x), float(size.y)) if is_known else None


# LIF


def _lif_volume(file: Any, url: str, axis: str) -> Volume:  # noqa: ANN401
    images = list(file.images)
    if len(images) > 1:  # a LIF holds all that was taken in a session
        images = [image for image in images if image.sizes.get("Z", 1) > 1] or images
    if len(images) != 1:
        known = shown(str(image.name) for image in images)
        raise RefusedError(
            f"holds {len(images)} images, {known}; expected one stack, save it apart"
        )
    [image] = images
    sizes: Mapping[str, int] = image.sizes
    samples, size = sizes.get("S", 1), (sizes["Y"], sizes["X"])
    lengths = [(name, length) for name, length in sizes.items() if name not in _NOT_AXES]
    axes = Axes.of(lengths, size, samples, axis)
    names = [name for name, _ in lengths]

    def read(channel: int, k: int) -> Pixels:
        places = dict(zip(names, axes.place(channel, k), strict=True))
        return np.asarray(image.frame(**places))

    kind = Kind(
        "LIF",
        size,
        samples,
        np.dtype(image.dtype).name,
        _names((), axes.length("C")),
        axes.length(axes.depth),
        _lif_pixel_size_um(image),
    )
    return Volume(url, kind, read)


def _lif_pixel_size_um(image: Any) -> tuple[float, float] | None:  # noqa: ANN401
    coordinates = image.coords
    steps = [_step_um(coordinates.get(name)) for name in "XY"]
    x, y = steps
    return None if x is None or y is None else (x, y)


def _step_um(coordinates: Any) -> float | None:  # noqa: ANN401
    """Of coordinates in metres."""
    if coordinates is None or len(coordinates) < 2:  # noqa: PLR2004
        return None
    step = float(coordinates[1] - coordinates[0]) * _UM_PER_M
    return step if step > 0 else None


# CZI


def _czi_volume(file: Any, url: str, axis: str) -> Volume:  # noqa: ANN401
    scenes = file.scenes_bounding_rectangle_no_pyramid
    if len(scenes) > 1:
        raise RefusedError(f"holds {len(scenes)} scenes or positions, expected one; save it apart")
    box: Mapping[str, tuple[int, int]] = file.total_bounding_box_no_pyramid
    size = box["Y"][1] - box["Y"][0], box["X"][1] - box["X"][0]
    lengths = [(name, end - start) for name, (start, end) in box.items() if name not in _NOT_AXES]
    axes = Axes.of(lengths, size, 1, axis)
    dtype, samples = _czi_type(file, box)
    if samples > 1:
        axes = Axes.of(lengths, size, samples, axis)
    names = [name for name, _ in lengths]
    kind = Kind(
        "CZI",
        size,
        samples,
        dtype,
        _names(_czi_channels(file.metadata), axes.length("C")),
        axes.length(axes.depth),
        _czi_pixel_size_um(file.metadata),
    )
    return Volume(url, kind, _czi_reader(file, box, names, axes.place))


def _czi_reader(
    file: Any,  # noqa: ANN401
    box: Mapping[str, tuple[int, int]],
    names: Sequence[str],
    place: Callable[[int, int], tuple[int, ...]],
) -> Callable[[int, int], Pixels]:
    def read(channel: int, k: int) -> Pixels:
        places = dict(zip(names, place(channel, k), strict=True))
        found = np.asarray(file.read(plane={name: box[name][0] + places[name] for name in names}))
        return found[:, :, ::-1]  # blue comes first

    return read


def _czi_type(file: Any, box: Mapping[str, tuple[int, int]]) -> tuple[str, int]:  # noqa: ANN401
    first, end = box.get("C", (0, 1))
    kinds = {file.get_channel_pixel_type(channel) for channel in range(first, end)}
    kind = kinds.pop()
    if kinds or kind not in _CZI_TYPES:
        every = ", ".join(sorted({kind, *kinds}))
        raise RefusedError(f"holds {every} pixels, expected one of {', '.join(_CZI_TYPES)}")
    return _CZI_TYPES[kind]


def _czi_channels(metadata: Mapping[str, Any]) -> list[str | None]:
    found = _inside(metadata, "Information", "Image", "Dimensions", "Channels", "Channel")
    return [one.get("@Name") for one in _listed(found)]


def _czi_pixel_size_um(metadata: Mapping[str, Any]) -> tuple[float, float] | None:
    distances = _listed(_inside(metadata, "Scaling", "Items", "Distance"))
    metres = {one.get("@Id"): float(one.get("Value") or 0) for one in distances}
    x, y = (metres.get(name, 0.0) * _UM_PER_M for name in "XY")
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
