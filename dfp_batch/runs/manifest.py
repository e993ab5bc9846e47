"""The manifest: one row per pair or stack, checked as a whole before anything runs.

Parquet with the columns of ``columns.MANIFEST``; others are ignored, and relative URLs start at the
manifest. The short form has ``foreground`` and ``background`` (string) in place of ``sources``.
There ``pair_id`` may be missing: the id is then the foreground's file name without its extension
and without a final ``_A`` or ``-A``.
"""

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from dfp_batch.errors import ConfigError, ManifestError, ObjectMissingError
from dfp_batch.io.storage import read_bytes, write_bytes
from dfp_batch.io.urls import absolute_url, without_version
from dfp_batch.runs.columns import MANIFEST, schema_of
from dfp_batch.runs.row_problems import (
    CONTROL,
    camera_problems,
    frame_problems,
    mask_problems,
    reference_problems,
    source_problems,
)

_SCHEMA = schema_of(MANIFEST)
_TEXT_COLUMNS = ("pair_id", "foreground", "background", "reference", "camera")
_LIST_COLUMNS = ("sources", "reference_sources", "masks")
_NUMBER_COLUMNS = ("reference_frame",)
_OPTIONAL_COLUMNS = ("reference", "reference_sources", "masks", "reference_frame", "camera")
BUILD = "`dfp-batch manifest DIR` builds one"
_SHOWN = 10
ORIGIN = b"dfp-batch"  # in the metadata of the file, see ``runs.origin``
_ROWS_AT_ONCE = 10_000  # as Python's own objects, which take ten times the memory of the columns
_LONGEST_NAME_BYTES = 200
_ENCODED = len("%00")  # most that becomes of a byte


@dataclass(frozen=True, slots=True)  # a run holds a million
class Pair:
    """One item of work: N sources of one scene.

    Attributes:
        pair_id: Unique in the manifest.
        sources: Absolute URLs of the N >= 2 sources, or of the one file that holds them.
        reference: Absolute URL of the truth; used for metrics only.
        reference_sources: Absolute URLs of two sources at output size; used for metrics only.
        masks: Absolute URLs of N images, white where that source is in focus; used for metrics
            only.
        reference_frame: Index, from 0, of the source that the others are registered to; None is
            the method's own choice.
        camera: What took the sources; None is what their EXIF data say.
    """

    pair_id: str
    sources: tuple[str, ...]
    reference: str | None = None
    reference_sources: tuple[str, ...] | None = None
    masks: tuple[str, ...] | None = None
    reference_frame: int | None = None
    camera: str | None = None


class _Row(NamedTuple):
    """One row as the file holds it: anything may be null."""

    pair_id: str | None
    sources: list[str | None] | None
    reference: str | None = None
    reference_sources: list[str | None] | None = None
    masks: list[str | None] | None = None
    reference_frame: int | None = None
    camera: str | None = None


def read_manifest(url: str) -> list[Pair]:
    """Read and check a whole manifest.

    Args:
        url: URL or path of the Parquet file.

    Returns:
        The pairs in the order of the rows, with absolute URLs.

    Raises:
        ManifestError: Names every problem that was found, the first ten in words.
        StorageError: The store failed.
    """
    table = _read_table(url)
    pairs: list[Pair] = []
    problems: list[str] = []
    first_row: dict[str, int] = {}
    for number, row in enumerate(_rows(table)):
        pair, wrong = _checked(row, url)
        first = first_row.setdefault(pair.pair_id, number)
        if first != number and pair.pair_id:
            wrong.append(f"the same pair_id as row {first}; each pair needs its own")
        problems += [f"manifest row {number} (pair_id {row.pair_id!r}): {text}" for text in wrong]
        pairs.append(pair)
    if problems:
        refuse(url, problems)
    return pairs


def write_manifest(url: str, pairs: Iterable[Pair]) -> None:
    """Write a normalised manifest.

    Raises:
        StorageError: The store failed.
    """
    write_bytes(url, manifest_bytes(pairs))


