"""A Zarr hierarchy in any place that URLs reach, for zarr: read only."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from dfp_batch.errors import ObjectMissingError
from dfp_batch.io import storage
from dfp_batch.io.urls import join


class FolderStore(Store):
    """The files of a folder, each read when it is asked for; failures are those of ``storage``.

    Args:
        url: Of the folder.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, url: str) -> None:
        super().__init__(read_only=True)
        self._url = url

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FolderStore) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """A file, or a part of it; None if it is not there."""
        try:
            data = await asyncio.to_thread(_read, join(self._url, key), byte_range)
        except ObjectMissingError:
            return None
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Parts of several files."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether a file is there."""
        return await asyncio.to_thread(storage.exists, join(self._url, key))

    async def list(self) -> AsyncIterator[str]:
        """All files."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """All files whose keys begin like this."""
        for key in await asyncio.to_thread(storage.list_tree, self._url):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names of the files and folders in a folder."""
        names = await asyncio.to_thread(storage.list_folder, join(self._url, prefix).rstrip("/"))
        for name in (*names[0], *names[1]):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse: it is read only."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse: it is read only."""
        self._check_writable()


def _read(url: str, part: ByteRequest | None) -> bytes:
    if isinstance(part, RangeByteRequest):
        return storage.read_range(url, part.start, part.end)
    if isinstance(part, OffsetByteRequest):
        return storage.read_range(url, part.offset, None)
    if isinstance(part, SuffixByteRequest):
        return storage.read_range(url, -part.suffix, None)
    return storage.read_bytes(url)
