"""The record of the paper's tables, from small images to the page."""

from dataclasses import replace
from pathlib import Path

import pytest

from conftest import write_image
from dfp_batch.errors import ConfigError
from dfp_batch.evaluation.published import FUSERS
from dfp_batch.evaluation.records import read_items
from dfp_batch.runs.manifest import Pair, write_manifest
from evaluation_parts import HERE, multi_focus
from test_examples import unchanging

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "tests" / "benchmarks" / "results" / "paper-tables" / "published.csv"
JOB = "paper_tables"
SIDE = (136, 130)


@pytest.fixture(scope="module")
def given(job, tmp_path_factory):
    """One pair of each set, the truth as everybody's result, and an SRCNN that changes nothing."""
    folder = tmp_path_factory.mktemp("given")
    pairs = []
    for seed, name in enumerate(("lytro_01", "MFI-WHU_01")):
        truth, sources, _ = multi_focus(SIDE, seed=seed)
        places = [f"{folder}/pairs/{name}_{letter}.png" for letter in "AB"]
        pairs.append(Pair(name, tuple(map(write_image, places, sources))))
        for fuser in FUSERS.values():
            write_image(f"{folder}/external/{fuser}/{name}.png", truth)
    write_image(f"{folder}/external/GFF/lytro_01.png", multi_focus(SIDE)[0])
    write_manifest(f"{folder}/pairs.parquet", pairs)
    for scale in (2, 4):
        unchanging(folder / f"srcnn_x{scale}.npz")
    externals = {path.name: str(path) for path in (folder / "external").iterdir()}
    return job.Given(f"{folder}/pairs.parquet", externals, str(folder), folder / "work")


@pytest.fixture(scope="module")
def results(job, given):
    """The record of its quick parts."""
    folder = given.work.parent / "results"
    for part in job.parts(given):
        if part.name in ("mfi-whu-others", "x1-lytro-others"):
            job.make(part, given.work, HERE, folder)
    (folder / "published.csv").write_bytes(PUBLISHED.read_bytes())
    return folder


def test_the_parts_are_every_combination(job, given):
    parts = {part.name: part for part in job.parts(given)}
    assert set(parts["mfi-whu-others"].methods) == {
        f"{fuser}+{enlarger}" for fuser in FUSERS for enlarger in ("bicubic", "srcnn")
    }
    assert set(parts["x1-lytro-others"].methods) == {*FUSERS, "GFF"}
    assert set(parts["x1-mfi-whu-others"].methods) == set(FUSERS)
    slow = {name for name, part in parts.items() if part.is_slow}
    assert slow == {"crops-paper", "dip-MFI-WHU_01-x2", "dip-MFI-WHU_01-x4"}
    assert set(parts["dip-MFI-WHU_01-x4"].methods) == {f"{fuser}+dip" for fuser in FUSERS}


def test_the_record_holds_the_rows_of_the_parts(results):
    rows = read_items(results / "items.csv")
    assert {(row["set"], row["scale"]) for row in rows} == {
        ("lytro", 1),
        ("mfi-whu", 2),
        ("mfi-whu", 4),
    }
    assert len(rows) == 13 + 2 * 24
    assert {row["status"] for row in rows} == {"ok"}
    assert str(results.parent) not in (results / "evaluation.json").read_text()


def test_what_is_done_is_kept_if_a_part_is_interrupted(job, given, tmp_path):
    def stop(counts):
        if counts.ok == 1:
            raise KeyboardInterrupt

    part = next(part for part in job.parts(given) if part.name == "mfi-whu-others")
    with pytest.raises(KeyboardInterrupt):
        job.make(part, tmp_path / "work", replace(HERE, on_progress=stop), tmp_path / "results")
    rows = read_items(tmp_path / "results" / "items.csv")
    assert {row["scale"] for row in rows} == {2}


def test_a_network_that_changes_nothing_is_bicubic(results):
    rows = [row for row in read_items(results / "items.csv") if row["set"] == "mfi-whu"]
    found = {(row["scale"], row["method"]): row["psnr_db"] for row in rows}
    for scale in (2, 4):
        bicubic, network = (found[scale, f"CNN+{name}"] for name in ("bicubic", "srcnn"))
        assert network == pytest.approx(bicubic, abs=0.05)