def manifest_bytes(pairs: Iterable[Pair], origin: Mapping[str, Any] | None = None) -> bytes:
    """A normalised manifest: all columns with an explicit schema.

    Args:
        pairs: In the order of the rows.
        origin: What it was made of, for ``origin.made_from``; JSON values.
    """
    left, buffer = iter(pairs), BytesIO()
    known = {ORIGIN: json.dumps(origin).encode()} if origin is not None else None
    with pq.ParquetWriter(buffer, _SCHEMA.with_metadata(known)) as writer:
        while rows := list(islice(left, _ROWS_AT_ONCE)):
            writer.write_batch(_batch(rows))
    return buffer.getvalue()


def _batch(rows: Sequence[Pair]) -> pa.RecordBatch:
    columns = [
        pa.array((getattr(pair, field.name) for pair in rows), field.type, size=len(rows))
        for field in _SCHEMA
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)


def manifest_sha256(pairs: Iterable[Pair]) -> str:
    """Hash the content; the order of the rows does not count, the order of sources does."""
    digest = hashlib.sha256()
    for pair in sorted(pairs, key=lambda pair: pair.pair_id):
        row: list[Any] = [pair.pair_id, pair.sources, pair.reference, pair.reference_sources]
        row += [] if pair.masks is None else [pair.masks]  # older runs keep their hash
        row += [] if pair.reference_frame is None else [pair.reference_frame]
        row += [] if pair.camera is None else [{"camera": pair.camera}]
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def folder_name(pair_id: str) -> str:
    """Percent-encode an id to one folder name; two ids never share a name."""
    return quote(pair_id, safe=" -_.+@=,")


def id_problems(pair_id: str | None) -> list[str]:
    """Say what is wrong with an id, in words; nothing if it is usable."""
    if pair_id is None:
        return ["pair_id is null"]
    if pair_id in ("", ".", ".."):
        return [f"pair_id must be usable as a folder name, got {pair_id!r}"]
    if CONTROL.search(pair_id):
        return ["pair_id must not hold control characters"]
    if _ENCODED * len(pair_id.encode()) <= _LONGEST_NAME_BYTES:
        return []
    length = len(folder_name(pair_id))
    if length > _LONGEST_NAME_BYTES:
        return [f"pair_id must be at most {_LONGEST_NAME_BYTES} bytes percent-encoded, is {length}"]
    return []


def parquet_source(data: bytes) -> pa.BufferReader:
    """A file for Arrow's readers, in memory of its own.

    Arrow's threads let go of what they read after the reader has returned. Were it Python's memory,
    they would need the interpreter for that, and a process that is ending would abort.
    """
    stream = pa.BufferOutputStream()
    stream.write(data)
    return pa.BufferReader(stream.getvalue())


# Reading


def _read_table(url: str) -> pa.Table:
    """Read the known columns, with at least one row and of the right types."""
    try:
        file = pq.ParquetFile(parquet_source(read_bytes(url)))
        names = file.schema_arrow.names
        known = (*_TEXT_COLUMNS, *_LIST_COLUMNS, *_NUMBER_COLUMNS)
        table = file.read([name for name in known if name in names])
        table.validate(full=True)
    except ObjectMissingError as error:
        raise ManifestError(f"{error}; expected a Parquet manifest, {BUILD}") from error
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise ManifestError(f"{url}: is not a whole Parquet file ({reason}); {BUILD}") from error
    problems = _column_problems(names) or _type_problems(table.schema)
    if not problems and not table.num_rows:
        problems = [f"holds 0 rows, expected at least one pair; {BUILD}"]
    if problems:
        refuse(url, problems)
    return table


def _column_problems(names: Sequence[str]) -> list[str]:
    needed = {"pair_id", "sources"} if "sources" in names else {"foreground", "background"}
    if needed <= set(names):
        return []
    found = ", ".join(names) or "none"
    return [f"columns must be pair_id and sources, or foreground and background; found {found}"]


