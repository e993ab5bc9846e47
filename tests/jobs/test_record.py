"""The table of the records, and the files that were made of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dfp_batch.evaluation.records import read_items

JOB = "records"
ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "results"
FOLDERS = sorted(path for path in RESULTS.iterdir() if path.is_dir())
APART = {"paper-tables", "paper-figures", "speed"}  # made of several evaluations, or of none


@pytest.fixture(scope="module")
def records(job):
    """The table."""
    return job.RECORDS


def test_every_folder_belongs_to_a_record(records):
    assert {folder.name for folder in FOLDERS} <= set(records) | APART


def test_no_file_of_record_names_a_place():
    headers = [json.loads(path.read_text()) for path in RESULTS.glob("*/evaluation.json")]
    for header in [one for found in headers for one in found.get("parts", {"": found}).values()]:
        assert "/" not in header["set"]
        assert '"/' not in json.dumps(header["methods"])


def test_records_have_twelve_items_or_say_otherwise(records):
    for folder in [folder for folder in FOLDERS if folder.name not in APART]:
        items = {row["item"] for row in read_items(folder / "items.csv")}
        assert len(items) >= 12 or records[folder.name].what.startswith(f"{len(items)} ")


def test_every_record_has_methods(records):
    for record in records.values():
        assert len(record.methods()) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no record nothing"),
        (["real-pairs"], "record real-pairs needs --pairs"),
        (
            ["paper-tables", "--pairs", "pairs.parquet"],
            "record paper-tables needs --pairs, --externals, --srcnn and --published",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(arguments, message):
    command = [sys.executable, str(ROOT / "jobs" / "record_results.py"), *arguments]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert message in refused.stderr
