"""What a run is, as its directory says it: run.json, and the manifests of its pairs."""

import json
import platform
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfp_batch.errors import ConfigError, LedgerError, ManifestError
from dfp_batch.io import storage, urls
from dfp_batch.runs.manifest import Pair, manifest_sha256, parquet_source, read_manifest

if TYPE_CHECKING:  # it imports torch, which reading a run does not need
    from dfp_batch.config.run_config import RunConfig

SCHEMA_VERSION = 1
_APPENDED = re.compile(r"[0-9]{6,9}\.parquet")
_HEADER = {  # what is read of run.json
    "run_id": str,
    "config": dict,
    "fingerprint": str,
    "manifest_sha256": str,
    "pairs": int,
}


def create_or_compare(url: str, config: "RunConfig", pairs: Sequence[Pair]) -> dict[str, Any]:
    """Write run.json, or find that it asks for the same.

    Returns:
        Its content.

    Raises:
        ConfigError: if the run has another configuration or manifest; names the fields.
        LedgerError: if what is there is not ours.
    """
    header: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run_id": uuid.uuid4().hex,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": config.fingerprint,
        "config": config.values(),
        "given": config.given,
        "manifest_sha256": manifest_sha256(pairs),
        "pairs": len(pairs),
        "versions": _versions(),
    }
    target = urls.join(url, "run.json")
    if storage.create_bytes(target, json.dumps(header, indent=1).encode()):
        return header
    existing = read_header(url)
    before, given = existing["config"], existing.get("given")
    is_same = config.resumes(before, given)
    changed = [] if is_same else differences(before, header["config"])
    if not _is_of(pairs, existing["manifest_sha256"], url):
        changed.append(
            f"manifest: {existing['pairs']} pairs -> {len(pairs)} pairs, or other URLs or cameras "
            "(more pairs are added by --append MORE.parquet)"
        )
    if changed:
        raise ConfigError(
            f"{url} holds a run with another configuration: {'; '.join(changed)}. "
            "Use the same settings to resume it, or another --output for a new run"
        )
    return existing


def _is_of(pairs: Sequence[Pair], sha256: str, url: str) -> bool:
    """Whether a run began with these pairs; older versions took no notice of their cameras."""
    if manifest_sha256(pairs) == sha256:
        return True
    snapshot = urls.join(url, "manifest.parquet")
    if not storage.exists(snapshot) or "camera" in _read(snapshot).column_names:
        return False
    return manifest_sha256(replace(pair, camera=None) for pair in pairs) == sha256


def _versions() -> dict[str, str]:
    packages = ("dfp-batch", "torch", "ray", "opencv-python-headless", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One ``path: old -> new`` for every value that differs."""
    paths = sorted({*before, *after})
    return [
        f"{path}: {before.get(path, 'absent')} -> {after.get(path, 'absent')}"
        for path in paths
        if before.get(path) != after.get(path)
    ]


def read_header(url: str) -> dict[str, Any]:
    """Content of run.json.

    Raises:
        ConfigError: if there is none.
        LedgerError: if it is damaged, not ours, or of another schema version.
    """
    target = urls.join(url, "run.json")
    if not storage.exists(target):
        raise ConfigError(f"{url} is not a run directory: it has no run.json")
    try:
        header = json.loads(storage.read_bytes(target))
    except ValueError as error:
        raise _damaged_header(target, f"is not whole JSON ({error})") from error
    if not isinstance(header, dict) or "schema_version" not in header:
        raise _damaged_header(target, "has no schema_version")
    if header["schema_version"] != SCHEMA_VERSION:
        raise LedgerError(
            f"{url} has schema version {header['schema_version']}, expected {SCHEMA_VERSION}; "
            "use the version of dfp-batch that wrote it"
        )
    wrong = [name for name, kind in _HEADER.items() if not isinstance(header.get(name), kind)]
    if wrong:
        raise _damaged_header(target, f"has no {', '.join(wrong)} as they must be")
    return header


def manifests(url: str) -> list[str]:
    """URLs of the manifests of a run: the one that it began with, and what was appended."""
    later = storage.list_files(urls.join(url, "appended"), ".parquet")
    appended = [file for file in later if _APPENDED.fullmatch(file.rpartition("/")[2])]
    return [urls.join(url, "manifest.parquet"), *appended]


def total_pairs(url: str) -> int:
    """How many pairs a run has.

    Raises:
        ConfigError: if there is no run.
        LedgerError: if it is damaged.
    """
    began = int(read_header(url)["pairs"])
    return began + sum(len(_ids_of(manifest)) for manifest in manifests(url)[1:])


def read_pairs(url: str, known: Sequence[Pair] = ()) -> list[Pair]:
    """All pairs of a run, in their order.

    Args:
        url: Run directory.
        known: Those that the run began with, if they are at hand; then only their order is read.

    Raises:
        LedgerError: if a manifest of the run is not there, damaged, or another one.
    """
    first, *later = manifests(url)
    try:
        began = _in_order(known, first) if known else read_manifest(first)
        return began + [pair for manifest in later for pair in read_manifest(manifest)]
    except ManifestError as error:
        raise LedgerError(
            f"{error}; this is a file of the run itself: restore it (the manifest that the run "
            "began with is written again by the next submit once the file is deleted)"
        ) from error


def _in_order(known: Sequence[Pair], snapshot: str) -> list[Pair]:
    by_id = {pair.pair_id: pair for pair in known}
    ids = _ids_of(snapshot).to_pylist()
    if set(ids) != by_id.keys():
        raise LedgerError(
            f"{snapshot} does not hold the {len(by_id)} pairs of the run; delete it, and the next "
            "submit of the same manifest writes it again"
        )
    return [by_id[pair_id] for pair_id in ids]


def read_ids(url: str) -> pa.Array:
    """As ``read_pairs``, the ids alone."""
    ids = [chunk for manifest in manifests(url) for chunk in _ids_of(manifest).chunks]
    return pa.concat_arrays(ids) if ids else pa.array([], pa.string())


def _ids_of(snapshot: str) -> pa.ChunkedArray:
    return _read(snapshot, ["pair_id"])["pair_id"]


def _read(snapshot: str, columns: Sequence[str] | None = None) -> pa.Table:
    data = storage.read_bytes(snapshot)
    try:
        table = pq.read_table(parquet_source(data), columns=columns)
        return table if columns is None else table.select(columns)
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise LedgerError(
            f"{snapshot} is not a whole manifest ({reason}); delete it, and the next submit of the "
            "same manifest writes it again"
        ) from error


def _damaged_header(target: str, fault: str) -> LedgerError:
    return LedgerError(
        f"{target} {fault}, expected what dfp-batch wrote when the run began; "
        "restore the file, or use another --output for a new run"
    )