def _type_problems(schema: pa.Schema) -> list[str]:
    problems = []
    for field in schema:
        expected, accepts = _expected(field.name)
        if not accepts(field.type):
            problems.append(f"column {field.name!r} must be {expected}, found {field.type}")
    return problems


def _expected(column: str) -> tuple[str, Callable[[pa.DataType], bool]]:
    """The type of a column in words, and the check for it."""
    if column in _NUMBER_COLUMNS:
        return "integer", _is_integer
    return ("list<string>", _is_text_list) if column in _LIST_COLUMNS else ("string", _is_text)


def _is_integer(kind: pa.DataType) -> bool:
    return bool(pa.types.is_null(kind) or pa.types.is_integer(kind))


def _is_text(kind: pa.DataType) -> bool:
    """Accept every Arrow type of strings, and a column of nulls alone."""
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return pa.types.is_null(kind) or any(check(kind) for check in checks)


def _is_text_list(kind: pa.DataType) -> bool:
    checks = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    is_list = any(check(kind) for check in checks)
    return pa.types.is_null(kind) or (is_list and _is_text(kind.value_type))


def _rows(table: pa.Table) -> Iterator[_Row]:
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        nothing = [None] * batch.num_rows
        sources = columns.get("sources") or _couples(columns)
        ids = columns.get("pair_id") or [_id_of(couple[0]) for couple in sources]
        optional = [columns.get(name, nothing) for name in _OPTIONAL_COLUMNS]
        yield from map(_Row, ids, sources, *optional)


def _couples(columns: dict[str, list[Any]]) -> list[list[str | None]]:
    return [list(row) for row in zip(columns["foreground"], columns["background"], strict=True)]


def _id_of(foreground: str | None) -> str | None:
    """The file name without extension and without a final ``_A`` or ``-A``."""
    if foreground is None:
        return None
    stem = posixpath.splitext(posixpath.basename(without_version(foreground)))[0]
    return re.sub(r"(?<=.)[_-][Aa]$", "", stem)


# Checking


def _checked(row: _Row, base: str) -> tuple[Pair, list[str]]:
    """Resolve one row; what is wrong with it, in words."""
    wrong = id_problems(row.pair_id)
    sources = _resolved("sources", row.sources, base, wrong)
    wrong += source_problems(sources) if row.sources is not None else []
    reference = None
    if row.reference is not None:
        reference = _resolved_one("reference", row.reference, base, wrong)
    reference_sources = masks = None
    if row.reference_sources is not None:
        reference_sources = _resolved("reference_sources", row.reference_sources, base, wrong)
        wrong += reference_problems(reference_sources)
    if row.masks is not None:
        masks = _resolved("masks", row.masks, base, wrong)
        wrong += mask_problems(masks, sources)
    wrong += frame_problems(row.reference_frame, sources)
    wrong += camera_problems(row.camera)
    named = row.pair_id or "", sources, reference, reference_sources, masks
    return Pair(*named, row.reference_frame, row.camera or None), wrong


def _resolved(
    column: str, urls: Sequence[str | None] | None, base: str, wrong: list[str]
) -> tuple[str, ...]:
    """Make URLs absolute; adds to ``wrong`` and keeps an empty text for what cannot be used."""
    if urls is None:
        wrong.append(f"{column} is null, expected a list of URLs")
        return ()
    try:
        return tuple([absolute_url(url or "", base) for url in urls])
    except ConfigError:  # which of them, and whether others
        labels = (f"{column}[{index}]" for index in range(len(urls)))
        return tuple(
            _resolved_one(label, url, base, wrong) for label, url in zip(labels, urls, strict=True)
        )


def _resolved_one(label: str, url: str | None, base: str, wrong: list[str]) -> str:
    try:
        return absolute_url(url or "", base)
    except ConfigError as error:
        wrong.append(f"{label}: {'URL is null' if url is None else error}")
        return ""


def refuse(url: str, problems: list[str]) -> NoReturn:
    """Raise ManifestError with the first of the problems."""
    more = len(problems) - _SHOWN
    shown = problems[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])
    raise ManifestError(f"{url}: {'; '.join(shown)}")
