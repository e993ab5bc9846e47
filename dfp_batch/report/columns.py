"""Rows of a run as lists for the page: what is shown, rounded, short."""

import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dfp_batch.report.doubt import dropped_frames, gradient_gain
from dfp_batch.runs.attempts import SCHEMA
from dfp_batch.runs.manifest import folder_name

LONGEST_TEXT = 400
DIGITS = 5
CURVE = 40  # values of a curve that the page has
_LEFT_OUT = {"run_id", "fingerprint", "output_url", "output_sha256", "source_versions", "adopted",
             "align_flags", "schema_version"}  # fmt: skip


def page_columns(rows: pa.Table) -> dict[str, list[Any]]:
    """Columns of the items by name; those that are null throughout are left out.

    Args:
        rows: One per item, with the columns of ``SCHEMA``.

    Returns:
        Those of the ledger; ``frames_left_out``; ``gradient_gain``, the mean gradient over that of
        the floor; ``seconds``, of all stages; ``file``, of the result in the folder of its item;
        ``folder``, of the item in ``outputs/``.
    """
    shown = [column.name for column in SCHEMA if column.name not in _LEFT_OUT]
    columns = {name: _plain(rows[name]) for name in shown if rows[name].null_count < len(rows)}
    left_out, known = (counts.tolist() for counts in dropped_frames(rows))
    times = [_plain(rows[f"t_{stage}_s"]) for stage in ("prepare", "reconstruct", "publish")]
    derived: dict[str, list[Any]] = {
        "frames_left_out": [n if of else None for n, of in zip(left_out, known, strict=True)],
        "gradient_gain": [_number(float(gain)) for gain in gradient_gain(rows)],
        "seconds": [_sum(each) for each in zip(*times, strict=True)],
        "file": [_file(url) for url in rows["output_url"].to_pylist()],
        "folder": [folder_name(pair_id) for pair_id in rows["pair_id"].to_pylist()],
    }
    return columns | {
        name: values for name, values in derived.items() if any(v is not None for v in values)
    }


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Values that JSON holds, and a page can."""
    if pa.types.is_timestamp(column.type):
        text = pc.strftime(
            pc.cast(column, pa.timestamp("s", "UTC"), safe=False), "%Y-%m-%dT%H:%M:%SZ"
        )
        return list(text.to_pylist())
    values = column.to_pylist()
    if pa.types.is_floating(column.type):
        return [_number(value) for value in values]
    if pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type):
        return [None if value is None else _thinned(value) for value in values]
    if pa.types.is_list(column.type):
        return [None if value is None else _short(", ".join(value)) for value in values]
    if pa.types.is_string(column.type):
        return [_short(value) for value in values]
    return list(values)


def _number(value: float | None) -> float | None:
    """Five digits; null for what JSON has no word for."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def _thinned(curve: list[float]) -> list[float | None]:
    """Some of a curve, from its first value to its last."""
    count = min(len(curve), CURVE)
    places = [round(step * (len(curve) - 1) / max(1, count - 1)) for step in range(count)]
    return [_number(curve[place]) for place in places]


def _short(text: str | None) -> str | None:
    if text is None or len(text) <= LONGEST_TEXT:
        return text
    return text[: LONGEST_TEXT - 1] + "\u2026"


def _sum(times: tuple[float | None, ...]) -> float | None:
    known = [time for time in times if time is not None]
    return _number(sum(known)) if known else None


def _file(url: str | None) -> str | None:
    return None if url is None else url.rpartition("/")[2]
