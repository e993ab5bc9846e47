"""Few large parts of a ledger in place of many small ones.

A new part is written and read back before those whose rows it holds go away, and it names them, so
that whatever a crash leaves can be finished later. Until then rows are there twice, which reads
like once.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from dfp_batch.errors import LedgerError
from dfp_batch.io import storage
from dfp_batch.runs.attempts import parts, read_part, replaced_by, together
from dfp_batch.runs.ledger import SMALL_PARTS, Ledger

ROWS_PER_PART = 100_000


def compact(ledger: Ledger, chosen: Sequence[str] | None = None) -> tuple[int, int]:
    """Put the parts of a run together.

    Args:
        ledger: An open session on the run.
        chosen: URLs of parts; None is all.

    Returns:
        How many parts there were, and how many there are now.

    Raises:
        LedgerError: if a part is damaged, or a new one does not hold what it must.
        RunHeldError: if another driver took the run over.
    """
    before = parts(ledger.url)
    for url in superseded(ledger.url):
        storage.delete(url)
    there = [url for url in parts(ledger.url) if chosen is None or url in set(chosen)]
    for group, rows in _groups(there):
        written = ledger.write_part(rows)
        if read_part(written).num_rows != rows.num_rows:
            raise LedgerError(f"{written} does not hold all rows; nothing was deleted, delete it")
        for url in group:
            storage.delete(url)
    return len(before), len(parts(ledger.url))


def compact_session(ledger: Ledger) -> None:
    """Put together what this session has written, if that is many parts."""
    own = [url for url in parts(ledger.url) if _name(url).startswith(f"part-{ledger.epoch:06d}-")]
    if len(own) > SMALL_PARTS:
        compact(ledger, own)


def superseded(url: str) -> list[str]:
    """Parts of a run whose rows are all in another part that was made of them."""
    there = {_name(part): part for part in parts(url)}
    replaced = {name for part in there.values() for name in replaced_by(part)}
    return [part for name, part in there.items() if name in replaced]


def _groups(urls: Sequence[str]) -> Iterator[tuple[list[str], pa.Table]]:
    """Small parts with about ``ROWS_PER_PART`` rows together; what is large or alone stays."""
    group: list[str] = []
    tables: dict[str, pa.Table] = {}
    for url in urls:
        table = read_part(url)
        if table.num_rows >= ROWS_PER_PART:
            continue
        group.append(url)
        tables[_name(url)] = table
        if sum(table.num_rows for table in tables.values()) >= ROWS_PER_PART:
            if len(group) > 1:
                yield group, together(tables)
            group, tables = [], {}
    if len(group) > 1:
        yield group, together(tables)


def _name(url: str) -> str:
    return url.rpartition("/")[2]
