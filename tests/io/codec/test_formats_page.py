"""docs/formats.md names a test that exists for every line of its tables."""

import re
from pathlib import Path

import pytest

from codec_samples import small_files

FOLDER = Path(__file__).parent
PAGE = (FOLDER.parents[2] / "docs" / "formats.md").read_text()
TESTS = set(
    re.findall(r"^def (test_\w+)", "".join(p.read_text() for p in FOLDER.glob("*.py")), re.M)
)
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "| test |" not in line]


@pytest.mark.parametrize("row", ROWS)
def test_every_line_is_backed_by_a_test(row):
    assert re.search(r"`(test_\w+)`", row)[1] in TESTS


def test_the_text_names_tests_that_exist():
    assert set(re.findall(r"`(test_[a-z_]+)`", PAGE)) <= TESTS
    assert len(ROWS) > 30


def test_the_number_of_kinds_is_right():
    assert f"of {len(small_files())} kinds" in PAGE
