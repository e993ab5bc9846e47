"""Which results a person should look at first, and why.

Each reason has a severity in [0, 1]; together they are ``1 - prod(1 - severity)``, as if each were
the probability that something is wrong and they knew nothing of each other. What is unusual is
told by the run itself: the modified z-score ``0.6745 (x - median) / MAD`` of Iglewicz and Hoaglin
(1993), of which values beyond 3.5 are outliers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Values = NDArray[np.float64]

FEWEST = 8  # results that tell what is usual
OUTLIER = 3.5
_NORMAL = 0.6745  # MAD of a standard normal distribution
_USUAL_GAIN = 1.25  # of the mean gradient over that of the floor, by sharper edges


@dataclass(frozen=True)
class Reason:
    """One thing that speaks against a result.

    Attributes:
        item: Index of the row.
        kind: Short name, the same for all items.
        severity: In [0, 1].
        text: For people, with the figure.
    """

    item: int
    kind: str
    severity: float
    text: str


@dataclass(frozen=True)
class _Outlier:
    """A column whose unusual values are a reason.

    Attributes:
        column: Of a row.
        kind: Of the reason.
        side: +1 if high values are bad, -1 if low ones are, 0 if both are.
        least: Median absolute deviation that is taken at least: runs of equal items have none.
        most: Severity of the farthest outliers.
        form: Of a value, as ``format`` takes it.
        text: With a place for the value.
    """

    column: str
    kind: str
    side: int
    least: float
    most: float
    form: str
    text: str

    def told(self, value: float, median: float) -> str:
        """For people."""
        return f"{self.text.format(format(value, self.form))}, usually {format(median, self.form)}"


OUTLIERS = (
    _Outlier("mg", "unusual focus", -1, 0.2, 0.5, ".3g", "mean gradient {}"),
    _Outlier("mga", "unusual exposure", 0, 3.0, 0.3, ".0f", "mean grey {}"),
    _Outlier(
        "gain_max", "unusual exposure", 1, 0.02, 0.4, ".2f", "a frame made {} times as bright"
    ),
    _Outlier(
        "gain_min", "unusual exposure", -1, 0.02, 0.4, ".2f", "a frame made {} times as bright"
    ),
    _Outlier("align_score_after", "poor registration", -1, 0.01, 0.6, ".3f", "a frame fits to {}"),
    _Outlier("valid_share", "large border", -1, 0.01, 0.3, ".0%", "{} seen by all frames"),
    _Outlier("low_confidence_share", "low confidence", 1, 0.02, 0.5, ".0%", "{} in focus nowhere"),
    _Outlier(
        "consistency", "unlike its sources", 1, 2e-4, 0.4, ".2g", "{} from them, made smaller"
    ),
    _Outlier("psnr_db", "far from the reference", -1, 0.5, 0.6, ".1f", "PSNR {} dB"),
)


def reasons(rows: pa.Table) -> list[Reason]:
    """Everything that speaks against the results of a run.

    Args:
        rows: One per item, with the columns of ``runs.attempts.SCHEMA``; null is not known.

    Returns:
        By no order; items without one are fine as far as a row tells.
    """
    ok = pc.equal(rows["status"], "ok").to_numpy()
    found = [*_failed(rows), *_dropped(rows, ok), *_floor_used(rows, ok)]
    found += [*_low_confidence(rows, ok), *_made_up(rows, ok)]
    for outlier in OUTLIERS:
        found += _outliers(numbers(rows, outlier.column), ok, outlier)
    return found


def doubt(count: int, found: Sequence[Reason]) -> Values:
    """Doubt of each of ``count`` items, (count,), in [0, 1]; of equal kinds the worst counts."""
    worst: dict[tuple[int, str], float] = {}
    for reason in found:
        key = reason.item, reason.kind
        worst[key] = max(worst.get(key, 0.0), reason.severity)
    trust = np.ones(count)
    for (item, _), severity in worst.items():
        trust[item] *= 1 - severity
    return 1 - trust


def numbers(rows: pa.Table, name: str) -> Values:
    """A column (n,), NaN where it is null."""
    values: Values = pc.fill_null(rows[name].cast(pa.float64()), np.nan).to_numpy()
    return values


def gradient_gain(rows: pa.Table) -> Values:
    """Mean gradient over that of the classical floor (n,); NaN where there is no floor."""
    floor = numbers(rows, "floor_mg")
    gain: Values = numbers(rows, "mg") / np.where(floor > 0, floor, np.nan)
    return gain


def _failed(rows: pa.Table) -> list[Reason]:
    is_bad = pc.is_in(rows["status"], value_set=pa.array(["error", "quarantined"]))
    where = np.flatnonzero(is_bad.to_numpy())
    part = rows.take(pa.array(where)).select(["status", "category"])
    return [
        Reason(int(item), "failed", 1.0, f"no result: {category or 'error'}, {status}")
        for item, status, category in zip(where, *map(pa.ChunkedArray.to_pylist, part), strict=True)
    ]


def _dropped(rows: pa.Table, ok: NDArray[np.bool_]) -> list[Reason]:
    dropped, count = dropped_frames(rows)
    return [
        Reason(int(item), "frames left out", 0.4 + 0.5 * dropped[item] / count[item],
               f"{dropped[item]} of {count[item]} frames fit no other and were left out")
        for item in np.flatnonzero(ok & (dropped > 0))
    ]  # fmt: skip


def dropped_frames(rows: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames that were left out and frames there are, (n,) each; 0 where it is not known."""
    flags = rows["align_flags"].combine_chunks()
    parents, names = pc.list_parent_indices(flags).to_numpy(), pc.list_flatten(flags)
    failed = parents[pc.equal(names, "failed").to_numpy(zero_copy_only=False)]
    n = rows.num_rows
    return np.bincount(failed, minlength=n), np.bincount(parents, minlength=n)


