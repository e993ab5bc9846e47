"""What a URL is: a protocol, a place, perhaps a version; and how places are put together.

Nothing is opened here. Credentials come from the environment of each driver, never from a URL.
"""

import os
import re
from functools import lru_cache

from dfp_batch.errors import ConfigError

# The package that opens each protocol.
DRIVERS = {
    "file": "fsspec",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "memory": "fsspec",
}


_VERSION = re.compile(r"\?versionId=[^/?]+$")


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
    protocol, path = protocol_and_path(url)
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


def protocol_and_path(url: str) -> tuple[str, str]:
    """Cut a URL into its protocol and the path within it; a local path is of protocol ``file``.

    Raises:
        ConfigError: A protocol that is not allowed, credentials, or a version within the name.
    """
    head, mark, rest = url.partition("://")
    if not mark or "/" in head:
        return "file", url
    protocol = head.lower()
    if _has_credentials(protocol, rest):
        place = f"{protocol}://***@{rest.rpartition('@')[2]}"
        raise ConfigError(f"{place}: URLs must not hold credentials; set them in the environment")
    if protocol not in DRIVERS:
        allowed = ", ".join(DRIVERS)
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


def bucket_of(url: str) -> str:
    """Protocol and bucket, as in ``s3://bucket``; "" for a file of this machine."""
    protocol, path = protocol_and_path(url)
    return "" if protocol == "file" else f"{protocol}://{path.lstrip('/').partition('/')[0]}"


def is_local(url: str) -> bool:
    """Whether the URL names a file of this machine."""
    return protocol_and_path(url)[0] == "file"


def _beside(base: str, path: str) -> str:
    """Resolve a relative path in the folder that holds ``base``; a bucket is never left.

    Names in a bucket are no paths: only ``.`` and ``..`` of the relative path mean something, and
    two slashes are not one.
    """
    protocol, place = protocol_and_path(base)
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
