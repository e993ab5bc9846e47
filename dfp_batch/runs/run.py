"""``dfp_batch.Run``: what a run has made, for programs and notebooks."""

from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike, fspath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dfp_batch.errors import ConfigError, ObjectMissingError
from dfp_batch.io import storage, urls
from dfp_batch.io.codec.frame import Pixels
from dfp_batch.io.result_image import read_image
from dfp_batch.runs import failures, run_directory, status
from dfp_batch.runs.failures import Group
from dfp_batch.runs.manifest import folder_name
from dfp_batch.runs.status import RunStatus


class Run:
    """A run, as its directory tells; it may be going on.

    Nothing is read before it is asked for. Every call reads what is there now, but items take their
    rows from the table that was read last; ``table()`` reads it anew.

    Args:
        url: Run directory, a path or a URL.

    Attributes:
        url: Absolute.
    """

    def __init__(self, url: str | PathLike[str]) -> None:
        self.url = urls.absolute_url(fspath(url)).rstrip("/")
        self._rows: pa.Table | None = None

    def __repr__(self) -> str:
        return f"Run({self.url!r})"

    def table(self) -> pa.Table:
        """One row per pair that has one, in the order of the manifest; ``to_pandas()`` is yours.

        Raises:
            ConfigError: There is no run.
            LedgerError: The run directory is damaged.
        """
        self._rows = status.results(self.url)
        return self._rows

    def status(self) -> RunStatus:
        """How it stands.

        Raises:
            ConfigError: There is no run.
        """
        return RunStatus.read(self.url)

    def failures(self) -> list[Group]:
        """Failed and quarantined pairs, a group per cause, the largest first.

        Raises:
            ConfigError: There is no run.
            LedgerError: The run directory is damaged.
        """
        return failures.failures(self.url)

    def item(self, pair_id: str) -> "Item":
        """One pair; nothing is read yet."""
        return Item(self, pair_id)

    def row(self, pair_id: str) -> dict[str, Any]:
        """The row of a pair.

        Raises:
            ConfigError: There is no such pair in the run, or nothing has become of it yet.
            LedgerError: The run directory is damaged.
        """
        found = _row_of(self._rows, pair_id) or _row_of(self.table(), pair_id)
        if found is None:
            raise ConfigError(self._why_no_row(pair_id))
        return found

    def _why_no_row(self, pair_id: str) -> str:
        ids = run_directory.read_ids(self.url).to_pylist()
        if pair_id in ids:
            return f"{self.url}: pair {pair_id!r} is pending, it has no row yet"
        alike = get_close_matches(pair_id, ids, 1)
        return f"{self.url} has no pair {pair_id!r}" + (f", but {alike[0]!r}" if alike else "")


def _row_of(rows: pa.Table | None, pair_id: str) -> dict[str, Any] | None:
    """Of a table, if it is in it."""
    if rows is None:
        return None
    place = pc.index(rows["pair_id"], pair_id).as_py()
    found: list[dict[str, Any]] = rows.slice(place, 1).to_pylist() if place >= 0 else []
    return found[0] if found else None


@dataclass(frozen=True, repr=False)
class Item:
    """One pair of a run; in a notebook it shows its preview.

    Attributes:
        run: Of it.
        pair_id: Of it.
    """

    run: Run
    pair_id: str

    def __repr__(self) -> str:
        return f"{self.run!r}.item({self.pair_id!r})"

    @property
    def row(self) -> dict[str, Any]:
        """Its row of the table.

        Raises:
            ConfigError: There is no such pair in the run, or nothing has become of it yet.
            LedgerError: The run directory is damaged.
        """
        return self.run.row(self.pair_id)

    @property
    def url(self) -> str:
        """Of its image, in this run, which may have been moved.

        Raises:
            ConfigError: As for ``row``.
            ObjectMissingError: It has none: it has failed.
        """
        row = self.row
        if row["status"] != "ok":
            failed = f"{row['status']}, {row['category']}: {row['error_message']}"
            raise ObjectMissingError(f"{self.run.url}: {self.pair_id!r} has no image ({failed})")
        return self._file(row["output_url"].rpartition("/")[2])

    def image(self) -> Pixels:
        """The image, whole.

        Returns:
            (H, W) or (H, W, 3), RGB, or (H, W, C) of sources of C channels; samples as they are
            stored, uint8, uint16, float32, ..., without alpha.

        Raises:
            ConfigError: As for ``row``.
            ObjectMissingError: It has none.
            StorageError: The store failed.
        """
        return read_image(self.url)

    def _repr_jpeg_(self) -> bytes | None:
        """The preview, for a notebook; None if there is none."""
        preview = self._file("preview.jpg")
        return storage.read_bytes(preview) if storage.exists(preview) else None

    def _file(self, name: str) -> str:
        return urls.join(self.run.url, "outputs", folder_name(self.pair_id), name)
