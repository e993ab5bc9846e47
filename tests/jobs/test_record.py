"""The results of record and the page made of them."""

import importlib.util
import json
from pathlib import Path

import pytest

from dfp_batch.evaluation import Scenes
from dfp_batch.synthetic import SceneSet

JOB = Path(__file__).parents[2] / "jobs" / "record_results.py"


@pytest.fixture(scope="module")
def job():
    spec = importlib.util.spec_from_file_location("record_results", JOB)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_of_the_files_of_record(job):
    assert job.PAGE.read_text() == job.page()


def test_every_file_of_record_belongs_to_a_record_and_names_no_place(job):
    folders = [path for path in job.RESULTS.iterdir() if path.is_dir()]
    assert {folder.name for folder in folders} <= set(job.RECORDS)
    for folder in folders:
        header = json.loads((folder / "evaluation.json").read_text())
        assert "/" not in header["set"]
        assert not any("/" in method.get("external", "") for method in header["methods"].values())


def test_records_have_twelve_items_or_say_otherwise(job):
    for name, record in job.RECORDS.items():
        path = job.RESULTS / name / "items.csv"
        if path.is_file():
            items = {row["item"] for row in job.read_items(path)}
            assert len(items) >= 12 or record.what.startswith(f"{len(items)} ")


def test_every_record_has_methods(job):
    for record in job.RECORDS.values():
        assert len(record.methods()) > 1


def test_a_record_is_evaluated_kept_and_shown(job, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "WORK", tmp_path / "work")
    monkeypatch.setattr(job, "RESULTS", tmp_path / "results")
    job.make("fusion", Scenes(SceneSet("bundled", side_px=48, count=1)), {})
    rows = job.read_items(tmp_path / "results" / "fusion" / "items.csv")
    assert [row["method"] for row in rows] == list(job.RECORDS["fusion"].methods())
    assert all(row["status"] == "ok" and row["psnr_db"] > 20 for row in rows)
    page = job.page()
    assert "## Fusion alone, scale 1" in page
    assert f"| astronaut | {rows[0]['psnr_db']:.4g} |" in page
