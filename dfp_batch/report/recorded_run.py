"""A run as its directory records it, read once for the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dfp_batch.config.run_config import Reading
from dfp_batch.report.data import ReportData, summary
from dfp_batch.report.facts import Cause, RunFacts
from dfp_batch.report.pictures import ItemPictures
from dfp_batch.runs import access
from dfp_batch.runs.attempts import SCHEMA, read_attempts, visible
from dfp_batch.runs.failures import SHOWN_IDS, failures
from dfp_batch.runs.lease import current_lease
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.run_directory import read_header, read_pairs

_LEFT_OUT = {"run_id", "fingerprint", "output_sha256", "adopted", "schema_version"}


@dataclass(frozen=True)
class RecordedRun:
    """Everything the page is made of, but the pictures.

    Attributes:
        url: Run directory.
        header: Content of run.json.
        attempts: All rows, without what nobody looks at.
        pairs: All items, in the order of the run.
        read_at: When.
    """

    url: str
    header: Mapping[str, Any]
    attempts: pa.Table
    pairs: list[Pair]
    read_at: datetime

    @classmethod
    def read(cls, url: str) -> "RecordedRun":
        """The run at ``url``, as it is now.

        Raises:
            ConfigError: if there is no run.
            LedgerError: if it is damaged.
            StorageError: if it cannot be read.
        """
        header = read_header(url)
        access.open_run(url, align_from=header["config"].get("align_from"))
        attempts = read_attempts(url, [name for name in SCHEMA.names if name not in _LEFT_OUT])
        return cls(url, header, attempts, read_pairs(url), datetime.now(UTC).astimezone())

    def summary(self, price_per_hour: float | None = None) -> ReportData:
        """What the page shows."""
        lease = current_lease(self.url)
        live = lease if lease is not None and lease.is_live(self.read_at.timestamp()) else None
        facts = RunFacts(
            run=self.url,
            pair_ids=pa.array([pair.pair_id for pair in self.pairs], pa.string()),
            preset=str(self._config.get("preset", "")),
            scale=int(self._config.get("scale", 1)),
            driver=live.driver if live else None,
            running=live.running if live else 0,
            causes=_causes(self.url),
            written_at=self.read_at,
            price_per_hour=price_per_hour,
            versions=self.header.get("versions", {}),
        )
        return summary(self.attempts, facts)

    def pictures(self, number: int) -> ItemPictures:
        """Of the item with this number, from 0, in the order of the run."""
        pair, config = self.pairs[number], self._config
        cropped = config.get("output.crop") == "valid"
        return ItemPictures(pair, self.row(pair.pair_id), self.url, _reading(config), cropped)

    def row(self, pair_id: str) -> dict[str, Any]:
        """The row of an item that counts; empty if there is none."""
        own = visible(self.attempts.filter(pc.equal(self.attempts["pair_id"], pair_id)))
        return dict(own.to_pylist()[0]) if own.num_rows else {}

    @property
    def _config(self) -> Mapping[str, Any]:
        return dict(self.header["config"])


def _reading(config: Mapping[str, Any]) -> Reading:
    """Also of runs whose other settings this version does not know."""
    own = {
        name: config[f"reading.{name}"] for name in vars(Reading()) if f"reading.{name}" in config
    }
    return Reading(**own)


def _causes(url: str) -> tuple[Cause, ...]:
    return tuple(
        Cause(
            group.category,
            group.quarantined,
            len(group.pair_ids),
            group.message,
            tuple(group.pair_ids[:SHOWN_IDS]),
            *group.advice_and_command(url),
        )
        for group in failures(url)
    )
