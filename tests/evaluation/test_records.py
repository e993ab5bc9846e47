"""Records: evaluated, kept without the places of a machine, shown on a page."""

import json
from dataclasses import replace

import pytest

from conftest import write_image
from dfp_batch.evaluation import Scenes, evaluate, item_set, named_methods
from dfp_batch.evaluation.record_page import OVERVIEW, pages
from dfp_batch.evaluation.records import (
    Record,
    keep,
    keep_together,
    make,
    read_items,
    with_results,
    without_places,
)
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
    make(RECORD, Scenes(SCENES), folder / "work", HERE)
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


def test_the_first_page_shows_the_main_tables_and_where_the_others_are(results):
    text = pages("\n# Results\n", {"absent": RECORD, "fusers": RECORD}, results)[OVERVIEW]
    assert text.startswith("# Results\n\n± is the 95 % confidence interval")
    assert "absent" not in text
    link = "[All tables](results/fusers.md)."
    assert f"\n\n## Two fusers\n\nRecord `fusers`. 2 scenes of 48 px. {link}\n\n" in text
    head = (
        "| method | PSNR dB | worst 5 % | PSNR vs average | SSIM | SCD | VIFF | accuracy | s/MP |"
    )
    ranked = head.split(" SCD", maxsplit=1)[0]
    titles = [line for line in text.splitlines() if line.startswith(("**", "| method"))]
    assert [line.split(" SCD")[0] for line in titles] == [
        line for scale in (1, 2) for line in (f"**Scale {scale}**", ranked)
    ]
    assert text.endswith("```{toctree}\n:hidden:\n\nresults/fusers\n```\n")


def test_the_page_of_a_record_shows_what_the_files_hold(results):
    text = pages("x", {"fusers": RECORD}, results)["results/fusers.md"]
    assert text.startswith("# Two fusers\n\nRecord `fusers`. 2 scenes of 48 px.\n\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## Scale {scale}{what}"
        for scale in (1, 2)
        for what in ("", ": details", ": metrics of the paper")
    ]
    first = read_items(results / "fusers" / "items.csv")[:2]
    values = " | ".join(f"{row['psnr_db']:.4g}" for row in first)
    assert "<details><summary>psnr_db per item, scale 1</summary>" in text
    head = "| item | average | laplacian-pyramid |\n| --- | ---: | ---: |"
    assert f"{head}\n| scene-000 | {values} |\n" in text
    assert text.endswith("</details>\n")


def test_other_records_have_pages_of_their_own(results):
    figures = ["## Figures\n\n![one](figures/one.png)", "### More"]
    made = pages("x", {}, results, {"figures": figures, "absent": []})
    assert set(made) == {OVERVIEW, "results/figures.md"}
    shown = f"{figures[0]}\n\n[All of it](results/figures.md)."
    assert shown in made[OVERVIEW]
    assert made["results/figures.md"] == "# Figures\n\n![one](../figures/one.png)\n\n## More\n"


def test_the_pages_depend_on_the_files_alone(results):
    assert pages("x", {"fusers": RECORD}, results) == pages("x", {"fusers": RECORD}, results)
    assert set(pages("x", {}, results)) == {OVERVIEW}


def test_the_table_per_item_is_of_the_metric_of_the_record(results):
    record = replace(RECORD, column="scd", scales=(2,))
    text = pages("x", {"fusers": record}, results)["results/fusers.md"]
    assert "scd per item, scale 2" in text
    assert "per item, scale 1" not in text


def test_results_of_others_count_where_they_are_complete(tmp_path):
    pairs = item_set(write_archive(tmp_path / "archive", 2)).pairs
    for name, number in (("CNN", 0), ("CNN", 1), ("GFF", 1)):
        write_image(f"{tmp_path}/{name}/p{number}.png", multi_focus(seed=number)[0])
    externals = {name: f"{tmp_path}/{name}" for name in ("CNN", "GFF")}
    assert with_results(pairs, externals) == {"CNN": externals["CNN"]}
    assert with_results(pairs[1:], externals) == externals


@pytest.fixture
def two_parts(tmp_path):
    """Evaluations of the same scenes, and the folder of their record."""
    for name, methods in (("first", ["average"]), ("second", ["average", "laplacian-pyramid"])):
        evaluate(Scenes(SCENES), named_methods(methods, {}), str(tmp_path / name), [1], HERE)
    return tmp_path / "first", tmp_path / "second", tmp_path / "record"


def test_evaluations_are_kept_together(two_parts):
    first, second, record = two_parts
    keep_together({"first": first}, record)
    keep_together({"second": second}, record)
    rows = read_items(record / "items.csv")
    assert [(row["item"], row["method"]) for row in rows] == [
        (f"scene-00{index}", method)
        for index in (0, 1)
        for method in ("average", "laplacian-pyramid")
    ]
    assert rows[0]["psnr_db"] == pytest.approx(
        read_items(second / "items.csv")[0]["psnr_db"], rel=1e-5
    )
    assert "error_type" not in rows[0]
    assert list(json.loads((record / "evaluation.json").read_text())["parts"]) == [
        "first",
        "second",
    ]


def test_newer_rows_replace_older_ones(two_parts):
    first, second, record = two_parts
    keep_together({"second": second}, record)
    text = (first / "items.csv").read_text().replace('"scene-000",1', '"scene-009",1')
    (first / "items.csv").write_text(text)
    keep_together({"first": first}, record)
    assert len(read_items(record / "items.csv")) == 5
    keep_together({"first": first}, record)
    assert len(read_items(record / "items.csv")) == 5


def test_places_are_left_out():
    header = {
        "set": "/data/pairs.parquet",
        "methods": {"CNN": {"external": "/data/CNN", "enlargement": {"weights": "/w/x2.npz"}}},
        "degrade": "lanczos2",
        "cpus": 2,
    }
    assert without_places(header) == {
        "set": "pairs.parquet",
        "methods": {"CNN": {"external": "CNN", "enlargement": {"weights": "x2.npz"}}},
        "degrade": "lanczos2",
        "cpus": 2,
    }
