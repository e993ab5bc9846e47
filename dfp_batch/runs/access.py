"""Whether the sources of a run are read without credentials: said once, kept beside the run.

``RUN/access.json`` is there if they are; whatever works on the run reads it first. The bucket of
the run itself, and that of a registration that is used again, need credentials all the same.
"""

import json
from collections.abc import Iterable

from dfp_batch.errors import ConfigError
from dfp_batch.io import credentials, storage, urls

NAME = "access.json"
_CONTENT = json.dumps({"anonymous": True}).encode()


def open_run(run_url: str, asked: bool = False, align_from: str | None = None) -> bool:
    """From now on read as the run is to be read, in this process.

    Args:
        run_url: Run directory.
        asked: Whether its sources are to be read without credentials, from now on.
        align_from: URL of a registration that it uses, or None.

    Returns:
        Whether sources are read without credentials.

    Raises:
        StorageError: The store failed.
    """
    use(False, run_url)
    target = urls.join(run_url, NAME)
    if asked:
        storage.create_bytes(target, _CONTENT)
    anonymous = asked or storage.exists(target)
    use(anonymous, run_url, align_from)
    return anonymous


def use(anonymous: bool, run_url: str, align_from: str | None = None) -> None:
    """Read sources with or without credentials, in this process."""
    own = {urls.bucket_of(url) for url in (run_url, align_from) if url is not None}
    credentials.use_no_credentials(own if anonymous else None)


def read_only(read: Iterable[str], written: Iterable[str]) -> None:
    """Read without credentials, in this process.

    Args:
        read: URLs of folders, manifests or images.
        written: URLs of what is written meanwhile.

    Raises:
        ConfigError: Two of them are in one bucket.
    """
    places = {urls.bucket_of(urls.absolute_url(url)): url for url in written}
    own = places.keys() - {""}
    for url in read:
        bucket = urls.bucket_of(urls.absolute_url(url))
        if bucket in own:
            raise ConfigError(
                f"--anonymous reads {bucket} without credentials, but {places[bucket]} is to be "
                "written there; leave it out, or write elsewhere"
            )
    credentials.use_no_credentials(own)
