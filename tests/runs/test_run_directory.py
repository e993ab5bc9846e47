"""What a run is: run.json and its manifests, and what is refused."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from dfp_batch.config.run_config import run_config
from dfp_batch.errors import ConfigError, LedgerError
from dfp_batch.io import storage
from dfp_batch.pipeline.presets import PRESETS
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from dfp_batch.runs.run_directory import read_header, read_pairs
from dfp_batch.runs.status import RunStatus, results

PAIRS = [Pair(f"p{k}", (f"/a{k}.png", f"/b{k}.png")) for k in range(3)]
CONFIG = run_config("classical", None, {})


def test_a_changed_configuration_is_refused_naming_the_fields(run_url):
    Ledger.open(run_url, CONFIG, PAIRS).close()
    other = run_config("classical", None, {"scale": 3, "reconstruction.steps": 4})
    with pytest.raises(ConfigError, match=r"reconstruction\.steps: 10 -> 4; scale: 2 -> 3"):
        Ledger.open(run_url, other, PAIRS)
    with pytest.raises(ConfigError, match="manifest: 3 pairs -> 2 pairs"):
        Ledger.open(run_url, CONFIG, PAIRS[:2])


def test_cameras_are_part_of_the_manifest(tmp_path):
    taken = [replace(pair, camera="R5") for pair in PAIRS]
    Ledger.open(str(tmp_path), CONFIG, taken).close()
    with pytest.raises(ConfigError, match="3 pairs -> 3 pairs, or other URLs or cameras"):
        Ledger.open(str(tmp_path), CONFIG, PAIRS)
    Ledger.open(str(tmp_path), CONFIG, taken).close()


def test_a_run_goes_on_that_began_when_no_notice_was_taken_of_cameras(tmp_path):
    taken = [replace(pair, camera="R5") for pair in PAIRS]
    Ledger.open(str(tmp_path), CONFIG, PAIRS).close()
    with pytest.raises(ConfigError, match="or other URLs or cameras"):
        Ledger.open(str(tmp_path), CONFIG, taken)
    snapshot = tmp_path / "manifest.parquet"
    pq.write_table(pq.read_table(snapshot).drop(["camera"]), snapshot)
    Ledger.open(str(tmp_path), CONFIG, taken).close()
    with pytest.raises(ConfigError, match="3 pairs -> 2 pairs"):
        Ledger.open(str(tmp_path), CONFIG, taken[:2])


def test_a_run_goes_on_as_it_began_when_defaults_have_changed(tmp_path, monkeypatch):
    asked = run_config("classical", None, {"scale": 3})
    Ledger.open(str(tmp_path), asked, PAIRS).close()
    monkeypatch.setitem(PRESETS, "classical", PRESETS["classical"] | {"seed": 7})
    today = run_config("classical", None, {"scale": 3})
    assert today != asked
    with Ledger.open(str(tmp_path), today, PAIRS) as ledger:
        assert ledger.values == asked.values()
    changed = run_config("classical", None, {"scale": 3, "seed": 8})
    with pytest.raises(ConfigError, match="seed: 0 -> 8"):
        Ledger.open(str(tmp_path), changed, PAIRS)


def test_a_damaged_appended_manifest_is_named(tmp_path):
    Ledger.open(str(tmp_path), CONFIG, PAIRS).close()
    storage.write_bytes(f"{tmp_path}/appended/000002.parquet", b"PAR1")
    for read in (read_pairs, results, RunStatus.read):
        with pytest.raises(LedgerError, match=r"appended/000002\.parquet.*is not a whole"):
            read(str(tmp_path))


def test_what_is_not_a_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a run directory: it has no run\.json"):
        read_header(str(tmp_path))
    (tmp_path / "run.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(LedgerError, match="schema version 99, expected 1"):
        read_header(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is not whole JSON (Expecting value: line 1 column 1 (char 0))"),
        (b'{"schema_version": 1, "run', "is not whole JSON (Unterminated string"),
        (b"\xff\xfe\x00", "is not whole JSON ("),
        (b"[]", "has no schema_version"),
        (b'{"name": "another program"}', "has no schema_version"),
        (b'{"schema_version": 1, "run_id": "r", "config": []}', "has no config, fingerprint, "),
    ],
)
def test_a_damaged_header_is_refused_in_one_line(run_url, content, fault):
    storage.write_bytes(f"{run_url}/run.json", content)
    for use in (lambda: Ledger.open(run_url, CONFIG, PAIRS), lambda: RunStatus.read(run_url)):
        with pytest.raises(LedgerError) as error:
            use()
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(f"{run_url}/run.json {fault}")
        assert str(error.value).endswith("or use another --output for a new run")


def test_a_damaged_snapshot_is_refused_and_written_again(run_url):
    with Ledger.open(run_url, CONFIG, PAIRS) as ledger:
        ledger.append(PairRecord("p0", 1, "ok", "publish", 1.0, 2.0))
    storage.write_bytes(f"{run_url}/manifest.parquet", b"PAR1")
    with pytest.raises(LedgerError, match=r"manifest\.parquet is not a whole manifest \(.*delete"):
        results(run_url)
    storage.delete(f"{run_url}/manifest.parquet")
    Ledger.open(run_url, CONFIG, PAIRS).close()
    assert results(run_url)["pair_id"].to_pylist() == ["p0"]


def test_pairs_that_are_at_hand_come_in_the_order_of_the_run(run_url):
    Ledger.open(run_url, CONFIG, PAIRS).close()
    with Ledger.open(run_url, CONFIG, PAIRS[::-1]) as ledger:
        ledger.append_pairs([Pair("p9", ("/c.png", "/d.png"))], "more.parquet")
    whole = read_pairs(run_url)
    assert [pair.pair_id for pair in whole] == ["p0", "p1", "p2", "p9"]
    assert read_pairs(run_url, known=PAIRS[::-1]) == whole
    with pytest.raises(LedgerError, match="does not hold the 2 pairs of the run; delete it"):
        read_pairs(run_url, known=PAIRS[:2])
