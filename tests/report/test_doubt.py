"""What speaks against a result."""

import numpy as np
import pyarrow as pa
import pytest

from dfp_batch.report.doubt import Reason, doubt, reasons
from dfp_batch.runs.attempts import SCHEMA

USUAL = {"status": "ok", "mg": 10.0, "mga": 120.0, "gain_max": 1.0, "floor_mg": 9.0}


def table(*rows, usual=10):
    """Usual rows, then those that differ by what is given."""
    every = [dict(USUAL) for _ in range(usual)] + [USUAL | row for row in rows]
    needed = {"run_id": "r", "epoch": 1, "attempt": 1}
    filled = [{**needed, "pair_id": f"p{n}", **row} for n, row in enumerate(every)]
    return pa.Table.from_pylist(filled, schema=SCHEMA)


def told(row):
    return {(one.kind, one.text) for one in reasons(table(row)) if one.item == 10}


def test_nothing_speaks_against_equal_results():
    assert reasons(table()) == []


@pytest.mark.parametrize(
    ("row", "kind", "text"),
    [
        ({"status": "error", "category": "input"}, "failed", "no result: input, error"),
        ({"align_flags": ["reference", "failed", "registered"]}, "frames left out",
         "1 of 3 frames fit no other and were left out"),
        ({"used_floor": True}, "floor used", "back projection took the place of a worse result"),
        ({"low_confidence_share": 0.75}, "low confidence", "75% in focus nowhere"),
        ({"mg": 18.0}, "made-up gradient",
         "mean gradient 2.00 times that of the classical floor"),
        ({"mg": 5.0}, "unusual focus", "mean gradient 5, usually 10"),
        ({"mga": 20.0}, "unusual exposure", "mean grey 20, usually 120"),
        ({"gain_max": 1.5}, "unusual exposure", "a frame made 1.50 times as bright, usually 1.00"),
    ],
)  # fmt: skip
def test_every_reason_has_its_figure(row, kind, text):
    assert told(row) == {(kind, text)}


def test_few_results_do_not_tell_what_is_usual():
    assert reasons(table({"mg": 5.0}, usual=5)) == []


def test_the_farther_the_more_doubt():
    severity = {one.item: one.severity for one in reasons(table({"mg": 8.5}, {"mg": 6.0}))}
    assert severity[10] < severity[11] <= 0.5


def test_reasons_of_one_kind_count_once_and_others_add_up():
    found = [Reason(1, "a", 0.5, ""), Reason(1, "a", 0.4, ""), Reason(1, "b", 0.5, "")]
    assert np.array_equal(doubt(3, found), [0, 0.75, 0])
