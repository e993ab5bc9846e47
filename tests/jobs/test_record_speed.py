"""The page of speed is what its records give, and losses stand beside wins."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORDS = sorted((ROOT / "tests" / "benchmarks" / "results" / "speed").glob("x*.json"))


def job(*arguments):
    command = [sys.executable, ROOT / "jobs" / "record_speed.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.process
def test_the_page_is_up_to_date_and_unknown_records_are_refused():
    assert job("--check").returncode == 0
    refused = job("nothing")
    assert refused.returncode == 2
    assert "there is no record nothing" in refused.stderr


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_record_says_where_and_beside_whom(path):
    found = json.loads(path.read_text())
    assert found["machine"]["cpu"]
    assert "/" not in json.dumps(found["stack"])
    peers = {"focus-stack", "enfuse"} if found["stack"]["scale"] == 1 else set()
    assert set(found["results"]) >= peers | {"classical", "fast"}
