"""Ways to use a store, and servers that stand in for one."""

import errno
import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from dfp_batch.errors import ObjectAccessError, StorageAccessError, StorageError
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.storage import create_bytes, read_bytes, version, write_bytes

# An environment in which no driver of S3 finds credentials.
NOBODY = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_SESSION_TOKEN": "",
    "AWS_PROFILE": "",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def without_credentials(patch):
    """Take them from this process."""
    for name, value in NOBODY.items():
        if value:
            patch.setenv(name, value)
        else:
            patch.delenv(name, raising=False)


def text_of(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def touch(url):
    with open_seekable(url) as file:
        file.read(1)


READERS = [read_bytes, touch, version]
WRITERS = [lambda url: write_bytes(url, b"1"), lambda url: create_bytes(url, b"1")]


@contextmanager
def serving(handler):
    """URL of an HTTP server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


DENIED = {"read": ObjectAccessError, "write": StorageAccessError}
FAULTS = [
    (PermissionError(errno.EACCES, "Permission denied"), DENIED, "Permission denied"),
    (OSError(errno.ENOSPC, "No space left"), StorageAccessError, "No space left"),
    (OSError(errno.EROFS, "Read-only"), StorageAccessError, "Read-only"),
    (TimeoutError(), StorageError, "TimeoutError"),
    (ConnectionResetError(errno.ECONNRESET, "reset"), StorageError, "reset"),
    (OSError(errno.EIO, "two\nlines"), StorageError, "two lines"),
]
