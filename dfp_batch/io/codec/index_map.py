"""Index maps: PNG files whose samples are the index of a source."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_indices(labels: NDArray[np.uint8]) -> bytes:
    """An 8-bit palette PNG of indices (h, w): programs read 0, 1, 2..., people see greys.

    The palette goes from black, the first index, to white, the last that occurs.
    """
    last = max(1, int(labels.max()))
    greys = np.arange(256) * 255 // last
    image = Image.fromarray(labels)
    image.putpalette(np.repeat(greys.clip(0, 255).astype(np.uint8), 3).tobytes())
    data = BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def decode_indices(data: bytes) -> NDArray[np.uint8]:
    """Indices (h, w) of such a file."""
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image, np.uint8)
