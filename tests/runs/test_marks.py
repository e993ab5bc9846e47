"""What a reviewer says of results."""

import json

import pytest

from dfp_batch.config.run_config import run_config
from dfp_batch.engine.retry import Retry, rejected_pairs
from dfp_batch.errors import ConfigError
from dfp_batch.io import storage
from dfp_batch.runs.attempts import PairRecord, read_attempts
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.marks import save_marks, standing_marks

NAMES = ("a", "b", "new")


@pytest.fixture
def url(run_url):
    """A run with two results, and a pair that has not begun."""
    pairs = [Pair(name, (f"/{name}1.png", f"/{name}2.png")) for name in NAMES]
    with Ledger.open(run_url, run_config("classical", None, {}), pairs) as ledger:
        for name in "ab":
            ledger.append(PairRecord(name, 1, "ok", "publish", 1.0, 2.0))
    return run_url


def mark(url, **changes):
    return save_marks(url, changes, read_attempts(url))


def marks(url):
    return standing_marks(url, read_attempts(url))


def test_marks_are_kept_and_taken_back(url):
    assert marks(url) == {}
    assert mark(url, a="rejected", b="accepted") == 2
    assert marks(url) == {"a": "rejected", "b": "accepted"}
    assert rejected_pairs(url) == ("a",)
    assert mark(url, a=None, b="rejected") == 1
    assert marks(url) == {"b": "rejected"}


def test_a_mark_is_for_the_result_that_was_seen(url):
    mark(url, a="rejected", b="rejected")
    with Ledger.reopen(url) as ledger:
        ledger.requeue("a", "retry", "asked for")
    assert rejected_pairs(url) == ("b",)
    with Ledger.reopen(url) as ledger:
        ledger.append(PairRecord("a", 1, "ok", "publish", 3.0, 4.0))
    assert rejected_pairs(url) == ("b",)


def test_what_cannot_be_marked_is_refused(url):
    with pytest.raises(ConfigError, match="has no result of 'new' that could be marked"):
        mark(url, new="rejected")
    with pytest.raises(ConfigError, match="must be accepted or rejected, got 'bad'"):
        mark(url, a="bad")
    assert not storage.exists(f"{url}/marks.json")


@pytest.mark.parametrize("content", ["[]", "{", '{"marks": {"a": {"mark": "rejected"}}}'])
def test_another_file_is_refused(url, content):
    storage.write_bytes(f"{url}/marks.json", content.encode())
    with pytest.raises(ConfigError, match=r"marks\.json is no file of marks.*expected \{"):
        marks(url)


def test_the_file_is_what_the_page_saves(url):
    mark(url, a="rejected")
    entry = {"mark": "rejected", "epoch": 1, "attempt": 1}
    assert json.loads(storage.read_bytes(f"{url}/marks.json")) == {"marks": {"a": entry}}


def test_rejected_goes_with_no_other_choice(url):
    with pytest.raises(ConfigError, match="--rejected names the pairs: leave out --pair"):
        Retry(url, rejected=True, pair=("a",))
    assert Retry(url, rejected=True).described == "is rejected"
