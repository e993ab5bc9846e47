"""The commands that look after a run: they need nothing but its directory."""

import hashlib
from pathlib import Path

import pytest

from command_line import run, said
from dfp_batch.config.run_config import run_config
from dfp_batch.io import storage
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.status import results


def test_what_is_not_a_run_is_one_line(tmp_path):
    done = run("retry", str(tmp_path))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "is not a run directory" in done.stderr


@pytest.fixture
def finished_run(tmp_path):
    """A run of two pairs, one part each; the second has failed and left a file."""
    pairs = [Pair(name, (f"{tmp_path}/{name}1.png", f"{tmp_path}/{name}2.png")) for name in "ab"]
    url = f"{tmp_path}/run"
    with Ledger.open(url, run_config("classical", None, {}), pairs) as ledger:
        image, data = tmp_path / "run/outputs/a/fused.png", b"image"
        storage.write_bytes(str(image), data)
        facts = {"output_url": str(image), "output_sha256": hashlib.sha256(data).hexdigest()}
        ledger.append(PairRecord("a", 1, "ok", "publish", 1.0, 2.0, facts=facts))
        ledger.flush()
        ledger.append(PairRecord("b", 1, "error", "publish", 1.0, 2.0, "input", "E", "no image"))
    storage.write_bytes(f"{url}/outputs/b/preview.jpg", b"half")
    return Path(url)


def test_verify_exits_with_3_if_something_is_to_be_done_again(finished_run):
    whole = "verified: 1 whole, 0 missing, 0 changed, 0 unreadable; 0 requeued\n"
    assert said(0, "verify", finished_run) == whole
    image = finished_run / "outputs/a/fused.png"
    image.unlink()
    assert said(3, "verify", finished_run).splitlines() == [
        f"a: {image}: is not there any more",
        "verified: 0 whole, 1 missing, 0 changed, 0 unreadable; 1 requeued",
        "next: the submit command of this run does them again",
    ]
    assert "1 pending of 2" in said(0, "status", finished_run)


def test_gc_and_compact_change_nothing_that_counts(finished_run):
    half = finished_run / "outputs/b/preview.jpg"
    assert said(0, "gc", finished_run).splitlines() == [
        f"{half}  4 bytes",
        "1 file, 4 bytes, that no row refers to",
        "next: the same command with --delete deletes them",
    ]
    assert half.exists()
    before = results(str(finished_run))
    deleted = said(0, "gc", finished_run, "--delete")
    assert deleted.endswith("1 file, 4 bytes, deleted\n")
    assert not half.exists()
    assert said(0, "compact", finished_run) == f"2 -> 1 parts in {finished_run}/results\n"
    assert results(str(finished_run)).equals(before)


def test_what_writes_is_refused_beside_a_driver(finished_run):
    with Ledger.reopen(str(finished_run)):
        for arguments in (("verify",), ("retry",), ("gc", "--delete"), ("compact",)):
            done = run(arguments[0], str(finished_run), *arguments[1:])
            assert done.returncode == 5
            assert "is driven by process" in done.stderr
        assert said(0, "failures", finished_run).startswith("1 pair: input\n")


def test_retry_says_so_when_there_is_nothing_to_retry(finished_run):
    text = said(0, "retry", finished_run, "--category", "crash", "--quarantined")
    line = "nothing to retry: no pair failed with category crash or is quarantined\n"
    assert text == f"run: {finished_run}\n{line}"
    done = run("retry", str(finished_run), "--category", "inputs")
    assert (done.returncode, "must be one of input, transient" in done.stderr) == (2, True)
