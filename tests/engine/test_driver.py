"""A whole run on a real Ray: faults, resume, object storage, both presets."""

import io
import json
import os
from dataclasses import replace

import pytest
from rich.console import Console

from conftest import archive_away, deny
from dfp_batch.cli.console import LiveProgress
from dfp_batch.config.run_config import run_config
from dfp_batch.engine import scheduler
from dfp_batch.engine.driver import Observer, Submission, submit, what_is_left
from dfp_batch.errors import ConfigError, ManifestError, RunHeldError
from dfp_batch.io import storage
from dfp_batch.pipeline.presets import PRESETS
from dfp_batch.runs.attempts import PairRecord, read_attempts
from dfp_batch.runs.lease import current_lease
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair, read_manifest, write_manifest
from dfp_batch.runs.status import RunStatus, results
from fault_injection import BUSY_ONCE, DIVERGE, OUT_OF_MEMORY, SEGV

pytestmark = pytest.mark.usefixtures("local_ray")
SHORT_PAPER = {"refinement.iterations": 2, "reconstruction.iterations": 3, "precision": "fp32"}


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Another attempt comes at once."""
    monkeypatch.setattr(scheduler, "BACKOFF_S", 0.05)


SILENT = Observer(lambda url: None, lambda counts: None)


def run(manifest_url, output_url, config=None, observer=SILENT, **options):
    config = config or run_config("classical", None, {"scale": 2})
    return submit(Submission(manifest_url, output_url, config, **options), observer)


def rows_of(url):
    return {row["pair_id"]: row for row in results(url).to_pylist()}


def content_of(url):
    return {
        row["pair_id"]: storage.read_bytes(row["output_url"]) for row in results(url).to_pylist()
    }


def test_a_run_leaves_images_rows_and_a_summary(make_archive, tmp_path):
    url = f"{tmp_path}/run"
    seen = []
    observer = Observer(lambda url: None, lambda counts: seen.append((counts.ok, counts.running)))
    status = run(make_archive(4), url, observer=observer)
    assert (status.total, status.ok, status.failed, status.pending) == (4, 4, 0, 0)
    assert seen[-1] == (4, 0)
    assert list(rows_of(url)) == ["p00", "p01", "p02", "p03"]
    assert all(row["width_px"] == 40 and row["height_px"] == 48 for row in rows_of(url).values())
    assert json.loads(storage.read_bytes(f"{url}/summary.json")) == status.to_json()
    assert current_lease(url) is None


def test_one_code_path_for_the_paper_and_for_n_sources(make_archive, tmp_path):
    manifest = make_archive(2)
    pairs = read_manifest(manifest)
    stack = [*pairs[0].sources, pairs[1].sources[0]]
    write_manifest(manifest, [pairs[0], Pair("stack", tuple(stack))])
    url = f"{tmp_path}/run"
    status = run(manifest, url, run_config("paper", None, {"scale": 3, **SHORT_PAPER}))
    assert status.ok == 2
    assert rows_of(url)["stack"]["n_sources"] == 3
    assert rows_of(url)["stack"]["width_px"] == 60
    assert rows_of(url)["stack"]["iterations"] == 3


def test_submit_again_redoes_nothing_that_is_done(make_archive, tmp_path):
    manifest, url = make_archive(3), f"{tmp_path}/run"
    run(manifest, url, limit=2)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/outputs").rglob("*.*")}
    status = run(manifest, url)
    assert status.ok == 3
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before
    attempts = read_attempts(url).to_pylist()
    assert sorted((row["pair_id"], row["epoch"]) for row in attempts) == [
        ("p00", 1),
        ("p01", 1),
        ("p02", 2),
    ]


def test_a_run_goes_on_as_it_began_and_says_so(make_archive, tmp_path, monkeypatch):
    manifest, url = make_archive(2), f"{tmp_path}/run"
    run(manifest, url, limit=1)
    monkeypatch.setitem(PRESETS, "classical", PRESETS["classical"] | {"seed": 7})
    said = []
    observer = replace(SILENT, noted=said.append)
    assert run(manifest, url, observer=observer).ok == 2
    assert said == [
        "goes on with the configuration of run.json, not with today's defaults: seed: 0 -> 7"
    ]
    assert len({row["fingerprint"] for row in rows_of(url).values()}) == 1
    receipts = [json.loads(path.read_text()) for path in (tmp_path / "run").rglob("result.json")]
    assert len({receipt["fingerprint"] for receipt in receipts}) == 1


def test_a_run_whose_components_had_other_names_goes_on_without_a_word(make_archive, tmp_path):
    manifest, url = make_archive(2), f"{tmp_path}/run"
    config = run_config("classical", None, {"refinement": "confidence-voting", "scale": 1})
    run(manifest, url, config=config, limit=1)
    header = tmp_path / "run/run.json"
    text = header.read_text()
    assert text.count('"confidence-voting"') == 2  # as resolved, and as given
    header.write_text(text.replace('"confidence-voting"', '"votes"'))
    said = []
    assert run(manifest, url, config=config, observer=replace(SILENT, noted=said.append)).ok == 2
    assert said == []


def test_a_folder_is_run_and_what_comes_later_is_appended(make_archive, tmp_path):
    make_archive(2, f"{tmp_path}/photos/deep")
    url, said = f"{tmp_path}/run", []
    observer = replace(SILENT, noted=said.append)
    assert run(f"{tmp_path}/photos", url, observer=observer).ok == 2
    assert list(rows_of(url)) == ["deep/p00", "deep/p01"]
    make_archive(3, f"{tmp_path}/photos/deep")
    assert run(f"{tmp_path}/photos", url, observer=observer).ok == 2
    assert run(f"{tmp_path}/photos", url, append=f"{tmp_path}/photos", observer=observer).ok == 3
    assert said == [f"found: 2 stacks of 4 files in {tmp_path}/photos", "1 pairs appended"]


def test_appended_pairs_are_done_and_stay(make_archive, tmp_path):
    manifest, url = make_archive(3), f"{tmp_path}/run"
    pairs = read_manifest(manifest)
    write_manifest(manifest, pairs[:1])
    more = f"{tmp_path}/more.parquet"
    write_manifest(more, pairs[1:])
    assert run(manifest, url, append=more, limit=2).ok == 2
    assert run(manifest, url).total == 3
    assert list(rows_of(url)) == ["p00", "p01", "p02"]
    with pytest.raises(ManifestError, match="nothing is there"):
        run(manifest, f"{tmp_path}/other", append=f"{tmp_path}/gone.parquet")
    assert not (tmp_path / "other").exists()


def test_failed_pairs_are_rows_and_are_tried_again(make_archive, tmp_path):
    manifest, url = make_archive(3), f"{tmp_path}/run"
    source = tmp_path / "p01_B.png"
    whole = source.read_bytes()
    source.write_bytes(whole[:200])
    status = run(manifest, url)
    assert (status.ok, status.failed, status.by_category) == (2, 1, {"input": 1})
    assert status.last_errors[0]["pair_id"] == "p01"
    assert "p01_B.png" in rows_of(url)["p01"]["error_message"]
    assert rows_of(url)["p01"]["stage"] == "prepare"
    assert not (tmp_path / "run/outputs/p01").exists()
    source.write_bytes(whole)
    assert run(manifest, url).ok == 3


def test_a_pair_that_kills_its_process_stops_nobody_else(make_archive, tmp_path):
    faults = {1: SEGV, 2: OUT_OF_MEMORY, 3: DIVERGE, 4: BUSY_ONCE}
    manifest, url = make_archive(6, faults=faults), f"{tmp_path}/run"
    settings = {
        "scale": 2,
        "reconstruction.use": "fault_injection:FaultyReconstruction",
        "reconstruction.folder": str(tmp_path),
    }
    config = run_config("classical", None, settings)
    status = run(manifest, url, config)
    rows = rows_of(url)
    assert {key: row["status"] for key, row in rows.items()} == {
        "p00": "ok",
        "p01": "quarantined",
        "p02": "error",
        "p03": "error",
        "p04": "ok",
        "p05": "ok",
    }
    assert (rows["p01"]["category"], rows["p01"]["error_type"]) == ("crash", "WorkerLostError")
    assert (rows["p01"]["attempt"], rows["p01"]["stage"]) == (2, "reconstruct")
    assert (rows["p02"]["category"], rows["p02"]["attempt"]) == ("resource", 4)
    assert (rows["p03"]["category"], rows["p03"]["error_type"]) == ("input", "DivergedError")
    assert rows["p04"]["attempt"] == 2
    assert status.quarantined == 1

    again = run(manifest, url, config)
    epochs = {row["pair_id"]: row["epoch"] for row in read_attempts(url).to_pylist()}
    assert epochs["p01"] == 1, "a quarantined pair is left alone"
    assert epochs["p03"] == 2
    assert again.quarantined == 1


def test_runs_on_object_storage_equal_runs_on_disk(make_archive, tmp_path, s3_url):
    remote, local = f"{s3_url}/{tmp_path.name}", str(tmp_path / "local")
    run(make_archive(2, remote), f"{remote}/run")
    run(make_archive(2, local), f"{local}/run")
    assert content_of(f"{remote}/run") == content_of(f"{local}/run")
    assert run(f"{remote}/manifest.parquet", f"{remote}/run").ok == 2
    assert read_attempts(f"{remote}/run").num_rows == 2
    assert rows_of(f"{remote}/run")["p00"]["output_url"].startswith("s3://")


def test_a_missing_object_in_a_bucket_is_an_input_error(make_archive, tmp_path, s3_url):
    folder = f"{s3_url}/{tmp_path.name}"
    manifest = make_archive(2, folder)
    storage.delete(f"{folder}/p00_B.png")
    status = run(manifest, f"{folder}/run")
    assert (status.ok, status.by_category) == (1, {"input": 1})
    assert "p00_B.png" in status.last_errors[0]["error_message"]


def test_what_cannot_be_read_in_a_bucket_costs_its_own_pair(make_archive, tmp_path, s3_url):
    folder, elsewhere = f"{s3_url}/{tmp_path.name}", "s3://no-such-bucket/a.png"
    manifest = make_archive(4, folder)
    deny(f"{folder}/p00_B.png")
    archive_away(f"{folder}/p01_A.png")
    pairs = read_manifest(manifest)
    pairs[2] = replace(pairs[2], sources=(pairs[2].sources[0], elsewhere))
    truth = replace(pairs[3], pair_id="truth", reference=f"{folder}/p00_B.png")
    stack = Pair("stack", (f"{folder}/none.tif",))
    write_manifest(manifest, [*pairs, truth, stack])
    status = run(manifest, f"{folder}/run", max_failure_rate=1)
    assert (status.ok, status.by_category) == (1, {"input": 5})
    said = {key: row["error_message"] for key, row in rows_of(f"{folder}/run").items()}
    assert said == {
        "p00": f"{folder}/p00_B.png: cannot read: 403, no permission",
        "p01": f"{folder}/p01_A.png: cannot read: archived (restore it first)",
        "p02": f"{elsewhere}: cannot read: the bucket does not exist",
        "p03": None,
        "truth": f"{folder}/p00_B.png: cannot read: 403, no permission",
        "stack": f"{folder}/none.tif: cannot read: nothing is there",
    }


def test_another_driver_or_configuration_is_refused(make_archive, tmp_path):
    manifest, url = make_archive(1), f"{tmp_path}/run"
    config = run_config("classical", None, {"scale": 2})
    held = Ledger.open(url, config, read_manifest(manifest))
    with held, pytest.raises(RunHeldError, match=str(os.getpid())):
        run(manifest, url)
    with pytest.raises(ConfigError, match="scale: 2 -> 4"):
        run(manifest, url, run_config("classical", None, {"scale": 4}))


def test_what_is_left_and_what_is_left_alone(tmp_path):
    """Quarantined pairs are neither done nor to be done, and what has failed comes last."""
    pairs = [Pair(name, ("/a.png", "/b.png")) for name in ("bad", "done", "dead", "new")]
    config = run_config("classical", None, {})
    with Ledger.open(str(tmp_path), config, pairs) as ledger:
        for name, status in (("bad", "error"), ("done", "ok"), ("dead", "quarantined")):
            ledger.append(PairRecord(name, 1, status, "prepare", 1.0, 2.0, "crash"))
    todo, counts = what_is_left(str(tmp_path), pairs, 2, retry_quarantined=False)
    assert [(one.pair.pair_id, one.tried) for one in todo] == [("new", False), ("bad", True)]
    assert (counts.total, counts.ok, counts.quarantined, counts.failed) == (4, 1, 1, 0)
    shown = io.StringIO()
    with LiveProgress(Console(file=shown, width=80)) as progress:
        progress.moved(counts)
    assert shown.getvalue() == "1 done, 0 failed, 0 running, 1 quarantined of 4\n"
    todo, counts = what_is_left(str(tmp_path), pairs, 2, retry_quarantined=True)
    assert {one.pair.pair_id: one.deaths for one in todo} == {"new": 0, "bad": 1, "dead": 1}
    assert counts.quarantined == 0


def test_a_bad_manifest_leaves_no_run_behind(make_archive, tmp_path):
    manifest = make_archive(1)
    write_manifest(manifest, [Pair("a", ("x.png", "y.png")), Pair("a", ("x.png", "z.png"))])
    with pytest.raises(ManifestError, match=r"manifest row 1 \(pair_id 'a'\)"):
        run(manifest, f"{tmp_path}/run")
    assert not (tmp_path / "run").exists()


def test_status_of_a_run_that_is_under_way(make_archive, tmp_path):
    manifest, url = make_archive(3), f"{tmp_path}/run"
    run(manifest, url, limit=1)
    config = run_config("classical", None, {"scale": 2})
    with Ledger.open(url, config, read_manifest(manifest)):
        status = RunStatus.read(url)
    assert (status.ok, status.pending, status.total) == (1, 2, 3)
    assert str(os.getpid()) in status.driver
    assert status.pairs_per_minute > 0
    assert status.eta_s > 0
    assert RunStatus.read(url).driver is None
