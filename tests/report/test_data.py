"""What the page shows, of rows and facts alone."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from dfp_batch.report.data import MOST_ITEMS, summary
from dfp_batch.report.facts import Cause, RunFacts
from dfp_batch.report.headline import duration
from dfp_batch.runs.attempts import SCHEMA

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 2, 7, 30, tzinfo=UTC)
CAUSE = Cause("input", False, 1, "no image", ("b",), "then", "dfp-batch retry RUN --category input")


def at(seconds):
    return datetime.fromtimestamp(START.timestamp() + seconds, UTC)


def row(pair_id, begins, ends, status="ok", epoch=1, **facts):
    times = {"started_at": at(begins), "finished_at": at(ends)}
    size = {"width_px": 1000, "height_px": 500} if status == "ok" else {"category": "input"}
    own = {"run_id": "r", "pair_id": pair_id, "epoch": epoch, "attempt": 1, "status": status}
    return own | times | size | {"t_prepare_s": 1.0} | facts


def facts(ids, **more):
    return RunFacts("/runs/night", pa.array(ids, pa.string()), "fast", 2, None, 0, (), NOW, **more)


def shown(rows, ids, **more):
    return summary(pa.Table.from_pylist(rows, schema=SCHEMA), facts(ids, **more))


def test_totals_are_those_of_all_sessions():
    rows = [row("a", 0, 1800), row("b", 0, 3600, "error"), row("b", 90_000, 93_600, epoch=2)]
    totals = shown(rows, ["a", "b", "c"], price_per_hour=3.0).totals
    assert (totals.items, totals.ok, totals.failed, totals.pending) == (3, 2, 0, 1)
    assert (totals.clock_hours, totals.gigapixels) == (2.0, 0.001)
    assert (totals.cost, totals.cost_per_gigapixel) == (6.0, 6000.0)
    assert totals.items_per_hour == 1.0
    assert totals.task_hours == pytest.approx(3 / 3600)


def test_without_a_price_there_is_no_cost():
    totals = shown([row("a", 0, 10)], ["a"]).totals
    assert (totals.cost, totals.cost_per_gigapixel) == (None, None)


def test_items_of_most_doubt_come_first_and_keep_their_number():
    data = shown([row("a", 0, 1), row("b", 0, 2, "error"), row("c", 0, 3)], ["a", "b", "c", "d"])
    assert data.columns["pair_id"] == ["b", "a", "c", "d"]
    assert data.columns["number"] == [1, 0, 2, 3]
    assert data.columns["doubt"] == [1.0, 0, 0, 0]
    assert data.reasons[0] == [("failed", 1.0, "no result: input, error")]
    assert data.columns["status"][3] == "pending"


def test_rows_of_items_that_the_run_has_not_are_left_out():
    assert shown([row("x", 0, 1)], ["a"]).columns["pair_id"] == ["a"]


def test_throughput_goes_through_all_sessions():
    rows = [row("a", 0, 30), row("b", 0, 60, "error"), row("c", 90_000, 90_030, epoch=2)]
    bins = shown(rows, ["a", "b", "c"]).throughput
    assert {one.session for one in bins} == {1, 2}
    assert (sum(one.ok for one in bins), sum(one.failed for one in bins)) == (2, 1)
    assert bins[0].starts_at == "2026-01-01T00:00:00Z"
    assert len(bins) <= 60


@pytest.mark.parametrize(
    ("rows", "ids", "more", "sentence"),
    [
        ([], [], {}, "The run has no items."),
        ([row("a", 0, 26_000)], ["a"], {}, "All 1 items are done, in 7 h 13 min."),
        ([row("a", 0, 60)], ["a", "b"], {},
         "1 of 2 items are done, in 60 s; 1 are still to do (the same command goes on with them)."),
    ],
)  # fmt: skip
def test_the_headline_says_what_happened(rows, ids, more, sentence):
    assert shown(rows, ids, **more).headline == sentence


def test_the_headline_names_the_category_of_failures():
    rows = pa.Table.from_pylist([row("b", 0, 600, "error")], schema=SCHEMA)
    told = RunFacts("/r", pa.array(["a", "b"]), "fast", 2, "host 7", 1, (CAUSE,), NOW)
    data = summary(rows, told)
    assert data.headline == (
        "0 of 2 items are done, in 10 min; 1 failed (input); 1 are still to do (the run goes on)."
    )
    assert data.notes == (
        "This run is still going (host 7): the page shows it as of 07:30.",
        "No item has a result yet: there is nothing to look at below.",
    )


def test_columns_that_an_older_version_did_not_write_are_named():
    notes = shown([row("a", 0, 1, t_prepare_s=None)], ["a"]).notes
    assert notes == (
        "Not known for this run, which an older version wrote or left out: confidence, frames left "
        "out, made-up gradient, whether the floor was used, times of the steps.",
    )


def test_columns_are_short():
    long = row(
        "a", 0, 1, "error", error_message="x" * 5000, align_flags=["reference", "failed"],
        loss_curve=[100.0 - step for step in range(100)],
    )  # fmt: skip
    columns = shown([long], ["a"]).columns
    assert len(columns["error_message"][0]) == 400
    assert columns["frames_left_out"] == [1]
    (curve,) = columns["loss_curve"]
    assert (len(curve), curve[0], curve[-1]) == (40, 100, 1)
    assert {"align_flags", "output_sha256", "psnr_db"}.isdisjoint(columns)
    assert columns["finished_at"] == ["2026-01-01T00:00:01Z"]


def test_so_many_items_that_not_all_are_listed():
    ids = [f"p{number}" for number in range(MOST_ITEMS + 1)]
    data = shown([row(ids[-1], 0, 1, "error")], ids)
    assert len(data.columns["pair_id"]) == MOST_ITEMS
    assert data.columns["pair_id"][0] == ids[-1]
    assert data.totals.items == MOST_ITEMS + 1
    assert "20,000 of 20,001 items are listed, those of most doubt" in data.notes[-1]


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (0, "0 s"),
        (0.033, "119 s"),
        (0.034, "2 min"),
        (2.01, "2 h 01 min"),
        (1234.5, "1,234 h 30 min"),
    ],
)
def test_duration(hours, text):
    assert duration(hours) == text
