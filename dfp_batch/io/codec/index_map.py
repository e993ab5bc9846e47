"""Index maps: PNG files whose samples are the index of a source."""

import numpy as np
from numpy.typing import NDArray

from dfp_batch.errors import ImageError
from dfp_batch.io.codec import opencv, png
from dfp_batch.io.codec.header import RefusedError


def encode_indices(labels: NDArray[np.uint8]) -> bytes:
    """An 8-bit palette PNG of indices (h, w): programs read 0, 1, 2..., people see greys.

    The palette goes from black, the first index, to white, the last that occurs.

    Raises:
        ImageError: The encoder failed.
    """
    last = max(1, int(labels.max()))
    greys = np.arange(256) * 255 // last
    palette = np.repeat(greys.clip(0, 255).astype(np.uint8), 3).tobytes()
    try:
        return png.with_palette(opencv.file_of(labels[:, :, None], "png"), palette)
    except RefusedError as error:
        raise ImageError(f"cannot encode an index map: {error}") from error


def decode_indices(data: bytes) -> NDArray[np.uint8]:
    """Indices (h, w) of such a file.

    Raises:
        ImageError: It is not one, or damaged.
    """
    try:
        pixels = opencv.pixels_of(png.without_palette(data), "PNG")
    except RefusedError as error:
        raise ImageError(f"not an index map: {error}") from error
    if pixels is None or pixels.dtype != np.uint8 or pixels.shape[2] != 1:
        raise ImageError(f"not an index map of 8 bits, or damaged ({len(data)} bytes)")
    return pixels[:, :, 0]