def _floor_used(rows: pa.Table, ok: NDArray[np.bool_]) -> list[Reason]:
    used = pc.fill_null(rows["used_floor"], False).to_numpy()
    text = "back projection took the place of a worse result"
    return [Reason(int(item), "floor used", 0.25, text) for item in np.flatnonzero(ok & used)]


def _low_confidence(rows: pa.Table, ok: NDArray[np.bool_]) -> list[Reason]:
    share = numbers(rows, "low_confidence_share")
    return [
        Reason(int(item), "low confidence", float(share[item]) * 0.8,
               f"{share[item]:.0%} in focus nowhere")
        for item in np.flatnonzero(ok & (share > 0.5))  # noqa: PLR2004 - most of the image
    ]  # fmt: skip


def _made_up(rows: pa.Table, ok: NDArray[np.bool_]) -> list[Reason]:
    """Detail beyond that of the floor by more than sharper edges, and more than usual here."""
    gain = gradient_gain(rows)
    known = gain[ok & np.isfinite(gain)]
    limit = max(_USUAL_GAIN, float(np.median(known)) * 1.15) if len(known) else _USUAL_GAIN
    return [
        Reason(int(item), "made-up gradient", min(0.8, 0.3 + (float(gain[item]) - limit)),
               f"mean gradient {gain[item]:.2f} times that of the classical floor")
        for item in np.flatnonzero(ok & (gain > limit))
    ]  # fmt: skip


def _outliers(values: Values, ok: NDArray[np.bool_], outlier: _Outlier) -> list[Reason]:
    known = values[ok & np.isfinite(values)]
    if len(known) < FEWEST:
        return []
    median = float(np.median(known))
    spread = max(float(np.median(np.abs(known - median))), outlier.least)
    far = _NORMAL * (values - median) / spread
    far = np.abs(far) if outlier.side == 0 else far * outlier.side
    severity = _severity(outlier.most)
    return [
        Reason(int(item), outlier.kind, severity(float(far[item])),
               outlier.told(float(values[item]), median))
        for item in np.flatnonzero(ok & (far > OUTLIER))
    ]  # fmt: skip


def _severity(most: float) -> Callable[[float], float]:
    """From a third of ``most`` at the edge of what is usual to ``most`` at three times that."""
    return lambda far: most * min(1.0, far / (3 * OUTLIER))
