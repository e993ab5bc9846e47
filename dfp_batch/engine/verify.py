"""Whether the results of a run are still there and as they were written, and what they are made of.

What is missing or changed is requeued: the next session does it again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from dfp_batch.engine import image_files
from dfp_batch.errors import ObjectAccessError, ObjectMissingError
from dfp_batch.io import urls
from dfp_batch.io.parallel import in_parallel
from dfp_batch.io.stack_files import version_of
from dfp_batch.runs.attempts import read_attempts, visible
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair, folder_name
from dfp_batch.runs.run_directory import read_pairs

SHOWN_IDS = 5

State = Literal["whole", "missing", "changed", "unreadable"]


@dataclass(frozen=True)
class Finding:
    """What became of the result of one pair.

    Attributes:
        pair_id: Of the run.
        state: Of its image.
        fault: What is wrong with it, in words; "" if it is whole.
        changed: URLs of sources whose content is another than the one it is made of.
        gone: URLs of sources that cannot be read any more.
    """

    pair_id: str
    state: State
    fault: str = ""
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass
class Verification:
    """What became of the results of a run.

    Attributes:
        findings: Of pairs where not all is as it was.
        whole: Images that are as they were written.
        requeued: Pairs that the next session does again.
    """

    findings: list[Finding] = field(default_factory=list)
    whole: int = 0
    requeued: int = 0

    @property
    def is_fine(self) -> bool:
        """Whether all images are whole, and none is to be made again."""
        return not self.requeued and self.count("unreadable") == 0

    def count(self, state: State) -> int:
        """Images in this state, other than whole."""
        return sum(finding.state == state for finding in self.findings)

    def lines(self) -> list[str]:
        """The summary, and what is to be known of sources."""
        counts = [f"{self.count(state)} {state}" for state in ("missing", "changed", "unreadable")]
        lines = [f"verified: {self.whole} whole, {', '.join(counts)}; {self.requeued} requeued"]
        for what, ids in (
            ("have changed since (with --sources they are done again)", self._ids("changed")),
            ("cannot be read any more; their results are kept", self._ids("gone")),
        ):
            if ids:
                more = f" and {len(ids) - SHOWN_IDS} more" if len(ids) > SHOWN_IDS else ""
                lines.append(f"sources of {', '.join(ids[:SHOWN_IDS])}{more} {what}")
        return lines

    def _ids(self, of: str) -> list[str]:
        return [finding.pair_id for finding in self.findings if getattr(finding, of)]


def verify(
    ledger: Ledger, with_sources: bool, moved: Callable[[int, int], None] = lambda *_: None
) -> Verification:
    """Read every image of a run again and requeue what is missing or changed.

    Sources are asked for their version only. A pair is not requeued for a source that cannot be
    read: its result would be given up for an error.

    Args:
        ledger: An open session, which must end before the pairs are run.
        with_sources: Requeue pairs whose sources have changed, too.
        moved: Called with the number of pairs that are done, and of all; whatever it raises ends
            the work, and what was found until then stays.

    Raises:
        LedgerError: if the run is damaged.
        RunHeldError: if another driver took it over.
        StorageError: if the store failed.
    """
    rows = visible(read_attempts(ledger.url))
    rows = rows.filter(pc.equal(rows["status"], "ok"))
    verification, total = Verification(), rows.num_rows
    done = 0

    def beat() -> None:
        ledger.tick(0)
        moved(done, total)

    pairs = {pair.pair_id: pair for pair in read_pairs(ledger.url)}
    tasks = ((pairs[row["pair_id"]], row) for row in _rows(rows) if row["pair_id"] in pairs)
    for finding in in_parallel(lambda task: _inspect(ledger.url, *task), tasks, beat):
        done += 1
        _note(finding, ledger, verification, with_sources)
        beat()
    return verification


def _note(finding: Finding, ledger: Ledger, found: Verification, with_sources: bool) -> None:
    found.whole += finding.state == "whole"
    if finding != Finding(finding.pair_id, "whole"):
        found.findings.append(finding)
    why = finding.fault if finding.state in {"missing", "changed"} else ""
    if with_sources and finding.changed and not finding.gone:
        why = why or f"{finding.changed[0]}: has changed since"
    if why:
        found.requeued += 1
        ledger.requeue(finding.pair_id, "verify", why)


def _rows(rows: pa.Table) -> Iterator[dict[str, Any]]:
    names = ["pair_id", "output_url", "output_sha256", "output_bytes", "source_versions"]
    for batch in rows.select(names).to_batches():
        yield from batch.to_pylist()


def _inspect(run_url: str, pair: Pair, row: dict[str, Any]) -> Finding:
    state, fault = _image(run_url, pair, row)
    changed: list[str] = []
    gone: list[str] = []
    for url, before in zip(pair.sources, row["source_versions"] or (), strict=False):
        try:
            changed += [url] if version_of(url) != before else []
        except (ObjectMissingError, ObjectAccessError):
            gone.append(url)
    return Finding(pair.pair_id, state, fault, tuple(changed), tuple(gone))


def _image(run_url: str, pair: Pair, row: dict[str, Any]) -> tuple[State, str]:
    """Its state and what is wrong; it is looked for in this run, which may have been moved."""
    name = row["output_url"].rpartition("/")[2]
    url = urls.join(run_url, "outputs", folder_name(pair.pair_id), name)
    try:
        size, expected = image_files.size_bytes(url), row["output_bytes"]
        if expected is not None and size != expected:
            return "changed", f"{url}: holds {size} bytes, {expected} were written"
        is_whole = image_files.sha256(url) == row["output_sha256"]
    except ObjectMissingError:
        return "missing", f"{url}: is not there any more"
    except ObjectAccessError as error:
        return "unreadable", str(error)
    return ("whole", "") if is_whole else ("changed", f"{url}: is not what was written")
