"""Leftovers: only what this run wrote and nobody needs; when in doubt a file stays."""

import json

import pytest

from dfp_batch.config.run_config import run_config
from dfp_batch.errors import ConfigError, LedgerError, RunHeldError
from dfp_batch.io import storage
from dfp_batch.runs.attempts import PairRecord, read_attempts
from dfp_batch.runs.compaction import compact
from dfp_batch.runs.garbage import collect, leftovers
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair, folder_name

CONFIG = run_config("classical", None, {})
NAMES = ("done", "other format", "failed", "dead", "finished/x", "new", "requeued", "redo failed")
PAIRS = [Pair(name, (f"/{k}_A.png", f"/{k}_B.png")) for k, name in enumerate(NAMES)]
PART = ".dfp-0123456789abcdef0123456789abcdef.part"
SIDE = ("decision.png", "confidence.png", "registration.json", "valid.png", "preview.jpg")


@pytest.fixture(params=["local", "s3"])
def url(request, tmp_path):
    """A run with a pair of every kind; every folder holds all that a session can leave."""
    local = request.param == "local"
    url = f"{tmp_path}/run" if local else f"{request.getfixturevalue('s3_url')}/{tmp_path.name}/run"
    with Ledger.open(url, CONFIG, PAIRS) as ledger:
        for name in ("done", "other format", "requeued", "redo failed"):
            facts = {"output_url": f"{url}/outputs/{folder_name(name)}/fused.png"}
            ledger.append(PairRecord(name, 1, "ok", "publish", 1.0, 2.0, facts=facts))
        for name, status in (("failed", "error"), ("finished/x", "error"), ("dead", "quarantined")):
            ledger.append(PairRecord(name, 1, status, "publish", 1.0, 2.0, "crash", "E", "died"))
        ledger.flush()
    with Ledger.reopen(url) as ledger:
        ledger.requeue("requeued", "verify", "changed")
        ledger.requeue("redo failed", "retry", "asked for")
    with Ledger.reopen(url) as ledger:
        ledger.append(PairRecord("redo failed", 1, "error", "prepare", 1.0, 2.0, "input", "E", "m"))
    for name in NAMES:
        for file in ("fused.png", *SIDE, PART, "notes.txt", "fused.png.bak"):
            storage.write_bytes(place(url, name, file), b"12345")
    for name in ("done", "finished/x", "requeued"):
        storage.write_bytes(place(url, name, "result.json"), b"{}")
    storage.write_bytes(place(url, "other format", "fused.tiff"), b"1234567")
    for foreign in ("outputs/foreign/fused.png", f"outputs/{PART}", "fused.png", f"results/{PART}"):
        storage.write_bytes(f"{url}/{foreign}", b"mine")
    return url


def place(url, name, file):
    return f"{url}/outputs/{folder_name(name)}/{file}"


def expected(url):
    files = [place(url, name, PART) for name in NAMES]
    files.append(place(url, "other format", "fused.tiff"))
    files += [
        place(url, name, file) for name in ("failed", "dead") for file in ("fused.png", *SIDE)
    ]
    return set(files)


def everything(url):
    found, folders = [], [url]
    while folders:
        folder = folders.pop()
        files, inner = storage.list_folder(folder)
        found += [f"{folder}/{file}" for file in files]
        folders += [f"{folder}/{name}" for name in inner]
    return set(found)


def test_what_no_row_refers_to_is_found_and_nothing_is_touched(url):
    before = everything(url)
    found = list(leftovers(url))
    assert {leftover.url for leftover in found} == expected(url)
    assert sum(leftover.size_bytes for leftover in found) == 5 * (len(found) - 1) + 7
    assert everything(url) == before


def test_only_that_is_deleted(url):
    before = everything(url)
    with Ledger.reopen(url) as ledger:
        gone = {leftover.url for leftover in collect(ledger)}
    assert gone == expected(url)
    assert before - everything(url) == gone
    assert list(leftovers(url)) == []


def test_a_result_whose_row_names_a_file_that_is_not_there_keeps_the_others(url):
    storage.delete(place(url, "other format", "fused.png"))
    assert place(url, "other format", "fused.tiff") not in {one.url for one in leftovers(url)}


def test_parts_that_a_crashed_compaction_left_go(url, monkeypatch):
    rows = read_attempts(url)
    delete = storage.delete
    with Ledger.reopen(url) as ledger, monkeypatch.context() as patch:
        patch.setattr(storage, "delete", lambda url: None)
        compact(ledger)
    assert storage.delete is delete
    found = {leftover.url for leftover in leftovers(url)} - expected(url)
    assert found == {f"{url}/results/part-00000{k}-000001.parquet" for k in (1, 2, 3)}
    with Ledger.reopen(url) as ledger:
        list(collect(ledger))
    assert read_attempts(url).num_rows == rows.num_rows


def test_beside_a_driver_nothing_is_deleted(url):
    before = everything(url)
    with Ledger.reopen(url):
        with pytest.raises(RunHeldError):
            Ledger.reopen(url)
        assert len(list(leftovers(url))) == len(expected(url)), "looking is free"
    assert before <= everything(url)


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "outputs/a").mkdir(parents=True)
    (tmp_path / "outputs/a/fused.png").write_bytes(b"a")
    with pytest.raises(ConfigError, match=r"it has no run\.json"):
        list(leftovers(str(tmp_path)))
    (tmp_path / "run.json").write_text(json.dumps({"schema_version": 1, "run_id": "x"}))
    with pytest.raises(LedgerError, match="restore the file"):
        list(leftovers(str(tmp_path)))
