"""Files that are read in any order, in ranges, from any store."""

import io
from typing import TYPE_CHECKING, Any, BinaryIO

from dfp_batch.errors import StorageError
from dfp_batch.io.storage import TRAFFIC, file_in_store, translated
from dfp_batch.io.urls import is_local

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LEAST_READ_BYTES = 256 * 1024


def open_seekable(
    url: str, size_bytes: int | None = None, least_read_bytes: int = _LEAST_READ_BYTES
) -> BinaryIO:
    """Open a file for reading in any order; only the ranges that are read are fetched.

    Small reads share one request of 256 KiB, a larger one is a request of its own; nothing else is
    kept in memory. Reads raise the errors below as well, and once one has failed all later ones
    do: a reader that takes a failure for the end of the file does not go on with half of it.

    Args:
        url: Of the file.
        size_bytes: Of it, where a listing has told: then the store is not asked again.
        least_read_bytes: Of a request.

    Returns:
        The open file; close it or use it in ``with``. It is for one thread.

    Raises:
        ObjectMissingError: Nothing is there.
        ObjectAccessError: It cannot be read.
        StorageError: The store failed.
    """
    with translated("read", url):
        fs, path = file_in_store(url)
        if size_bytes is None or is_local(url):
            file = fs.open(path, "rb", cache_type="none")
        else:
            file = _Ranges(fs, path, size_bytes)
        return io.BufferedReader(_DriverFile(file, url), least_read_bytes)


class _Ranges:
    """An object of a known size; a read is one request at most, and no other is made.

    The last answer is kept, for whoever looks at the same bytes again.
    """

    def __init__(self, fs: Any, path: str, size_bytes: int) -> None:  # noqa: ANN401
        self._fs = fs
        self._path = path
        self._place = 0
        self._kept, self._kept_at = b"", 0
        self.size = size_bytes

    def seek(self, place: int) -> None:
        self._place = place

    def read(self, count: int) -> bytes:
        place, end = self._place, min(self._place + count, self.size)
        if place >= end:
            return b""
        if place < self._kept_at or end > self._kept_at + len(self._kept):
            self._kept, self._kept_at = self._fs.cat_file(self._path, start=place, end=end), place
        data = self._kept[place - self._kept_at : end - self._kept_at]
        self._place += len(data)
        return data

    def close(self) -> None:
        pass


class _DriverFile(io.RawIOBase):
    """An open file of a driver whose failures are ours; its position is not the driver's."""

    def __init__(self, file: Any, url: str) -> None:  # noqa: ANN401 - each driver has its own
        self._file = file
        self._url = url
        self._place = 0
        self._fault: StorageError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: int(self._file.size)}
        place = start[whence] + offset
        if place < 0:  # as of any file; a driver would call it a failure of the store
            raise ValueError(f"negative seek position {place}")
        self._place = place
        return place

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        data = self._read(len(view))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)

    def readall(self) -> bytes:
        data = self._read(max(0, int(self._file.size) - self._place))  # in one piece
        self._place += len(data)
        return data

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _read(self, count: int) -> bytes:
        if self._fault is not None:
            raise self._fault
        if self._place >= int(self._file.size):  # a driver would call a far place a failure
            return b""
        try:
            with translated("read", self._url):
                self._file.seek(self._place)
                data: bytes = self._file.read(count)
                TRAFFIC.read_bytes += len(data)
                return data
        except StorageError as fault:
            self._fault = fault
            raise
