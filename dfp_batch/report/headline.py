"""What happened, in one sentence."""

from collections import Counter
from collections.abc import Sequence

from dfp_batch.report.facts import Cause, Totals

_HOUR_MIN = 60


def headline(totals: Totals, driver: str | None, causes: Sequence[Cause]) -> str:
    """The sentence at the top of the page.

    Args:
        totals: Of the run.
        driver: Who is at work on it, or None.
        causes: Of failures.
    """
    if totals.items == 0:
        return "The run has no items."
    took = f", in {duration(totals.clock_hours)}" if totals.clock_hours else ""
    if totals.ok == totals.items:
        return f"All {totals.items:,} items are done{took}."
    parts = [f"{totals.ok:,} of {totals.items:,} items are done{took}"]
    bad = totals.failed + totals.quarantined
    if bad:
        parts.append(f"{bad:,} failed{_mostly(bad, causes)}")
    if totals.pending:
        going = "the run goes on" if driver else "the same command goes on with them"
        parts.append(f"{totals.pending:,} are still to do ({going})")
    return "; ".join(parts) + "."


def _mostly(bad: int, causes: Sequence[Cause]) -> str:
    """The most frequent category."""
    counts: Counter[str] = Counter()
    for cause in causes:
        counts[cause.category] += cause.count
    if not counts:
        return ""
    category, count = counts.most_common(1)[0]
    return f" ({category})" if count == bad else f" ({count:,} of them: {category})"


def duration(hours: float) -> str:
    """Hours for people: ``42 s``, ``13 min``, ``7 h 05 min``."""
    seconds = round(hours * 3600)
    if seconds < 2 * _HOUR_MIN:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 2 * _HOUR_MIN:
        return f"{minutes} min"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"
