"""Results are read as arrays, whatever they were written as."""

import numpy as np
import pytest

from conftest import texture
from dfp_batch.engine import image_files
from dfp_batch.errors import ImageError, ObjectMissingError
from dfp_batch.io import codec, ome_zarr, storage
from dfp_batch.io.codec import Frame
from dfp_batch.io.result_image import read_image

COLOURS, GREY = texture(20, 30), texture(20, 30, 1)
DEEP = GREY.astype(np.uint16) * 257
CHANNELS = [Frame(texture(20, 30, 1, seed).astype(np.uint16)) for seed in range(2)]
STACKED = np.concatenate([frame.pixels for frame in CHANNELS], -1)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("fused.png", lambda: codec.encode(Frame(COLOURS), "png"), COLOURS),
        ("fused.png", lambda: codec.encode(Frame(DEEP), "png"), DEEP[..., 0]),
        ("fused.tiff", lambda: codec.encode(Frame(COLOURS), "tiff"), COLOURS),
        ("fused.ome.tiff", lambda: codec.encode_channels(CHANNELS, ("a", "b")), STACKED),
        ("fused.ome.zarr", lambda: ome_zarr.files_of(CHANNELS, ("a", "b")), STACKED),
        ("fused.ome.zarr", lambda: ome_zarr.files_of([Frame(DEEP)], ("0",)), DEEP[..., 0]),
        ("fused.ome.zarr", lambda: ome_zarr.files_of([Frame(COLOURS)], ("0",)), COLOURS),
    ],
)
def test_pixels_come_as_they_were_written(run_url, name, content, expected):
    url = f"{run_url}/{name}"
    image_files.write(url, content())
    found = read_image(url)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["fused.png", "fused.ome.tiff"])
def test_what_is_not_there_is_missing(tmp_path, name):
    with pytest.raises(ObjectMissingError, match=name):
        read_image(f"{tmp_path}/{name}")


def test_what_is_damaged_is_named(tmp_path):
    for name in ("fused.png", "fused.ome.tiff"):
        storage.write_bytes(f"{tmp_path}/{name}", b"II*\0 no image")
        with pytest.raises(ImageError, match=name):
            read_image(f"{tmp_path}/{name}")
