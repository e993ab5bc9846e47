"""The image of a result: one file, or a folder of files that count as one."""

import hashlib
from collections.abc import Mapping

from dfp_batch.errors import ObjectMissingError
from dfp_batch.io import seekable, storage, urls

Content = bytes | Mapping[str, bytes]  # of a file, or of files by their paths
CHUNK_BYTES = 8 * 2**20


def write(url: str, content: Content) -> tuple[str, int]:
    """Write it; a folder holds nothing else afterwards, and its description comes last.

    Args:
        url: Of the file or folder.
        content: What to write.

    Returns:
        SHA-256 and bytes of all of it.

    Raises:
        StorageError: The store failed.
    """
    if isinstance(content, bytes):
        storage.write_bytes(url, content)
        return hashlib.sha256(content).hexdigest(), len(content)
    for path in storage.list_tree(url).keys() - content.keys():
        storage.delete(urls.join(url, path))
    for path in sorted(content, key=lambda path: (path.endswith(".json"), -path.count("/"), path)):
        storage.write_bytes(urls.join(url, path), content[path])
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in content.items()}
    return _together(digests), sum(map(len, content.values()))


def size_bytes(url: str) -> int:
    """Of the file, or of all files of a folder.

    Raises:
        ObjectMissingError: Nothing is there.
        StorageError: The store failed.
    """
    if not is_folder(url):
        return storage.size_bytes(url)
    return sum(size for size, _ in _files(url).values())


def sha256(url: str) -> str:
    """As ``write`` gave it; read in pieces, since several are read at once.

    Raises:
        ObjectMissingError: Nothing is there.
        StorageError: The store failed.
    """
    if not is_folder(url):
        return _digest(url)
    return _together({path: _digest(urls.join(url, path)) for path in _files(url)})


def is_folder(url: str) -> bool:
    """Whether the image is a folder, by its name."""
    return url.endswith(".zarr")


def _files(url: str) -> dict[str, tuple[int, str]]:
    found = storage.list_tree(url)
    if not found:
        raise ObjectMissingError(f"{url}: cannot read: no such folder")
    return found


def _together(digests: Mapping[str, str]) -> str:
    lines = "".join(f"{path}\0{digest}\n" for path, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _digest(url: str) -> str:
    digest = hashlib.sha256()
    with seekable.open_seekable(url) as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()
