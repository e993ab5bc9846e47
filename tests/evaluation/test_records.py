"""Records: evaluated, kept without the places of a machine, shown on a page."""

import json
from dataclasses import replace

import pytest

from conftest import write_image
from dfp_batch.evaluation import Scenes, item_set, named_methods
from dfp_batch.evaluation.record_page import page
from dfp_batch.evaluation.records import Record, keep, make, read_items, with_results
from dfp_batch.synthetic import SceneSet
from evaluation_parts import HERE, multi_focus, write_archive

SCENES = SceneSet("procedural", side_px=48, count=2)
RECORD = Record(
    "Two fusers",
    "2 scenes of 48 px.",
    lambda: named_methods(["average", "laplacian-pyramid"], {}),
    SCENES,
    scales=(1, 2),
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder of one record."""
    folder = tmp_path_factory.mktemp("records")
    make(RECORD, Scenes(SCENES), {}, folder / "work", HERE)
    keep(folder / "work", folder / "results" / "fusers")
    return folder / "results"


def test_a_record_is_kept_with_all_its_rows(results):
    rows = read_items(results / "fusers" / "items.csv")
    assert [(row["scale"], row["item"], row["method"]) for row in rows] == [
        (scale, f"scene-00{index}", method)
        for scale in (1, 2)
        for index in (0, 1)
        for method in ("average", "laplacian-pyramid")
    ]
    assert all(row["status"] == "ok" and row["psnr_db"] > 10 for row in rows)
    assert {row["error_type"] for row in rows} == {None}
    files = {path.name for path in (results / "fusers").iterdir()}
    assert files == {"evaluation.json", "items.csv", "summary.csv"}


def test_the_page_shows_what_the_files_hold(results):
    text = page("\n# Results\n", {"absent": RECORD, "fusers": RECORD}, results)
    assert text.startswith("# Results\n\n## Two fusers\n\nRecord `fusers`. 2 scenes of 48 px.\n\n")
    assert "absent" not in text
    assert [line for line in text.splitlines() if line.startswith("### ")] == [
        f"### Scale {scale}{what}"
        for scale in (1, 2)
        for what in ("", ": details", ": metrics of the paper")
    ]
    first = read_items(results / "fusers" / "items.csv")[:2]
    values = " | ".join(f"{row['psnr_db']:.4g}" for row in first)
    assert "<details><summary>psnr_db per item, scale 1</summary>" in text
    head = "| item | average | laplacian-pyramid |\n| --- | ---: | ---: |"
    assert f"{head}\n| scene-000 | {values} |\n" in text
    assert text.endswith("</details>\n")


def test_the_page_depends_on_the_files_alone(results):
    assert page("x", {"fusers": RECORD}, results) == page("x", {"fusers": RECORD}, results)
    assert page("x", {}, results) == "x\n"


def test_the_table_per_item_is_of_the_metric_of_the_record(results):
    text = page("x", {"fusers": replace(RECORD, column="scd", scales=(2,))}, results)
    assert "scd per item, scale 2" in text
    assert "per item, scale 1" not in text


def test_results_of_others_are_scored_and_their_places_are_not_kept(tmp_path):
    archive = item_set(write_archive(tmp_path / "archive", 2))
    write_image(f"{tmp_path}/CNN/p1.png", multi_focus(seed=1)[0])
    externals = {"CNN": f"{tmp_path}/CNN"}
    pairs = with_results(archive, externals)
    assert [pair.pair_id for pair in pairs.pairs] == ["p1"]
    record = replace(RECORD, scenes=None, scales=(1,))
    make(record, pairs, externals, tmp_path / "work", HERE)
    keep(tmp_path / "work", tmp_path / "kept")
    rows = read_items(tmp_path / "kept" / "items.csv")
    assert [row["method"] for row in rows] == ["average", "laplacian-pyramid", "CNN"]
    text = (tmp_path / "kept" / "evaluation.json").read_text()
    header = json.loads(text)
    assert header["set"] == "manifest.parquet"
    assert header["methods"]["CNN"]["external"] == "CNN"
    assert str(tmp_path) not in text
