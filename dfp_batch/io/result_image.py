"""The pixels of a result, whatever holds them: one file, a file of several channels, a folder."""

from io import BytesIO

import numpy as np
import tifffile

from dfp_batch.io import codec, ome_zarr, storage
from dfp_batch.io.codec.frame import Pixels
from dfp_batch.io.codec.header import RefusedError, named
from dfp_batch.io.volume import DAMAGE


def read_image(url: str) -> Pixels:
    """Read it whole.

    Args:
        url: Of what a run has written: ``fused.png``, ``fused.ome.tiff``, ``fused.ome.zarr``, ...

    Returns:
        (H, W) or (H, W, 3), or (H, W, C) of a file of C channels; samples as they are stored,
        without alpha.

    Raises:
        ImageError: It is damaged, or the package that reads it is not installed.
        ObjectMissingError: Nothing is there.
        StorageError: The store failed.
    """
    if url.endswith(".zarr"):
        return _channels_last(ome_zarr.read_array(url))
    data = storage.read_bytes(url)
    if url.endswith(".ome.tiff"):
        with named(url):
            return _channels_last(_pages(data))
    pixels = codec.decode(data, url).pixels
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _pages(data: bytes) -> Pixels:
    """All of them, (C, H, W)."""
    try:
        pages = np.asarray(tifffile.imread(BytesIO(data)))
    except DAMAGE as error:
        raise RefusedError(f"is not a whole TIFF ({error})") from error
    if not pages.size:
        raise RefusedError("is not a whole TIFF (no image in it)")
    return pages


def _channels_last(planes: Pixels) -> Pixels:
    """(C, H, W) as (H, W, C); what has no channels, or one of length 1, as (H, W)."""
    planes = planes.reshape(-1, *planes.shape[-2:])
    return planes[0] if len(planes) == 1 else np.ascontiguousarray(np.moveaxis(planes, 0, -1))