def test_the_page_shows_measured_and_printed_figures(job, results):
    page = "\n\n".join(job.shown(results))
    rows = [row for row in read_items(results / "items.csv") if row["method"] == "DRPL+bicubic"]
    rmg, psnr_db = ({row["scale"]: row[name] for row in rows} for name in ("rmg", "psnr_db"))
    line = f"| DRPL+bicubic | {rmg[2]:.3f} (0.651) | {rmg[4]:.3f} (2.567) | "
    assert line in page.replace("2.568", "2.567")
    assert f"| DRPL+bicubic | 1 | 1 | {psnr_db[2]:.2f} | {psnr_db[4]:.2f} | " in page
    assert "| paper | - (0.584) | - (1.811) | " in page
    assert "| PMGI+dip | - (2.233) | " in page
    assert "### Scale 1, Lytro\n\n| method | n | errors | SCD | SCD vs CNN |" in page
    assert "<details><summary>Fusers, then bicubic; Lytro</summary>" in page


def test_the_order_of_the_fusers_is_compared_with_the_printed_one(job, results, tmp_path):
    def swapped(lines, first, second):
        """The lines with the names of two fusers exchanged."""
        return [
            line.replace(first, "?").replace(second, first).replace("?", second) for line in lines
        ]

    table = (results / "items.csv").read_text().splitlines()
    names = table[0].split(",")
    rei = {"CNN": 3.0, "DRPL": 2.0, "ECNN": 2.5}  # printed: 3.6682, 3.0538, 3.2677
    lines = [table[0]]
    for fuser, value in rei.items():
        cells = next(row for row in table if f",2,{fuser}+bicubic," in row).split(",")
        cells[names.index("rei")] = str(value)
        lines.append(",".join(cells))
    (tmp_path / "published.csv").write_bytes(PUBLISHED.read_bytes())
    for order, expected in ((lines, "1.00"), (swapped(lines, ",CNN+", ",DRPL+"), "-1.00")):
        (tmp_path / "items.csv").write_text("\n".join(order))
        (agreement, *_) = [
            line for line in "\n".join(job.shown(tmp_path)).splitlines() if "rank corr" in line
        ]
        assert agreement.split(" | ")[3] == expected


def test_what_is_not_there_yet_is_a_dash(job, results, tmp_path):
    (tmp_path / "published.csv").write_bytes(PUBLISHED.read_bytes())
    table = (results / "items.csv").read_text().splitlines(keepends=True)
    half = [line for line in table[1:] if line.startswith("mfi-whu") and ",2,CNN+bicubic" in line]
    (tmp_path / "items.csv").write_text("".join([table[0], *half]))
    page = "\n\n".join(job.shown(tmp_path))
    assert "| CNN+bicubic | 1 | 0 | " in page
    assert "| DRPL+bicubic | 0 | 0 | - | - | " in page
    assert "Scale 1" not in page
    assert "where n differs" not in page
    other = half[0].replace("MFI-WHU_01", "MFI-WHU_02")
    (tmp_path / "items.csv").write_text(
        "".join([table[0], *half, other, half[0].replace("CNN+", "PMGI+")])
    )
    assert "The means are of different items where n differs" in "".join(job.shown(tmp_path))


def test_no_page_without_the_record(job, tmp_path):
    assert job.shown(tmp_path) == []


def test_what_is_missing_is_named(job, given, tmp_path):
    without = {name: folder for name, folder in given.externals.items() if name != "PMGI"}
    with pytest.raises(ConfigError, match=r"a folder of results of PMGI must be given"):
        job.parts(job.Given(given.pairs, without, given.srcnn, given.work))
    write_manifest(f"{tmp_path}/other.parquet", [Pair("tsai_01", ("/a", "/b"))])
    other = job.Given(f"{tmp_path}/other.parquet", given.externals, "", given.work)
    with pytest.raises(ConfigError, match="the pairs must be of lytro and mfi-whu, got tsai"):
        job.parts(other)
