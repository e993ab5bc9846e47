"""What is read of a file to know what it holds."""

import io

import numpy as np
import pytest

from codec_samples import pillow, small_files
from dfp_batch.errors import ImageError
from dfp_batch.io.codec import inspect, inspect_file
from files_parts import REFUSED, URL


class Reads(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size=-1, /):
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize("name", [name for name in small_files() if "animated" not in name])
def test_a_file_is_inspected_like_its_bytes(name):
    data = small_files()[name]
    assert inspect_file(io.BytesIO(data), URL) == inspect(data, URL)


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_is_refused_like_its_bytes(case):
    data, _ = REFUSED[case]
    with pytest.raises(ImageError) as of_bytes:
        inspect(data, URL)
    with pytest.raises(ImageError) as of_file:
        inspect_file(io.BytesIO(data), URL)
    assert str(of_file.value) == str(of_bytes.value)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_inspecting_a_large_file_reads_its_start_only(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (700, 800, 3), np.uint8)
    more = {"icc_profile": bytes(range(256)) * 400} if kind != "TIFF" else {}  # 100 kB
    file = Reads(pillow(pixels, kind, **more))
    assert inspect_file(file, URL) == inspect(file.getvalue(), URL)
    assert file.count < len(file.getvalue()) / 2
