"""Results read again: what is missing or changed is done again, and nothing else."""

import hashlib
import os

import pytest

from conftest import deny
from dfp_batch.config.run_config import run_config
from dfp_batch.engine.driver import Observer, Submission, submit
from dfp_batch.engine.receipt import versions
from dfp_batch.engine.verify import Finding, verify
from dfp_batch.errors import RunHeldError, StorageError
from dfp_batch.io import storage
from dfp_batch.runs.attempts import PairRecord, read_attempts
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.status import RunStatus, results

CONFIG = run_config("classical", None, {"scale": 2})
NAMES = ("a", "b/c", "d", "e")


@pytest.fixture(params=["local", "s3"])
def folder(request, tmp_path):
    if request.param == "local":
        return str(tmp_path)
    return f"{request.getfixturevalue('s3_url')}/{tmp_path.name}"


@pytest.fixture
def run(folder):
    """URL of a run of four pairs that are done, with files of some bytes for images."""
    pairs = [Pair(name, (f"{folder}/{k}_A.png", f"{folder}/{k}_B.png")) for k, name in
             enumerate(NAMES)]  # fmt: skip
    with Ledger.open(f"{folder}/run", CONFIG, pairs) as ledger:
        for pair in pairs:
            for source in pair.sources:
                storage.write_bytes(source, b"source")
            data = pair.pair_id.encode() * 1000
            storage.write_bytes(image(folder, pair.pair_id), data)
            facts = {
                "output_url": image(folder, pair.pair_id),
                "output_sha256": hashlib.sha256(data).hexdigest(),
                "output_bytes": len(data) if pair.pair_id != "e" else None,  # of an older version
                "source_versions": versions(pair),
            }
            ledger.append(PairRecord(pair.pair_id, 1, "ok", "publish", 1.0, 2.0, facts=facts))
    return f"{folder}/run"


def image(folder, pair_id):
    return f"{folder}/run/outputs/{pair_id.replace('/', '%2F')}/fused.png"


def verified(url, with_sources=False, **options):
    with Ledger.reopen(url) as ledger:
        return verify(ledger, with_sources, **options)


def test_nothing_is_written_where_all_is_whole(run):
    seen = []
    found = verified(run, moved=lambda *counts: seen.append(counts))
    assert (found.whole, found.findings, found.is_fine) == (4, [], True)
    assert found.lines() == ["verified: 4 whole, 0 missing, 0 changed, 0 unreadable; 0 requeued"]
    assert seen[-1] == (4, 4)
    assert read_attempts(run).num_rows == 4


def test_missing_shorter_and_changed_images_are_requeued(run, folder):
    storage.delete(image(folder, "a"))
    storage.write_bytes(image(folder, "b/c"), b"short")
    storage.write_bytes(image(folder, "e"), b"E" * 1000)
    found = verified(run)
    assert [(finding.pair_id, finding.state, finding.fault) for finding in found.findings] == [
        ("a", "missing", f"{image(folder, 'a')}: is not there any more"),
        ("b/c", "changed", f"{image(folder, 'b/c')}: holds 5 bytes, 3000 were written"),
        ("e", "changed", f"{image(folder, 'e')}: is not what was written"),
    ]
    assert found.lines()[0] == "verified: 1 whole, 1 missing, 2 changed, 0 unreadable; 3 requeued"
    assert not found.is_fine
    status = RunStatus.read(run)
    assert (status.ok, status.pending) == (1, 3)
    assert verified(run).whole == 1, "what is requeued already is not looked at again"


def test_sources_that_have_changed_are_named_and_requeued_if_asked(run, folder):
    storage.write_bytes(f"{folder}/1_B.png", b"another source")
    storage.delete(f"{folder}/2_A.png")
    found = verified(run)
    assert found.findings == [
        Finding("b/c", "whole", changed=(f"{folder}/1_B.png",)),
        Finding("d", "whole", gone=(f"{folder}/2_A.png",)),
    ]
    assert found.is_fine
    assert found.lines()[1:] == [
        "sources of b/c have changed since (with --sources they are done again)",
        "sources of d cannot be read any more; their results are kept",
    ]
    assert verified(run, with_sources=True).requeued == 1
    assert results(run)["pair_id"].to_pylist() == ["a", "d", "e"]


def test_a_run_that_was_moved_is_looked_at_where_it_is(run, folder, tmp_path):
    if folder != str(tmp_path):
        pytest.skip("buckets have no folders to move")
    os.rename(run, f"{folder}/moved")
    assert verified(f"{folder}/moved").whole == 4


def test_what_may_not_be_read_is_no_reason_to_do_it_again(tmp_path, s3_url, request):
    folder = f"{s3_url}/{tmp_path.name}-denied"
    pair = Pair("a", ("s3://none/A.png", "s3://none/B.png"))
    facts = {"output_url": image(folder, "a"), "output_sha256": "0", "output_bytes": 1}
    with Ledger.open(f"{folder}/run", CONFIG, [pair]) as ledger:
        ledger.append(PairRecord("a", 1, "ok", "publish", 1.0, 2.0, facts=facts))
    storage.write_bytes(image(folder, "a"), b"a")
    deny(image(folder, "a"))
    found = verified(f"{folder}/run")
    assert (found.count("unreadable"), found.requeued, found.is_fine) == (1, 0, False)


def test_what_was_found_before_it_was_stopped_stays(run, folder):
    storage.delete(image(folder, "a"))

    def stop(done, total):
        if done:
            raise StorageError("stop here")

    with pytest.raises(StorageError, match="stop here"):
        verified(run, moved=stop)
    assert RunStatus.read(run).pending == 1


def test_beside_a_driver_it_is_refused(run):
    with Ledger.reopen(run), pytest.raises(RunHeldError):
        verified(run)


@pytest.mark.usefixtures("local_ray")
def test_submit_with_verify_does_again_what_is_missing(make_archive, tmp_path):
    manifest, url = make_archive(3), str(tmp_path / "run")
    observer = Observer(lambda url: None, lambda counts: None)
    submit(Submission(manifest, url, CONFIG), observer)
    before = {row["pair_id"]: row for row in results(url).to_pylist()}
    os.unlink(before["p01"]["output_url"])
    said = []
    observer = Observer(lambda url: None, lambda counts: None, said.append)
    assert submit(Submission(manifest, url, CONFIG, verify=True), observer).ok == 3
    assert said == ["verified: 2 whole, 1 missing, 0 changed, 0 unreadable; 1 requeued"]
    after = {row["pair_id"]: row for row in results(url).to_pylist()}
    assert {name: row["epoch"] for name, row in after.items()} == {"p00": 1, "p01": 3, "p02": 1}
    assert after["p01"]["output_sha256"] == before["p01"]["output_sha256"]
    assert os.path.getsize(after["p01"]["output_url"]) == after["p01"]["output_bytes"]
