"""How fast a run is and how long it still takes, as the driver and as the ledger see it."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfp_batch.runs.attempts import SCHEMA
from dfp_batch.runs.pace import Pace, RecentEnds, pace_of, pixels_of

NOW = 1_800_000_000
COLUMNS = pa.schema(
    [SCHEMA.field(n) for n in ("started_at", "finished_at", "width_px", "height_px")]
)


def table(ends):
    """Rows of (seconds since ``NOW``, pixels); the first began at ``NOW``."""
    rows = [
        {
            "started_at": datetime.fromtimestamp(NOW, UTC),
            "finished_at": datetime.fromtimestamp(NOW + at, UTC),
            "width_px": pixels or None,
            "height_px": 1 if pixels else None,
        }
        for at, pixels in ends
    ]
    return pa.Table.from_pylist(rows, schema=COLUMNS)


def test_by_hand():
    pace = pace_of(table([(30, 2_000_000), (60, 4_000_000)]))
    assert pace == Pace(2, 6_000_000, 60.0)
    assert (pace.pairs_per_minute, pace.megapixels_per_second) == (2.0, 0.1)


def test_large_pairs_do_not_make_the_rest_seem_long():
    """Small pairs first, then large ones: what is left is like all so far, not like the last."""
    slow_now = Pace(pairs=10, pixels=100_000_000, seconds=100.0)
    assert slow_now.remaining_s(100, mean_pixels=2e6) == 200.0
    assert slow_now.remaining_s(100, mean_pixels=10e6) == 1000.0


def test_of_nothing_but_failures_the_number_counts():
    pace = pace_of(table([(30, 0), (60, 0)]))
    assert pace.megapixels_per_second is None
    assert pace.remaining_s(4, 0.0) == 120.0


@pytest.mark.parametrize("pace", [Pace(0, 0, 0.0), pace_of(table([])), RecentEnds(NOW).pace])
def test_before_the_first_pair_nothing_is_known(pace):
    assert pace.pairs_per_minute is None
    assert pace.megapixels_per_second is None
    assert pace.remaining_s(5, 1e6) is None


def test_of_nothing_left_there_is_no_time_left():
    assert Pace(3, 100, 10.0).remaining_s(0, 1e6) is None


def test_pixels_are_counted_in_more_than_32_bits():
    rows = table([(1, 70_000)])
    rows = rows.set_column(3, COLUMNS.field("height_px"), pa.array([70_000], pa.int32()))
    assert pixels_of(rows).to_pylist() == [4_900_000_000]


@given(st.lists(st.tuples(st.integers(1, 9000), st.integers(0, 10**6)), min_size=1))
def test_the_driver_and_the_ledger_agree(ends):
    ends.sort()
    recent = RecentEnds(NOW)
    for at, pixels in ends:
        recent.note(NOW + at, pixels)
    assert recent.pace == pace_of(table(ends))
