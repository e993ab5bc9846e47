"""Statistics over the items: mean, 95 % confidence interval, worst 5 %, paired differences.

A PSNR of two identical images is infinite; from 100 dB on it counts as 100 dB here, in the rows it
stays what it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from dfp_batch.evaluation.scores import DIRECTIONS
from dfp_batch.evaluation.work import Row

CAP_DB = 100.0
_CONFIDENCE = 0.95
_WORST_OF = 20  # one item in twenty: 5 %

_COUNT = pa.int32()
_NUMBER = pa.float64()
SCHEMA = pa.schema(
    [
        pa.field("set", pa.string(), nullable=False),
        pa.field("scale", pa.int32(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("errors", pa.int32(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        ("values", _COUNT),
        ("mean", _NUMBER),
        ("ci95", _NUMBER),
        ("worst5_mean", _NUMBER),
        ("versus", pa.string()),
        ("pairs", _COUNT),
        ("difference_mean", _NUMBER),
        ("difference_ci95", _NUMBER),
        ("wins", _COUNT),
        ("losses", _COUNT),
    ]
)


def summarise(rows: Sequence[Row], methods: Sequence[str], versus: str) -> list[Row]:
    """A row per scale, method and metric.

    Args:
        rows: As ``work.SCHEMA`` has them, of one set.
        methods: In the order of the tables.
        versus: Method whose value for the same item is subtracted.

    Returns:
        Rows of ``SCHEMA``: ``n`` items are ok and ``errors`` are not; ``values`` of them have the
        metric; ``mean`` +- ``ci95`` is the 95 % confidence interval; ``pairs`` items have it for
        both methods. What cannot be said is None: ``ci95`` of one item, what is worse or wins where
        no direction is better, and a method's difference to itself.
    """
    found: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["scale"], row["method"]), []).append(row)
    summary: list[Row] = []
    for scale in dict.fromkeys(row["scale"] for row in rows):
        others = found.get((scale, versus), [])
        for method in methods:
            fixed = {"set": rows[0]["set"], "scale": scale, "method": method, "versus": versus}
            own = found.get((scale, method), [])
            summary += _of_method(fixed, own, others if method != versus else [])
    return summary


def _of_method(fixed: Row, own: Sequence[Row], other: Sequence[Row]) -> list[Row]:
    """A row per metric of one method at one scale."""
    good = sum(row["status"] == "ok" for row in own)
    counted = {**fixed, "n": good, "errors": len(own) - good}
    rows = [
        {**counted, "metric": metric, **statistics(metric, own, other)} for metric in DIRECTIONS
    ]
    return [{name: row[name] for name in SCHEMA.names} for row in rows]


def statistics(metric: str, own: Iterable[Row], other: Iterable[Row]) -> Row:
    """The statistics of one metric of one method, and of its difference to another one."""
    mine, theirs = _values(metric, own), _values(metric, other)
    values = np.array(list(mine.values()))
    shared = [item for item in mine if item in theirs]
    differences = np.array([mine[item] - theirs[item] for item in shared])
    direction = DIRECTIONS[metric]
    ranked = direction != 0 and len(shared) > 0
    return {
        "values": len(values),
        "mean": _mean(values),
        "ci95": confidence_95(values),
        "worst5_mean": worst_mean(values, direction),
        "pairs": len(shared),
        "difference_mean": _mean(differences),
        "difference_ci95": confidence_95(differences),
        "wins": int((direction * differences > 0).sum()) if ranked else None,
        "losses": int((direction * differences < 0).sum()) if ranked else None,
    }


def confidence_95(values: NDArray[np.float64]) -> float | None:
    """Half the width of the 95 % confidence interval of the mean, by Student's t.

    Args:
        values: One per item; items are taken as independent.

    Returns:
        ``t(0.975, n - 1) * s / sqrt(n)``; None for fewer than two values.
    """
    count = len(values)
    if count < 2:  # noqa: PLR2004
        return None
    quantile = stats.t.ppf((1 + _CONFIDENCE) / 2, count - 1)
    return float(quantile * values.std(ddof=1) / np.sqrt(count))


def worst_mean(values: NDArray[np.float64], direction: int) -> float | None:
    """Mean of the worst 5 % of the values, at least one of them.

    Args:
        values: One per item.
        direction: 1 if more is better, -1 if less is; with 0 there is no worst.
    """
    if direction == 0 or len(values) == 0:
        return None
    count = -(-len(values) // _WORST_OF)
    return float(np.sort(direction * values)[:count].mean() * direction)


def _values(metric: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """By item; decibels are capped."""
    cap = CAP_DB if metric.endswith("_db") else np.inf
    return {
        row["item"]: min(row[metric], cap)
        for row in rows
        if row["status"] == "ok" and row.get(metric) is not None  # older rows lack newer ones
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None
