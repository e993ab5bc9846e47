"""What a manifest was made of, as its file remembers."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfp_batch.errors import ManifestError, ObjectMissingError
from dfp_batch.io.storage import read_bytes
from dfp_batch.runs.manifest import BUILD, ORIGIN, parquet_source


def made_from(url: str) -> dict[str, Any] | None:
    """What ``manifest_bytes`` was told that a manifest was made of; None if that was nothing.

    Raises:
        ManifestError: It is no manifest, or not there.
        StorageError: The store failed.
    """
    try:
        schema = pq.read_schema(parquet_source(read_bytes(url)))
        known: dict[str, Any] = json.loads((schema.metadata or {}).get(ORIGIN, b"null"))
    except ObjectMissingError as error:
        raise ManifestError(f"{error}; expected a Parquet manifest, {BUILD}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ManifestError(f"{url}: is not a whole Parquet file ({reason}); {BUILD}") from error
    return known
