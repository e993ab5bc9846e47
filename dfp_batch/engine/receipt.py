"""result.json: what a finished pair leaves beside its image, written last.

A row is written by the driver, some seconds after. If the driver, or the way to it, dies in
between, the receipt tells the next attempt that the work is done: it is adopted, not done again.
"""

import json
from collections.abc import Mapping
from typing import Any

from dfp_batch.config.run_config import RunConfig
from dfp_batch.engine import image_files
from dfp_batch.errors import ObjectMissingError
from dfp_batch.io import storage, urls
from dfp_batch.io.stack_files import version_of
from dfp_batch.runs.manifest import Pair, folder_name, manifest_sha256

NAME = "result.json"


def to_bytes(pair: Pair, run: RunConfig, facts: Mapping[str, Any]) -> bytes:
    """The file.

    Args:
        pair: What was done.
        run: How.
        facts: Columns of the row, ``output_url``, ``output_sha256`` and ``source_versions`` among
            them.
    """
    return json.dumps({**_identity(pair, run), "facts": dict(facts)}, indent=1).encode()


def adopt(pair: Pair, run: RunConfig, run_url: str) -> dict[str, Any] | None:
    """Columns of the row of a result that is there, whole, and what this run would make.

    Returns:
        None if there is none, or if configuration, sources or image are others now.

    Raises:
        StorageError: if the store failed, or a source cannot be read.
    """
    try:
        content = json.loads(storage.read_bytes(_place(pair.pair_id, run_url)))
        facts: dict[str, Any] = content.pop("facts")
        if content != _identity(pair, run) or facts["source_versions"] != versions(pair):
            return None
        is_whole = image_files.sha256(facts["output_url"]) == facts["output_sha256"]
    except (ObjectMissingError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return {**facts, "adopted": True} if is_whole else None


def withdraw(pair_id: str, run_url: str) -> None:
    """Nobody adopts the result of a pair any more; the image stays until another takes its place.

    Raises:
        StorageError: if the store failed.
    """
    storage.delete(_place(pair_id, run_url))


def versions(pair: Pair) -> list[str]:
    """What identifies the content of every source, without reading it.

    Raises:
        StorageError: if a source is not there, or the store failed.
    """
    return [version_of(url) for url in pair.sources]


def _place(pair_id: str, run_url: str) -> str:
    return urls.join(run_url, "outputs", folder_name(pair_id), NAME)


def _identity(pair: Pair, run: RunConfig) -> dict[str, str]:
    return {"pair_sha256": manifest_sha256([pair]), "fingerprint": run.fingerprint}
