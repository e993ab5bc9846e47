"""LIF of Leica."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dfp_batch.io.codec.frame import Pixels
from dfp_batch.io.codec.header import RefusedError
from dfp_batch.io.codec.names import cut_part
from dfp_batch.io.codec.stack_layout import shown
from dfp_batch.io.microscopes.shared import (
    NOT_AXES,
    UM_PER_M,
    Format,
    channel_names,
    chosen,
    depth_of,
)
from dfp_batch.io.volume import Axes, Kind, Part, Volume


def _parts(file: Any) -> tuple[Part, ...]:  # noqa: ANN401
    """Its images."""
    images = enumerate(file.images)
    return tuple(Part(f"#{k}", str(one.name), depth_of(one.sizes)) for k, one in images)


def _volume(file: Any, url: str, axis: str) -> Volume:  # noqa: ANN401
    image = _image(list(file.images), url)
    sizes: Mapping[str, int] = image.sizes
    samples, size = sizes.get("S", 1), (sizes["Y"], sizes["X"])
    lengths = [(name, length) for name, length in sizes.items() if name not in NOT_AXES]
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
        channel_names((), axes.length("C")),
        axes.length(axes.depth),
        _pixel_size_um(image),
    )
    return Volume(url, kind, read)


def _image(images: Sequence[Any], url: str) -> Any:  # noqa: ANN401
    """The one that a URL names, or the only stack: a LIF holds all that was taken in a session."""
    if cut_part(url)[1] is not None:
        return images[chosen(url, len(images), "images")]
    stacks = [image for image in images if depth_of(image.sizes) > 1] or images
    if len(stacks) > 1:
        first = images.index(stacks[0])
        known = shown(str(image.name) for image in stacks)
        name = url.rpartition("/")[2]
        raise RefusedError(
            f"holds {len(stacks)} images, {known}; name one of them, as in {name}#{first}"
        )
    if not stacks:
        raise RefusedError("holds no image")
    return stacks[0]


def _pixel_size_um(image: Any) -> tuple[float, float] | None:  # noqa: ANN401
    coordinates = image.coords
    steps = [_step_um(coordinates.get(name)) for name in "XY"]
    x, y = steps
    return None if x is None or y is None else (x, y)


def _step_um(coordinates: Any) -> float | None:  # noqa: ANN401
    """Of coordinates in metres."""
    if coordinates is None or len(coordinates) < 2:  # noqa: PLR2004
        return None
    step = float(coordinates[1] - coordinates[0]) * UM_PER_M
    return step if step > 0 else None


LIF = Format("a LIF", "liffile", "LifFile", _volume, _parts)
