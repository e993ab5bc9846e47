"""Failures in groups: what belongs together, and what to do next."""

import io

import pytest
from rich.console import Console

from dfp_batch.config.run_config import run_config
from dfp_batch.errors import ConfigError
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.failures import failures, print_failures, without_names
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair

PAIRS = [Pair(f"plate {k:02d}", (f"/my scans/{k}_A.png", f"/my scans/{k}_B.png")) for k in range(9)]
CONFIG = run_config("classical", None, {})


def row(k, category, message, status="error", finished_at=2.0):
    return PairRecord(
        PAIRS[k].pair_id, 1, status, "prepare", 1.0, finished_at, category, "E", message
    )


@pytest.fixture
def url(tmp_path):
    rows = [row(k, "input", f"/my scans/{k}_B.png: is empty ({k} bytes)") for k in (6, 2, 1, 3, 4)]
    rows.append(row(5, "input", "/my scans/5_B.png: is empty (5 bytes)", finished_at=9.0))
    rows.append(row(0, "input", "/my scans/0_B.png: is no image"))
    rows.append(row(7, "crash", "the process died (exit code 139)", "quarantined"))
    with Ledger.open(str(tmp_path / "it's"), CONFIG, PAIRS) as ledger:
        for each in [*rows, PairRecord("plate 08", 1, "ok", "publish", 1.0, 2.0)]:
            ledger.append(each)
    return str(tmp_path / "it's")


def test_one_group_per_cause_the_largest_first(url):
    groups = failures(url)
    assert [(group.category, len(group.pair_ids)) for group in groups] == [
        ("input", 6),
        ("input", 1),
        ("crash", 1),
    ]
    assert groups[0].pair_ids == [f"plate {k:02d}" for k in (1, 2, 3, 4, 5, 6)]
    assert groups[0].message == "/my scans/5_B.png: is empty (5 bytes)", "of the latest"


def test_what_is_shown_names_the_next_command(url):
    console = Console(file=io.StringIO(), width=60)
    print_failures(console, url, failures(url))
    lines = console.file.getvalue().splitlines()
    quoted = url.replace("it's", "it'\"'\"'s")
    assert lines[:4] == [
        "6 pairs: input",
        "    /my scans/5_B.png: is empty (5 bytes)",
        "    plate 01, plate 02, plate 03, plate 04, plate 05 and 1 more",
        f"    next: put the files in order, then dfp-batch retry '{quoted}' --category input",
    ]
    assert lines[8] == "1 pair: crash, quarantined"
    assert lines[11].endswith(" --category crash --quarantined")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "sources differ in size, 512x512 px and 512x510 px",
            "sources differ in size, 8x9 px and 1x2 px",
        ),
        (
            "s3://a/p 1.png: cannot read: 403, no permission",
            "s3://b/é.tif: cannot read: 403, no permission",
        ),
        ("/a/b.png: cannot read", "/c d/e.png: cannot read"),
        ("no component 'x y'", "no component 'z'"),
        ("pair one: loss 1.5e-07", "pair two: loss 3"),
        ("object 4f1c9a7be2 lost", "object 00ff00ff00 lost"),
    ],
)
def test_messages_that_differ_in_names_and_numbers_belong_together(one, other):
    first = Pair("one", ("s3://a/p 1.png", "/a/b.png"))
    second = Pair("two", ("s3://b/é.tif", "/c d/e.png"))
    assert without_names(one, first) == without_names(other, second)


def test_other_words_are_another_cause():
    pair = Pair("a", ("/x.png", "/y.png"))
    assert without_names("/x.png: is a folder", pair) == "*: is a folder"
    assert without_names("/x.png: is empty", pair) != without_names("/x.png: is no image", pair)


def test_without_failures_there_is_no_group(tmp_path):
    with Ledger.open(str(tmp_path / "run"), CONFIG, PAIRS) as ledger:
        ledger.append(PairRecord("plate 00", 1, "ok", "publish", 1.0, 2.0))
    assert failures(str(tmp_path / "run")) == []
    with pytest.raises(ConfigError, match=r"has no run\.json"):
        failures(str(tmp_path))
