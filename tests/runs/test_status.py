"""How a run stands, as the driver counts it."""

from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.status import Counts


def record(pair_id, status):
    return PairRecord(pair_id, 1, status, "publish", 0.0, 1.0)


def test_a_pair_that_fails_and_then_succeeds_counts_once():
    counts = Counts(total=3, ok=1)
    for pair_id, status in [("a", "error"), ("b", "error"), ("a", "error"), ("a", "ok")]:
        counts.note(record(pair_id, status))
    assert (counts.ok, counts.failed) == (2, 1)
