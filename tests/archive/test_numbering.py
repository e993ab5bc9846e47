"""Numbers that are missing between the frames of a stack."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfp_batch.archive.numbering import missing_numbers, missing_text

FOUND = [
    (["1", "2", "4", "5"], ["3"]),
    (["x_001", "x_002", "x_005"], ["003", "004"]),
    (["z0", "z10", "z20", "z40"], ["30"]),
    (["2026-05-01_1", "2026-05-01_2", "2026-05-01_3", "2026-05-01_5"], ["4"]),
    (["IMG_9998", "IMG_9999", "IMG_0001", "IMG_0002"], []),  # a counter that began anew
    (["1", "2", "3"], []),
    (["1", "3"], []),
    (["a", "b", "d"], []),
    (["1_1", "1_2", "2_1", "2_2", "2_4"], []),
    (["20260501101112", "20260501101115", "20260501101159"], []),
    (["1", "2", "2", "3"], []),
    (["x_1", "y_2", "z_4"], []),
    ([], []),
]


@pytest.mark.parametrize(("stems", "missing"), FOUND)
def test_missing_numbers(stems, missing):
    assert missing_numbers(stems) == missing


def test_many_are_not_all_told():
    assert missing_text(["1", "2", "3"]) == "1, 2, 3"
    assert missing_text([str(number) for number in range(9)]) == "0, 1, 2, 3, 4 and 4 more"


@given(st.integers(0, 10**9), st.integers(1, 100), st.integers(8, 40), st.data())
def test_what_is_taken_out_is_missing(first, step, count, data):
    every = [first + step * place for place in range(count)]
    gone = data.draw(st.sets(st.sampled_from(every[1:-1]), max_size=2))
    stems = [f"frame {number:010}" for number in every if number not in gone]
    assert missing_numbers(stems) == [f"{number:010}" for number in sorted(gone)]
