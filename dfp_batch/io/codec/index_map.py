"""Index maps: PNG files whose samples are the index of a source."""

import numpy as np
from numpy.typing import NDArray

from dfp_batch.errors import ImageError
from dfp_batch.io.codec import opencv, png
from dfp_batch.io.codec.header import named

Indices = NDArray[np.uint8] | NDArray[np.uint16]


def encode_indices(labels: Indices) -> bytes:
    """A PNG of indices (h, w): programs read 0, 1, 2...

    Of 8 bits it has a palette from black, the first index, to white, the last that occurs, for
    people; of 16 bits it is grey, and nearly black.

    Raises:
        ImageError: The encoder failed.
    """
    with named("cannot encode an index map"):
        if labels.dtype == np.uint16:
            return opencv.file_of(labels[:, :, None], "png")
        return png.with_palette(opencv.file_of(labels[:, :, None], "png"), _palette(labels))


def _palette(labels: Indices) -> bytes:
    last = max(1, int(labels.max()))
    greys = np.arange(256) * 255 // last
    return np.repeat(greys.clip(0, 255).astype(np.uint8), 3).tobytes()


def decode_indices(data: bytes) -> Indices:
    """Indices (h, w) of such a file, uint8 or uint16.

    Raises:
        ImageError: It is not one, or damaged.
    """
    with named("not an index map"):
        pixels = opencv.pixels_of(png.without_palette(data), "PNG")
    if pixels is None or pixels.dtype.kind != "u" or pixels.shape[2] != 1:
        raise ImageError(f"not an index map, or damaged ({len(data)} bytes)")
    return pixels[:, :, 0]
