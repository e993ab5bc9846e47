"""What a reviewer says of results: ``RUN/marks.json``.

A mark is for the attempt that was looked at. Once the item is made anew the mark counts no more,
so ``retry --rejected`` takes a result once, and the new one is looked at again.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

import pyarrow as pa

from dfp_batch.errors import ConfigError, ObjectMissingError
from dfp_batch.io import storage, urls
from dfp_batch.runs.attempts import visible

NAME = "marks.json"
Mark = Literal["accepted", "rejected"]
_Attempt = tuple[int, int]  # epoch, attempt
_EXPECTED = (
    'expected {"marks": {"ID": {"mark": "accepted" or "rejected", "epoch": 1, "attempt": 1}}}'
)


def standing_marks(url: str, attempts: pa.Table) -> dict[str, Mark]:
    """The marks of a run that are for results as they are now, by id.

    Args:
        url: Run directory.
        attempts: Its rows.

    Raises:
        ConfigError: if the file is not one of marks.
        StorageError: if it cannot be read.
    """
    now = _attempts_of(visible(attempts))
    return {
        pair_id: entry["mark"]
        for pair_id, entry in _read(url).items()
        if now.get(pair_id) == (entry["epoch"], entry["attempt"])
    }


def save_marks(url: str, changes: Mapping[str, Mark | None], attempts: pa.Table) -> int:
    """Take marks, and take them back where they are None.

    Args:
        url: Run directory.
        changes: By id.
        attempts: Rows of the run; marks are for the results that these tell of.

    Returns:
        How many marks the file has now.

    Raises:
        ConfigError: for an id without a row, another word, or a file that is not one of marks.
        StorageError: if it cannot be written.
    """
    now, entries = _attempts_of(visible(attempts)), _read(url)
    for pair_id, mark in changes.items():
        if mark is None:
            entries.pop(pair_id, None)
        elif mark not in get_args(Mark):
            raise ConfigError(f"a mark must be accepted or rejected, got {mark!r}")
        elif pair_id not in now:
            raise ConfigError(f"{url} has no result of {pair_id!r} that could be marked")
        else:
            epoch, attempt = now[pair_id]
            entries[pair_id] = {"mark": mark, "epoch": epoch, "attempt": attempt}
    content = json.dumps({"marks": entries}, indent=1).encode()
    storage.write_bytes(urls.join(url, NAME), content)
    return len(entries)


def _attempts_of(rows: pa.Table) -> dict[str, _Attempt]:
    ids, epochs, attempts = (rows[name].to_pylist() for name in ("pair_id", "epoch", "attempt"))
    return dict(zip(ids, zip(epochs, attempts, strict=True), strict=True))


def _read(url: str) -> dict[str, dict[str, Any]]:
    target = urls.join(url, NAME)
    try:
        content = json.loads(storage.read_bytes(target))
        entries = dict(content["marks"])
        whole = all(_is_entry(entry) for entry in entries.values())
    except ObjectMissingError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{target} is no file of marks ({error!r}); {_EXPECTED}") from error
    if not whole:
        raise ConfigError(f"{target} is no file of marks; {_EXPECTED}")
    return entries


def _is_entry(entry: Any) -> bool:  # noqa: ANN401 - of a file
    return (
        isinstance(entry, dict)
        and entry.get("mark") in get_args(Mark)
        and all(isinstance(entry.get(name), int) for name in ("epoch", "attempt"))
    )
