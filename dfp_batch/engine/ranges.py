"""Measured values: one range for all frames of a stack, which is [0, 1] inside."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from dfp_batch.engine.frames import Channels, Frames
from dfp_batch.errors import ImageError
from dfp_batch.io import codec
from dfp_batch.io.codec import Frame, Span

_LEVELS = (np.uint8, np.uint16)  # samples of photographs


def span_of(frames: Frames) -> Span | None:
    """Lowest and highest value of all frames and channels, which are each loaded once.

    Returns:
        None for photographs: 8 or 16 bits without sign, or floats that are all in [0, 1].
    """
    if frames[0].pixels.dtype in _LEVELS:
        return None
    low, high, is_photograph = np.inf, -np.inf, True
    for frame in _all(frames):
        is_photograph &= codec.is_in_unit(frame.pixels)
        low = min(low, float(frame.pixels.min()))
        high = max(high, float(frame.pixels.max()))
    if is_photograph:
        return None
    return low, high if high > low else low + 1


def _all(frames: Frames) -> Iterator[Frame]:
    parts = (frames,) if frames.channels is None else frames.channels.frames
    for part in parts:
        for index in range(len(part)):
            yield part[index]


def in_unit(frames: Frames, span: Span | None) -> Frames:
    """The same frames as floats in [0, 1], if they are measured values."""
    if span is None:
        return frames
    channels = frames.channels
    if channels is not None:
        scaled = tuple(in_unit(part, span) for part in channels.frames)
        channels = Channels(channels.names, scaled)
    return Frames(frames.names, _scaled(frames, span), frames.notes, channels)


def _scaled(frames: Frames, span: Span) -> Callable[[int], Frame]:
    def load(index: int) -> Frame:
        frame = frames[index]
        if frame.alpha is not None and not codec.is_in_unit(frame.alpha):
            raise ImageError(f"{frames.names[index]}: alpha must be in [0, 1]; save it without")
        unit = codec.to_unit(replace(frame, span=span)).transpose(1, 2, 0)
        return replace(frame, pixels=np.ascontiguousarray(unit), white=None)

    return load
