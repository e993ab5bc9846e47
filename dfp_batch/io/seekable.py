"""Files that are read in any order, in ranges, from any store."""

import io
from typing import TYPE_CHECKING, Any, BinaryIO

from dfp_batch.errors import StorageError
from dfp_batch.io.storage import TRAFFIC, file_in_store, translated

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LEAST_READ_BYTES = 256 * 1024


def open_seekable(url: str) -> BinaryIO:
    """Open a file for reading in any order; only the ranges that are read are fetched.

    Small reads share one request of 256 KiB, a larger one is a request of its own; nothing else is
    kept in memory. Reads raise the errors below as well, and once one has failed all later ones
    do: a reader that takes a failure for the end of the file does not go on with half of it.

    Returns:
        The open file; close it or use it in ``with``. It is for one thread.

    Raises:
        ObjectMissingError: Nothing is there.
        ObjectAccessError: It cannot be read.
        StorageError: The store failed.
    """
    with translated("read", url):
        fs, path = file_in_store(url)
        return io.BufferedReader(
            _DriverFile(fs.open(path, "rb", cache_type="none"), url), _LEAST_READ_BYTES
        )


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
        self._place = start[whence] + offset
        return self._place

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
        try:
            with translated("read", self._url):
                self._file.seek(self._place)
                data: bytes = self._file.read(count)
                TRAFFIC.read_bytes += len(data)
                return data
        except StorageError as fault:
            self._fault = fault
            raise
