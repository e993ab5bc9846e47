"""The only file that opens a URL: local files, object stores, memory.

A file is whole or absent. What the stores raise becomes one line and one of four errors: nothing is
there, this object cannot be read, no access at all, or try again (see :mod:`dfp_batch.errors`).
What is wrong with one object concerns its reader alone; credentials and disks concern everybody,
and so does every write that is refused. Credentials and endpoints come from the environment of
each driver, never from a URL.
"""

import errno
import io
import os
import posixpath
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

import fsspec

from dfp_batch.errors import ConfigError, ObjectMissingError, StorageError
from dfp_batch.io.storage_errors import Action, is_bare, storage_error, store_errors

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_DRIVERS = {
    "file": "fsspec",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "memory": "fsspec",
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {
        "use_listings_cache": False,  # the default misses the files of other writers
        "config_kwargs": {
            "retries": {"total_max_attempts": 3, "mode": "standard"},
            "read_timeout": 60,
            "connect_timeout": 10,
        },
    },
    "gs": {"use_listings_cache": False},
    "gcs": {"use_listings_cache": False},
    "az": {"use_listings_cache": False},
    "abfs": {"use_listings_cache": False},
}
_VERSION = re.compile(r"\?versionId=[^/?]+$")
_LEAST_READ_BYTES = 256 * 1024


@dataclass
class Traffic:
    """Content that this process has moved since it began, in bytes."""

    read_bytes: int = 0
    written_bytes: int = 0


TRAFFIC = Traffic()


def absolute_url(url: str, base: str | None = None) -> str:
    """Resolve a URL or path, relative to the folder that holds ``base``.

    URLs are taken literally, those of files, too: ``%20`` in one is not a space. ``?versionId=ID``
    at the end of one of S3 asks for that version of the object; other ``?`` belong to the name.

    Args:
        url: URL of an allowed protocol, or a local path.
        base: URL or path of a file, e.g. the manifest; the working directory when absent.

    Returns:
        An absolute plain path for a local file, else a URL with its protocol.

    Raises:
        ConfigError: Empty, a protocol that is not allowed, or a URL with credentials in it.
    """
    if not url:
        raise ConfigError("URL is empty, expected a path or a URL")
    if "\0" in url:
        raise ConfigError(f"URL must not hold a null character, got {url!r}")
    protocol, path = _split(url)
    if protocol != "file":
        return f"{protocol}://{path}"
    if base is None or os.path.isabs(path):
        return os.path.abspath(path)
    return _beside(base, path)


def without_version(url: str) -> str:
    """The URL of an object without the version that it asks for: ``s3://...?versionId=ID``."""
    return _VERSION.sub("", url) if url[:5].lower() == "s3://" else url


def join(url: str, *parts: str) -> str:
    """Append path parts to the URL of a folder."""
    return "/".join([url.rstrip("/"), *parts])


def exists(url: str) -> bool:
    """Say whether a file or folder is there.

    Raises:
        ObjectAccessError: It cannot be known, or the bucket does not exist.
        StorageError: The store failed.
    """
    with suppress(ObjectMissingError), _translated("read", url):
        fs, path = _open(url)
        fs.info(path)
        return True
    return False


def read_bytes(url: str) -> bytes:
    """Read a whole file.

    Raises:
        ObjectMissingError: Nothing is there.
        ObjectAccessError: It cannot be read.
        StorageError: The store failed.
    """
    with _translated("read", url):
        fs, path = _open_file(url)
        data: bytes = fs.cat_file(path)
        TRAFFIC.read_bytes += len(data)
        return data


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
    with _translated("read", url):
        fs, path = _open_file(url)
        return io.BufferedReader(
            _Source(fs.open(path, "rb", cache_type="none"), url), _LEAST_READ_BYTES
        )


