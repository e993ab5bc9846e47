"""A folder for sources or runs, here or in an object store: listed, written, read, tidied up."""

import os
import uuid

from dfp_batch.doctor.finding import Finding, Place
from dfp_batch.doctor.machine import enough_disk
from dfp_batch.errors import ConfigError, DfpError

_CONTENT = b"dfp-batch doctor looks whether it may write here; this file may be deleted.\n"
_CREDENTIALS = (
    "look at the name, and at the credentials and the endpoint in the environment "
    "(AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...)"
)


def store(place: Place) -> Finding:
    """List a folder, then write, read and delete one small file of its own in it."""
    from dfp_batch.io import storage, urls

    url = place.url or ""
    if urls.is_local(url) and not os.path.isdir(url):
        kind = "a file, not a folder" if os.path.exists(url) else "not there"
        return Finding("problem", f"{url} is {kind}", "give a folder that is there, or make it")
    try:
        files, folders = storage.list_folder(url)
    except ConfigError as error:
        return Finding("problem", str(error), "do as it says")
    except DfpError as error:
        advice = "look at its rights" if urls.is_local(url) else _CREDENTIALS
        return Finding("problem", str(error), advice)
    seen = f"{url}: {len(files)} files and {len(folders)} folders directly in it"
    return _written(url, seen)


def _written(url: str, seen: str) -> Finding:
    """Whether one can write there; the file has a name that ``gc`` would take for a leftover."""
    from dfp_batch.io import storage, urls

    target = urls.join(url, f".dfp-{uuid.uuid4().hex}.part")
    try:
        storage.write_bytes(target, _CONTENT)
    except DfpError as error:
        return Finding(
            "warning",
            f"{seen}; {error}",
            "sources may stay there; give submit an --output where you may write",
        )
    try:
        is_same = storage.read_bytes(target) == _CONTENT
        storage.delete(target)
    except DfpError as error:
        return Finding(
            "problem", f"{seen}; {error}", f"allow reading and deleting; {target} is left"
        )
    if not is_same:
        return Finding("problem", f"{seen}; what was read is not what was written", "look at it")
    if urls.is_local(url):
        room = enough_disk(url, os.statvfs(url).f_bavail * os.statvfs(url).f_frsize)
        return Finding(room.level, f"{seen}; can be written; {room.found}", room.advice)
    return Finding("ok", f"{seen}; can be written and deleted")
