"""ND2 of Nikon."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from dfp_batch.io.codec.frame import Pixels
from dfp_batch.io.microscopes.shared import (
    NOT_AXES,
    Format,
    channel_names,
    chosen,
    depth_of,
)
from dfp_batch.io.volume import Axes, Kind, Part, Volume


def _parts(file: Any) -> tuple[Part, ...]:  # noqa: ANN401
    """Its positions."""
    depth = depth_of(file.sizes)
    return tuple(Part(f"#{k}", str(k), depth) for k in range(file.sizes.get("P", 1)))


def _volume(file: Any, url: str, axis: str) -> Volume:  # noqa: ANN401 - of an optional package
    sizes: Mapping[str, int] = file.sizes
    samples = sizes.get("S", 1)
    size = sizes["Y"], sizes["X"]
    position = chosen(url, sizes.get("P", 1), "positions")
    apart = {*NOT_AXES, "P"}
    lengths = [(name, length) for name, length in sizes.items() if name not in apart]
    axes = Axes.of(lengths, size, samples, axis)
    places = _places(file, axes, position)
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
        channel_names(_channels(file), channels),
        len(places),
        _pixel_size_um(file),
    )
    return Volume(url, kind, read, notes)


def _places(file: Any, axes: Axes, position: int) -> list[int]:  # noqa: ANN401
    """Numbers of the frames along the depth that were written; others would come as black."""
    written = int(file.attributes.sequenceCount)
    found = {
        place.get(axes.depth, 0): k
        for k, place in enumerate(file.loop_indices)
        if place.get("P", 0) == position
    }
    in_order = [found[k] for k in sorted(found)]
    return [k for k in in_order if k < written]


def _channels(file: Any) -> list[str | None]:  # noqa: ANN401
    found = getattr(file.metadata, "channels", None) or []
    return [one.channel.name for one in found]


def _pixel_size_um(file: Any) -> tuple[float, float] | None:  # noqa: ANN401
    size = file.voxel_size()
    is_known = size.x > 0 and size.y > 0 and (size.x, size.y) != (1, 1)  # 1 stands for unknown
    return (float(size.x), float(size.y)) if is_known else None


ND2 = Format("an ND2", "nd2", "ND2File", _volume, _parts)
