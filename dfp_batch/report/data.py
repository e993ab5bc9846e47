"""What the page shows, as values: rows and facts of a run in, ``ReportData`` out; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfp_batch.report.columns import page_columns
from dfp_batch.report.doubt import doubt, reasons
from dfp_batch.report.facts import Cause, RunFacts, Totals
from dfp_batch.report.headline import headline
from dfp_batch.report.timing import Bin, hours_on_the_clock, task_hours, throughput
from dfp_batch.runs.attempts import visible

MOST_ITEMS = 20_000
_OF_ALL = (  # columns that are looked at of all items; a million rows in full are a GB
    *("pair_id", "epoch", "attempt", "status", "category", "width_px", "height_px"),
    *("align_flags", "align_score_after", "gain_min", "gain_max", "valid_share"),
    *("low_confidence_share", "used_floor", "consistency", "mg", "mga", "psnr_db", "floor_mg"),
    *("t_prepare_s", "device", "node"),
)
_OLDER = {  # columns the page is built on, and what is not known without them
    "low_confidence_share": "confidence",
    "align_flags": "frames left out",
    "floor_mg": "made-up gradient",
    "used_floor": "whether the floor was used",
    "t_prepare_s": "times of the steps",
}


@dataclass(frozen=True)
class ReportData:
    """The content of the page.

    Attributes:
        run: URL of the run directory.
        written_at: ISO 8601.
        driver: Who is at work on the run, or None.
        headline: What happened, in one sentence.
        notes: What the reader should know before: a run that goes on, or an older one.
        facts: Name and value, in the order to be shown.
        totals: Counts and sums.
        throughput: Finished items per bin of working time.
        causes: Of failures.
        columns: Of the items, by name; each of one value per item, those of most doubt first.
        reasons: Of the items, [kind, severity, text] each.
    """

    run: str
    written_at: str
    driver: str | None
    headline: str
    notes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    totals: Totals
    throughput: tuple[Bin, ...]
    causes: tuple[Cause, ...]
    columns: dict[str, list[Any]]
    reasons: list[list[tuple[str, float, str]]]


def summary(attempts: pa.Table, facts: RunFacts) -> ReportData:
    """The page's content.

    Args:
        attempts: All rows of a run, as ``runs.attempts.read_attempts`` gives them.
        facts: What is known beside.
    """
    rows = _one_per_item(visible(attempts.select(_OF_ALL)), facts.pair_ids)
    found = reasons(rows)
    values = doubt(rows.num_rows, found)
    order = np.argsort(-values, kind="stable")[:MOST_ITEMS]
    totals = _totals(rows, attempts, facts)
    place = {int(item): number for number, item in enumerate(order)}
    told: list[list[tuple[str, float, str]]] = [[] for _ in order]
    for reason in sorted(found, key=lambda one: -one.severity):
        if reason.item in place:
            entry = (reason.kind, round(reason.severity, 3), reason.text)
            told[place[reason.item]].append(entry)
    listed = facts.pair_ids.take(pa.array(order))
    their_own = attempts.filter(pc.is_in(attempts["pair_id"], value_set=listed))
    columns = page_columns(_one_per_item(visible(their_own), listed))
    columns |= {"number": order.tolist(), "doubt": [round(float(values[i]), 4) for i in order]}
    return ReportData(
        run=facts.run,
        written_at=facts.written_at.isoformat(timespec="seconds"),
        driver=facts.driver,
        headline=headline(totals, facts.driver, facts.causes),
        notes=tuple(_notes(rows, totals, facts)),
        facts=tuple(_facts(rows, facts)),
        totals=totals,
        throughput=tuple(throughput(attempts)),
        causes=facts.causes,
        columns=columns,
        reasons=told,
    )


def _one_per_item(rows: pa.Table, pair_ids: pa.Array) -> pa.Table:
    """A row for every item of the run, in its order; those that have none are ``pending``."""
    known = rows["pair_id"].combine_chunks()
    table = rows.take(pc.index_in(pair_ids, value_set=known))
    status = pc.fill_null(table["status"], "pending")
    table = table.set_column(table.schema.get_field_index("status"), "status", status)
    return table.set_column(table.schema.get_field_index("pair_id"), "pair_id", pair_ids)


def _totals(rows: pa.Table, attempts: pa.Table, facts: RunFacts) -> Totals:
    counts = {one["values"]: one["counts"] for one in pc.value_counts(rows["status"]).to_pylist()}
    ok = rows.filter(pc.equal(rows["status"], "ok"))
    pixels = pc.multiply(ok["width_px"].cast(pa.int64()), ok["height_px"].cast(pa.int64()))
    gigapixels = (pc.sum(pixels).as_py() or 0) / 1e9
    clock = hours_on_the_clock(attempts)
    finished = rows.num_rows - counts.get("pending", 0)
    cost = None if facts.price_per_hour is None else facts.price_per_hour * clock
    return Totals(
        items=rows.num_rows,
        ok=counts.get("ok", 0),
        failed=counts.get("error", 0),
        quarantined=counts.get("quarantined", 0),
        pending=counts.get("pending", 0),
        running=facts.running,
        gigapixels=gigapixels,
        clock_hours=clock,
        task_hours=task_hours(attempts),
        items_per_hour=finished / clock if clock > 0 else None,
        cost=cost,
        cost_per_gigapixel=cost / gigapixels if cost is not None and gigapixels > 0 else None,
    )


def _notes(rows: pa.Table, totals: Totals, facts: RunFacts) -> list[str]:
    notes = []
    if facts.driver:
        now = f"{facts.written_at:%H:%M}"
        notes.append(f"This run is still going ({facts.driver}): the page shows it as of {now}.")
    if totals.ok == 0:
        notes.append("No item has a result yet: there is nothing to look at below.")
    done = rows.filter(pc.equal(rows["status"], "ok"))
    missing = [what for name, what in _OLDER.items() if _is_unknown(done, name)]
    if missing:
        text = ", ".join(missing)
        notes.append(f"Not known for this run, which an older version wrote or left out: {text}.")
    if rows.num_rows > MOST_ITEMS:
        notes.append(
            f"{MOST_ITEMS:,} of {rows.num_rows:,} items are listed, those of most doubt; "
            "`dfp-batch results RUN --output table.parquet` has all of them."
        )
    return notes


def _is_unknown(done: pa.Table, name: str) -> bool:
    return bool(done.num_rows) and bool(done[name].null_count == done.num_rows)


def _facts(rows: pa.Table, facts: RunFacts) -> Sequence[tuple[str, str]]:
    devices = pc.unique(rows["device"]).drop_null().to_pylist()
    nodes = pc.unique(rows["node"]).drop_null().to_pylist()
    named = {
        "run": facts.run,
        "preset": facts.preset,
        "enlargement": f"x{facts.scale}",
        "devices": ", ".join(devices),
        "nodes": f"{len(nodes)}" if nodes else "",
        "dfp-batch": facts.versions.get("dfp-batch", ""),
    }
    return [(name, value) for name, value in named.items() if value]