def version(url: str) -> str:
    """Identify the content of a file by one question to the store, without reading it.

    The size in bytes and what the store changes with the content: of local files the time of the
    last change in ns, of objects the ETag or the generation. Every process and host gets the same;
    a file that was written again, even with as many bytes, another one. (The clock of a local
    file system may not tell apart two writes within a few milliseconds.)

    Returns:
        E.g. "12345 mtime:1767225600000000000" or "12345 etag:9b2cf535f27731c974343645a3985328".

    Raises:
        ObjectMissingError: Nothing is there, or a folder.
        ObjectAccessError: It cannot be read.
        StorageError: The store failed.
    """
    with _translated("read", url):
        fs, path = _open_file(url)
        info = fs.info(path)
        if info["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        mark = _local_mark(path) if _is_local(url) else _object_mark(info)
        return f"{info['size']} {mark}".rstrip()


def size_bytes(url: str) -> int:
    """The size of a file, by one question to the store.

    Raises:
        ObjectMissingError: Nothing is there.
        ObjectAccessError: It cannot be read.
        StorageError: The store failed.
    """
    with _translated("read", url):
        fs, path = _open_file(url)
        return int(fs.info(path)["size"])


def write_bytes(url: str, data: bytes) -> None:
    """Write a file, whole or absent, over what was there; makes missing local folders.

    Raises:
        StorageError: The store failed, or holds another number of bytes afterwards.
    """
    with _translated("write", url):
        fs, path = _open_to_write(url)
        if _is_local(url):
            _write_local(path, data)
        else:
            fs.pipe_file(path, data)
        TRAFFIC.written_bytes += len(data)
        size = fs.info(path)["size"]
    if size != len(data):
        raise StorageError(f"{url}: wrote {len(data)} bytes but the store holds {size}; try again")


def create_bytes(url: str, data: bytes) -> bool:
    """Write a file only if nothing is there; of several writers exactly one succeeds.

    After a lost answer a store may refuse its own retry: on ``False``, look who wrote it.

    Returns:
        True if this call created the file, False if something was there.

    Raises:
        StorageError: The store failed.
    """
    with _translated("write", url):
        fs, path = _open_to_write(url)
        if _is_local(url):
            return _create_local(path, data)
        with suppress(FileExistsError):
            fs.pipe_file(path, data, mode="create")
            return True
    return False


def list_files(url: str, suffix: str = "") -> list[str]:
    """List the files directly in a folder whose name ends in ``suffix``, sorted by name.

    Returns:
        Their URLs; empty if the folder does not exist.

    Raises:
        ObjectAccessError: It cannot be listed, or the bucket does not exist.
        StorageError: The store failed.
    """
    files, _ = list_folder(url)
    return [join(url, name) for name in files if name.endswith(suffix)]


def list_folder(url: str) -> tuple[list[str], list[str]]:
    """List a folder: the names of its files and of its subfolders, sorted.

    Slashes at the end of the URL do not count, and a subfolder without a name (``a//b``) is left
    out: what it holds has to be named by whole URLs.

    Returns:
        Two lists of names, both empty if the folder does not exist.

    Raises:
        ObjectAccessError: It cannot be listed, or the bucket does not exist.
        StorageError: The store failed.
    """
    with suppress(ObjectMissingError), _translated("list", url):
        fs, path = _open(url)
        own = path.rstrip("/")
        found = {(entry["name"].rstrip("/"), entry["type"]) for entry in fs.ls(path, detail=True)}
        inside = [(posixpath.basename(name), kind) for name, kind in found if name != own]
        files = sorted(name for name, kind in inside if kind != "directory")
        folders = sorted(name for name, kind in inside if kind == "directory")
        return files, folders
    return [], []


def delete(url: str) -> None:
    """Delete one file; nothing there is fine.

    Raises:
        StorageError: The store failed.
    """
    with _translated("delete", url), suppress(FileNotFoundError):
        fs, path = _open_to_write(url)
        fs.rm_file(path)


class _Source(io.RawIOBase):
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
            with _translated("read", self._url):
                self._file.seek(self._place)
                data: bytes = self._file.read(count)
                TRAFFIC.read_bytes += len(data)
                return data
        except StorageError as fault:
            self._fault = fault
            raise


def _split(url: str) -> tuple[str, str]:
    """Cut into protocol and path, and refuse what must not be opened."""
    head, mark, rest = url.partition("://")
    if not mark or "/" in head:
        return "file", url
    protocol = head.lower()
    if _has_credentials(protocol, rest):
        place = f"{protocol}://***@{rest.rpartition('@')[2]}"
        raise ConfigError(f"{place}: URLs must not hold credentials; set them in the environment")
    if protocol not in _DRIVERS:
        allowed = ", ".join(_DRIVERS)
        raise ConfigError(f"{url}: protocol must be one of {allowed}, got {head!r}")
    if protocol == "s3" and "?versionId=" in _VERSION.sub("", rest):
        raise ConfigError(f"{url}: ?versionId= must stand at the end, with the id of a version")
    return protocol, rest


def _has_credentials(protocol: str, rest: str) -> bool:
    """Find ``user:password@``; a secret may hold a slash, ``container@account`` is no secret."""
    authority = rest.partition("/")[0]
    if protocol == "file" or authority.startswith("arn:"):
        return False
    if ":" in authority:
        return "@" in rest
    return "@" in authority and protocol not in {"az", "abfs"}


def _is_local(url: str) -> bool:
    return _split(url)[0] == "file"


def _beside(base: str, path: str) -> str:
    """Resolve a relative path in the folder that holds ``base``; a bucket is never left.

    Names in a bucket are no paths: only ``.`` and ``..`` of the relative path mean something, and
    two slashes are not one.
    """
    protocol, place = _split(base)
    if protocol == "file":
        return os.path.abspath(os.path.join(os.path.dirname(place), path))
    bucket, *steps = _folder_of(place)
    for step in path.split("/"):
        if step == "..":
            del steps[-1:]
        elif step != ".":
            steps.append(step)
    return "/".join([f"{protocol}://{bucket}", *steps])


@lru_cache(maxsize=16)  # a manifest of a million rows has one base
def _folder_of(place: str) -> tuple[str, ...]:
    """The bucket, and every step to the folder within it that holds an object."""
    return tuple(place.split("/")[:-1])


def _open(url: str) -> tuple[Any, str]:
    """Make the filesystem of a URL in this process, and the path within it."""
    protocol, path = _split(url)
    versions = {"version_aware": True} if without_version(url) != url else {}
    try:
        fs = fsspec.filesystem(protocol, **_OPTIONS.get(protocol, {}), **versions)
    except ImportError as error:
        driver = _DRIVERS[protocol]
        raise ConfigError(
            f"{url}: {protocol}:// needs the package {driver}; pip install {driver}"
        ) from error
    if protocol == "file":
        return fs, os.path.abspath(path)
    return fs, fs._strip_protocol(f"{protocol}://{path}")


def _open_file(url: str) -> tuple[Any, str]:
    """As ``_open``, of what can be a file."""
    if url.endswith("/"):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file")
    fs, path = _open(url)
    if "/" not in path:
        raise IsADirectoryError(errno.EISDIR, "is a bucket, not a file")
    return fs, path


def _open_to_write(url: str) -> tuple[Any, str]:
    """As ``_open_file``; what a bucket keeps of the past is never changed."""
    if without_version(url) != url:
        raise ConfigError(f"{url}: a version of an object cannot be changed, drop ?versionId=...")
    return _open_file(url)


def _local_mark(path: str) -> str:
    return f"mtime:{os.stat(path).st_mtime_ns}"


def _object_mark(info: Mapping[str, Any]) -> str:
    """What changes with the content of an object, the most exact that its store tells."""
    for key in ("generation", "ETag", "etag", "LastModified", "last_modified", "created"):
        if mark := str(info.get(key) or "").strip('"'):
            return f"{key.lower()}:{mark}"
    return ""


def _write_local(path: str, data: bytes) -> None:
    with _temporary(path, data) as temporary:
        os.replace(temporary, path)


def _create_local(path: str, data: bytes) -> bool:
    with _temporary(path, data) as temporary, suppress(FileExistsError):
        os.link(temporary, path)
        return True
    return False


@contextmanager
def _temporary(path: str, data: bytes) -> Iterator[str]:
    """Write to a name of its own in the same folder; gone afterwards unless renamed."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".dfp-{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


@contextmanager
def _translated(action: Action, url: str) -> Iterator[None]:
    """Turn what the stores raise into our errors: ``<url>: cannot <action>: <reason>``."""
    try:
        yield
    except store_errors() as error:
        told = _explained(error, url) if action == "read" else error
        raise storage_error(told, action, url) from error


def _explained(error: Exception, url: str) -> Exception:
    """Ask again for one byte where the store has given no reason: an expired token looks alike."""
    if not is_bare(error):
        return error
    try:
        fs, path = _open_file(url)
        fs.cat_file(path, start=0, end=1)
    except store_errors() as answer:
        return answer
    return error
