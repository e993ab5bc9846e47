"""Whether the sources of a run are read without credentials: said once, kept beside the run.

``RUN/access.json`` is there if they are; whatever works on the run reads it first. The bucket of
the run itself, and that of a registration that is used again, need credentials all the same.
"""

import json

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


def read_only(url: str, written: str | None) -> None:
    """Read a folder without credentials, in this process.

    Args:
        url: Of the folder, or of a manifest.
        written: URL of what is written meanwhile, or None.

    Raises:
        ConfigError: Both are in one bucket.
    """
    own = urls.bucket_of(urls.absolute_url(written)) if written else ""
    if own and own == urls.bucket_of(urls.absolute_url(url)):
        raise ConfigError(
            f"--anonymous reads {own} without credentials, but {written} is to be written there; "
            "leave it out, or write elsewhere"
        )
    credentials.use_no_credentials({own})
