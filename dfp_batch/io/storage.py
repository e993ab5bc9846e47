"""Reads and writes files: on this machine, in object stores, in memory.

Only this module opens a URL; :mod:`dfp_batch.io.urls` says what one is.

A file is whole or absent. What the stores raise becomes one line and one of four errors: nothing is
there, this object cannot be read, no access at all, or try again (see :mod:`dfp_batch.errors`).
What is wrong with one object concerns its reader alone; credentials and disks concern everybody,
and so does every write that is refused. Endpoints come from the environment of each driver, as
credentials do.
"""

import errno
import os
import posixpath
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import fsspec

from dfp_batch.errors import ConfigError, ObjectMissingError, StorageError
from dfp_batch.io.credentials import credential_options
from dfp_batch.io.storage_errors import Action, is_bare, storage_error, store_errors
from dfp_batch.io.urls import DRIVERS, is_local, join, protocol_and_path, without_version

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


@dataclass
class Traffic:
    """Content that this process has moved since it began, in bytes."""

    read_bytes: int = 0
    written_bytes: int = 0


TRAFFIC = Traffic()


def is_folder(url: str) -> bool:
    """Say whether this is a folder that is there.

    Raises:
        ObjectAccessError: It cannot be known, or the bucket does not exist.
        StorageError: The store failed.
    """
    with translated("list", url):
        fs, path = store_of(url)
        return bool(fs.isdir(path))


def exists(url: str) -> bool:
    """Say whether a file or folder is there.

    Raises:
        ObjectAccessError: It cannot be known, or the bucket does not exist.
        StorageError: The store failed.
    """
    with suppress(ObjectMissingError), translated("read", url):
        fs, path = store_of(url)
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
    return read_range(url, None, None)


def read_range(url: str, start: int | None, end: int | None) -> bytes:
    """Read a part of a file.

    Args:
        url: Of the file.
        start: First byte; below 0 so many from the end; None is the beginning of the file.
        end: Behind the last byte; None is the end of the file.

    Raises:
        ObjectMissingError: Nothing is there.
        ObjectAccessError: It cannot be read.
        StorageError: The store failed.
    """
    with translated("read", url):
        fs, path = file_in_store(url)
        data: bytes = fs.cat_file(path, start=start, end=end)
        TRAFFIC.read_bytes += len(data)
        return data


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
    with translated("read", url):
        fs, path = file_in_store(url)
        info = fs.info(path)
        if info["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        mark = _local_mark(path) if is_local(url) else _object_mark(info)
        return f"{info['size']} {mark}".rstrip()


def size_bytes(url: str) -> int:
    """The size of a file, by one question to the store.

    Raises:
        ObjectMissingError: Nothing is there.
        ObjectAccessError: It cannot be read.
        StorageError: The store failed.
    """
    with translated("read", url):
        fs, path = file_in_store(url)
        return int(fs.info(path)["size"])


def write_bytes(url: str, data: bytes) -> None:
    """Write a file, whole or absent, over what was there; makes missing local folders.

    Raises:
        StorageError: The store failed, or holds another number of bytes afterwards.
    """
    with translated("write", url):
        fs, path = _file_to_write(url)
        if is_local(url):
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
    with translated("write", url):
        fs, path = _file_to_write(url)
        if is_local(url):
            return _create_local(path, data)
        with suppress(FileExistsError):
            fs.pipe_file(path, data, mode="create")
            return True
    return False


def list_tree(url: str) -> dict[str, tuple[int, str]]:
    """All files below a folder: size in bytes and what changes with the content, by path within it.

    Returns:
        Sorted by path; empty if the folder does not exist.

    Raises:
        ObjectAccessError: It cannot be listed, or the bucket does not exist.
        StorageError: The store failed.
    """
    with suppress(ObjectMissingError), translated("list", url):
        fs, path = store_of(url)
        own = path.rstrip("/")
        found = fs.find(own, detail=True)
        return {
            name[len(own) + 1 :]: (int(info["size"]), _object_mark(info) or str(info.get("mtime")))
            for name, info in sorted(found.items())
            if len(name) > len(own)
        }
    return {}


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
    with suppress(ObjectMissingError), translated("list", url):
        fs, path = store_of(url)
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
    with translated("delete", url), suppress(FileNotFoundError):
        fs, path = _file_to_write(url)
        fs.rm_file(path)


def file_in_store(url: str) -> tuple[Any, str]:
    """The filesystem of a file in this process, and the path of the file within it.

    Raises:
        ConfigError: The URL must not be opened, or its driver is not installed.
        IsADirectoryError: The URL names a folder or a bucket.
    """
    if url.endswith("/"):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file")
    fs, path = store_of(url)
    if "/" not in path:
        raise IsADirectoryError(errno.EISDIR, "is a bucket, not a file")
    return fs, path


@contextmanager
def translated(action: Action, url: str) -> Iterator[None]:
    """Turn what the stores raise into our errors: ``<url>: cannot <action>: <reason>``."""
    try:
        yield
    except store_errors() as error:
        told = _explained(error, url) if action == "read" else error
        raise storage_error(told, action, url) from error


def store_of(url: str) -> tuple[Any, str]:
    """The filesystem of a URL in this process, and the path within it.

    Raises:
        ConfigError: The URL must not be opened, or its driver is not installed.
    """
    protocol, path = protocol_and_path(url)
    versions = {"version_aware": True} if without_version(url) != url else {}
    try:
        options = {**_OPTIONS.get(protocol, {}), **credential_options(url), **versions}
        fs = fsspec.filesystem(protocol, **options)
    except ImportError as error:
        driver = DRIVERS[protocol]
        raise ConfigError(
            f"{url}: {protocol}:// needs the package {driver}; pip install {driver}"
        ) from error
    if protocol == "file":
        return fs, os.path.abspath(path)
    return fs, fs._strip_protocol(f"{protocol}://{path}")


def _file_to_write(url: str) -> tuple[Any, str]:
    """As ``file_in_store``; what a bucket keeps of the past is never changed."""
    if without_version(url) != url:
        raise ConfigError(f"{url}: a version of an object cannot be changed, drop ?versionId=...")
    return file_in_store(url)


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


def _explained(error: Exception, url: str) -> Exception:
    """Ask again for one byte where the store has given no reason: an expired token looks alike."""
    if not is_bare(error):
        return error
    try:
        fs, path = file_in_store(url)
        fs.cat_file(path, start=0, end=1)
    except store_errors() as answer:
        return answer
    return error
