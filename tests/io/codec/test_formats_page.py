"""docs/formats.md names a test that exists for every line of its tables."""

import re
import tomllib
from pathlib import Path

import pytest

from codec_samples import small_files

FOLDER = Path(__file__).parent
PAGE = (FOLDER.parents[2] / "docs" / "formats.md").read_text()
ENGINE = FOLDER.parents[1] / "engine"
FILES = [*FOLDER.glob("*.py"), *FOLDER.parent.glob("*.py"), *ENGINE.glob("*.py")]
TESTS = set(re.findall(r"^def (test_\w+)", "".join(p.read_text() for p in FILES), re.M))
TABLES, _, READERS = PAGE.partition("## Readers and their licences")
ROWS = [line for line in TABLES.splitlines() if line.startswith("| ") and "| test |" not in line]
PROJECT = tomllib.loads((FOLDER.parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("row", ROWS)
def test_every_line_is_backed_by_a_test(row):
    assert re.search(r"`(test_\w+)`", row)[1] in TESTS


def test_the_text_names_tests_that_exist():
    assert set(re.findall(r"`(test_[a-z_]+)`", PAGE)) <= TESTS
    assert len(ROWS) > 30


def test_the_number_of_kinds_is_right():
    assert f"of {len(small_files())} kinds" in PAGE


def test_every_reader_is_installed_with_the_package_or_an_extra():
    extras = [part for parts in PROJECT["optional-dependencies"].values() for part in parts]
    known = {re.split(r"[<>=\[]", part)[0] for part in [*PROJECT["dependencies"], *extras]}
    rows = [line for line in READERS.splitlines() if line.startswith("| ")][1:]
    readers = {
        name for row in rows for name in re.findall(r"[\w-]+", row.split("|")[2].split("(")[0])
    }
    assert readers - {"own"} <= known
    for name in re.findall(r"extra `(\w+)`", READERS):
        assert name in PROJECT["optional-dependencies"]
