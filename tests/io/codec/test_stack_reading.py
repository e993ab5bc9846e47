"""A page is read and no other, wherever the file lies."""

from io import BytesIO

import numpy as np
import pytest

from dfp_batch.errors import StorageError
from dfp_batch.io.codec.pages import holds_stack, open_pages
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.storage import write_bytes
from dfp_batch.io.urls import join
from pages_parts import LAYOUTS, URL, frames, images, written, written_apart


class Watched(BytesIO):
    """A file that records which of its bytes were read."""

    def __init__(self, data):
        super().__init__(data)
        self.ranges = []

    def read(self, size=-1):
        start = self.tell()
        data = super().read(size)
        self.ranges.append((start, start + len(data)))
        return data

    def readinto(self, buffer):
        start = self.tell()
        count = super().readinto(buffer)
        self.ranges.append((start, start + count))
        return count

    def taken(self):
        """Number of bytes read since the last time, and the longest read."""
        counts = [end - start for start, end in self.ranges]
        self.ranges = []
        return sum(counts), max(counts)


BIG = {
    "plain": (written_apart, {}),
    "deflate": (written_apart, {"compression": "zlib"}),
    "zstd tiles": (written_apart, {"compression": "zstd", "tile": (64, 64)}),
    "jpeg 2000": (written_apart, {"compression": "jpeg2000"}),
    "ome": (written, LAYOUTS["ome"]),
    "imagej, one page for all": (written, LAYOUTS["imagej, one page for all"]),
}


@pytest.mark.parametrize("layout", BIG)
def test_one_page_is_read_and_no_other(layout):
    write, options = BIG[layout]
    pixels = images(6, height=200, width=300)
    file = Watched(write(pixels, **options).getvalue())
    with open_pages(file, URL) as pages:
        opening, _ = file.taken()
        np.testing.assert_array_equal(pages.frame(4).pixels[..., 0], pixels[4])
        reading, longest = file.taken()
    assert opening < 20_000
    assert longest <= 1.1 * pixels[4].nbytes  # noise does not shrink
    assert reading < 1.1 * pixels[4].nbytes + 20_000


def test_to_see_a_stack_takes_two_pages():
    file = Watched(written_apart(images(40, "uint8", 100, 100)).getvalue())
    assert holds_stack(file, URL)
    assert file.taken()[0] < 5_000


def test_a_stack_in_a_store(s3_url, tmp_path):
    pixels = images(4)
    for url in (join(s3_url, "pages", "stack.tif"), str(tmp_path / "stack.tif")):
        write_bytes(url, written(pixels, ome=True, metadata={"axes": "ZYX"}).getvalue())
        with open_seekable(url) as file, open_pages(file, url) as pages:
            assert len(pages) == 4
            np.testing.assert_array_equal(pages.frame(3).pixels[..., 0], pixels[3])
        with open_seekable(url) as file:
            assert holds_stack(file, url)


class Failing(BytesIO):
    """A file in a store that fails after some reads."""

    left = 0

    def read(self, size=-1):
        self.left -= 1
        if self.left < 0:
            raise StorageError("the store is down")
        return super().read(size)


@pytest.mark.parametrize("reads", [0, 3, 10, 30])
def test_a_store_that_fails_is_not_a_damaged_file(reads):
    file = Failing(written(images(), ome=True).getvalue())
    file.left = reads
    with pytest.raises(StorageError, match="the store is down"):
        frames(file)


def test_closing_the_pages_leaves_the_file_open():
    file = written(images())
    with open_pages(file, URL) as pages:
        assert len(pages) == 5
    assert not file.closed


@pytest.mark.parametrize("k", [5, 50])
def test_there_is_no_page_beyond_the_last(k):
    with open_pages(written(images()), URL) as pages, pytest.raises(IndexError):
        pages.frame(k)
