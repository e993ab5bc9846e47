"""What sessions that ended too early have left in a run directory, and nobody needs.

Only names that this program writes, in the folders of this run's own pairs, and parts whose rows
are all in another part. When in doubt a file stays:

- a pair that is still to be done, and one that was done once, keeps what is there;
- a finished result (it has its result.json) stays, with or without a row;
- of a pair that is done, only an image of another format than the one its row names goes.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from dfp_batch.errors import ObjectMissingError
from dfp_batch.io import storage, urls
from dfp_batch.io.parallel import in_parallel
from dfp_batch.runs.attempts import read_attempts, visible
from dfp_batch.runs.compaction import superseded
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import folder_name
from dfp_batch.runs.run_directory import read_header, read_ids

_RECEIPT = "result.json"
_IMAGE = re.compile(r"fused\.(png|(ome\.)?tiff?|jpg|jpeg|webp)")
_OURS = re.compile(
    rf"{_IMAGE.pattern}|(decision|confidence|valid)\.png|registration\.json|preview\.jpg"
)
_TEMPORARY = re.compile(r"\.dfp-[0-9a-f]{32}\.part")


@dataclass(frozen=True)
class Leftover:
    """A file that no row refers to.

    Attributes:
        url: Of the file.
        size_bytes: Of the file.
    """

    url: str
    size_bytes: int


@dataclass(frozen=True)
class _State:
    """What the ledger says of a pair.

    Attributes:
        pair_id: Of the run.
        image: Name of its image, if it is done.
        keeps: Whether all that is there stays: it is to be done, or was done once.
    """

    pair_id: str
    image: str | None
    keeps: bool


def leftovers(url: str, meanwhile: Callable[[], None] = lambda: None) -> Iterator[Leftover]:
    """Find them; nothing is deleted.

    Args:
        url: Run directory.
        meanwhile: Called about once a second.

    Raises:
        ConfigError: if it is no run of ours.
        LedgerError: if it is damaged.
        StorageError: if the store failed.
    """
    read_header(url)
    for part in superseded(url):
        yield from _sized([part])
    states = _states(url)
    for found in in_parallel(lambda state: _of_pair(url, state), states, meanwhile):
        yield from found


def collect(ledger: Ledger, moved: Callable[[], None] = lambda: None) -> Iterator[Leftover]:
    """Delete them; yields each once it is gone.

    Args:
        ledger: An open session, so that nobody is writing.
        moved: Called about once a second.

    Raises:
        RunHeldError: if another driver took the run over.
        StorageError: if the store failed, or nothing may be deleted.
    """

    def beat() -> None:
        ledger.tick(0)
        moved()

    for leftover in leftovers(ledger.url, beat):
        ledger.tick(0)
        storage.delete(leftover.url)
        yield leftover


def _states(url: str) -> Iterator[_State]:
    """Of the pairs of this run that have a folder."""
    _, folders = storage.list_folder(urls.join(url, "outputs"))
    there = set(folders)
    attempts = read_attempts(url)
    was_ok = set(attempts.filter(pc.equal(attempts["status"], "ok"))["pair_id"].to_pylist())
    rows = visible(attempts).select(["pair_id", "status", "output_url"])
    shown: dict[str, dict[str, Any]] = {row["pair_id"]: row for row in rows.to_pylist()}
    for pair_id in read_ids(url).to_pylist():
        if folder_name(pair_id) not in there:
            continue
        row = shown.get(pair_id)
        is_ok = row is not None and row["status"] == "ok"
        image = row["output_url"].rpartition("/")[2] if row is not None and is_ok else None
        yield _State(pair_id, image, not is_ok and (row is None or pair_id in was_ok))


def _of_pair(url: str, state: _State) -> list[Leftover]:
    folder = urls.join(url, "outputs", folder_name(state.pair_id))
    names, _ = storage.list_folder(folder)
    found = [name for name in names if _TEMPORARY.fullmatch(name)]
    if state.image in names:
        found += [name for name in names if _IMAGE.fullmatch(name) and name != state.image]
    elif state.image is None and not state.keeps and _RECEIPT not in names:
        found += [name for name in names if _OURS.fullmatch(name)]
    return list(_sized(urls.join(folder, name) for name in found))


def _sized(urls: "Iterator[str] | list[str]") -> Iterator[Leftover]:
    for url in urls:
        try:
            yield Leftover(url, storage.size_bytes(url))
        except ObjectMissingError:  # gone by itself, as temporary files do
            continue
