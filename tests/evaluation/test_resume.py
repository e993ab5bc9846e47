"""Evaluations that go on: after an end, an error, an interruption, a power cut."""

import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import write_image
from dfp_batch.degradation.kernels import Gaussian
from dfp_batch.errors import ConfigError, StorageAccessError
from dfp_batch.evaluation import evaluate, item_set
from dfp_batch.io import storage
from dfp_batch.pipeline.composition import FusionConfig
from evaluation_parts import (
    HERE,
    RAISE,
    average,
    by_key,
    errors,
    faulty,
    multi_focus,
    table,
    write_archive,
)

CLASSICAL = FusionConfig.preset("classical", precision="fp32")


def calls(folder):
    return len(list(Path(folder).iterdir()))


def test_the_same_evaluation_computes_only_what_failed(tmp_path):
    url = write_archive(tmp_path, 3, marks={1: RAISE})
    (tmp_path / "calls").mkdir()
    methods = {"counted": faulty(tmp_path / "calls"), "average": average()}
    first = evaluate(item_set(url), methods, f"{tmp_path}/out", (1, 2), HERE)
    assert calls(tmp_path / "calls") == 6
    assert len(errors(first)) == 1  # at scale 2 the mark is gone

    again = evaluate(
        item_set(url), methods, f"{tmp_path}/out", (1, 2), replace(HERE, versus="average")
    )
    assert calls(tmp_path / "calls") == 7
    assert again.rows == first.rows  # the times, too

    _, (near, _), _ = multi_focus(seed=1)
    write_image(f"{tmp_path}/p1_A.png", near)
    repaired = evaluate(item_set(url), methods, f"{tmp_path}/out", (1, 2), HERE)
    assert errors(repaired) == {}
    kept = by_key(first.rows)
    changed = [key for key, row in by_key(repaired.rows).items() if row != kept[key]]
    assert changed == [("p1", 1, "counted")]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_interrupted_evaluation_has_its_rows_in_one_table(tmp_path):
    url = write_archive(tmp_path, 3)

    def interrupt(counts):
        if counts.ok == 2:
            raise KeyboardInterrupt

    options = replace(HERE, on_progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate(item_set(url), {"a": average()}, f"{tmp_path}/out", [1], options)
    assert [row["item"] for row in table(f"{tmp_path}/out")] == ["p0", "p1"]
    assert files(tmp_path / "out") == ["evaluation.json", "items.csv", "items.parquet"]


@pytest.fixture
def killed(tmp_path):
    """Evaluations as a power cut after each item leaves them: copies of the folder."""

    def make(url, methods, scales=(1,)):
        copies = []

        def copy(counts):
            if counts.ok + counts.failed:
                copies.append(tmp_path / f"killed-{len(copies)}")
                shutil.copytree(tmp_path / "out", copies[-1])

        options = replace(HERE, on_progress=copy)
        return evaluate(item_set(url), methods, f"{tmp_path}/out", scales, options), copies

    return make


def test_a_killed_evaluation_goes_on_with_the_rows_that_it_has(tmp_path, killed):
    (tmp_path / "calls").mkdir()
    methods = {"counted": faulty(tmp_path / "calls"), "average": average()}
    url = write_archive(tmp_path, 3)
    whole, copies = killed(url, methods, (1, 2))
    assert files(copies[1]) == [
        "evaluation.json", "parts/p0.x1.parquet", "parts/p1.x1.parquet"
    ]  # fmt: skip
    before = calls(tmp_path / "calls")
    resumed = evaluate(item_set(url), methods, str(copies[1]), (1, 2), HERE)
    assert calls(tmp_path / "calls") == before + 4
    assert resumed.rows[:4] == whole.rows[:4]  # the times, too
    assert table(resumed.url) == resumed.rows
    assert files(copies[1]) == files(tmp_path / "out")


def test_what_was_written_at_once_does_not_grow_with_what_was_written_before(tmp_path, killed):
    _, copies = killed(write_archive(tmp_path, 4), {"a": average()})
    new = [
        {name: (copy / name).read_bytes() for name in files(copy) if name.startswith("parts")}
        for copy in copies
    ]
    for earlier, later in pairwise(new):
        assert earlier.items() < later.items()
        assert len(later) == len(earlier) + 1


def test_a_part_has_the_rows_that_were_there_before_too(tmp_path):
    url = write_archive(tmp_path, 1, marks={0: RAISE})
    methods = {"faulty": faulty(), "average": average()}
    found = evaluate(item_set(url), methods, f"{tmp_path}/out", [1], HERE)
    assert errors(found).keys() == {("p0", 1, "faulty")}
    _, (near, _), _ = multi_focus(seed=0)
    write_image(f"{tmp_path}/p0_A.png", near)
    parts = []

    def look(counts):
        parts.extend(pq.read_table(part).to_pylist() for part in tmp_path.glob("out/parts/*"))

    options = replace(HERE, on_progress=look)
    repaired = evaluate(item_set(url), methods, f"{tmp_path}/out", [1], options)
    assert parts == [repaired.rows]


def test_an_evaluation_without_parts_as_it_was_once_written_goes_on(tmp_path):
    url = write_archive(tmp_path, 3)
    first = evaluate(item_set(url), {"a": average()}, f"{tmp_path}/out", [1], HERE)
    rows = pq.read_table(f"{tmp_path}/out/items.parquet")
    (tmp_path / "out/parts").rmdir()
    pq.write_table(rows.slice(0, 2), f"{tmp_path}/out/items.parquet")
    (tmp_path / "out/summary.parquet").unlink()
    again = evaluate(item_set(url), {"a": average()}, f"{tmp_path}/out", [1], HERE)
    assert again.rows[:2] == first.rows[:2]
    assert len(again.rows) == len(table(again.url)) == 3


def test_another_evaluation_in_the_folder_is_refused(tmp_path):
    archive = item_set(write_archive(tmp_path))
    evaluate(archive, {"a": average()}, f"{tmp_path}/out", [1], HERE)
    before = table(f"{tmp_path}/out")
    for methods, scales, options, text in [
        ({"a": average()}, [1, 2], HERE, "scales: [1] -> [1, 2]"),
        ({"a": average()}, [1], replace(HERE, images=True), "images: false -> true"),
        ({"a": replace(average(), seed=1)}, [1], HERE, '"seed": 0'),
        ({"a": average(), "b": CLASSICAL}, [1], HERE, 'methods: {} -> {"b"'),
    ]:
        with pytest.raises(ConfigError, match=re.escape(text)):
            evaluate(archive, methods, f"{tmp_path}/out", scales, options)
    blurred = replace(archive, kernel=Gaussian(1.2))
    with pytest.raises(ConfigError, match=re.escape('degrade: "lanczos2" -> "sigma=1.2"')):
        evaluate(blurred, {"a": average()}, f"{tmp_path}/out", [1], HERE)
    smaller = item_set(f"{tmp_path}/manifest.parquet", limit=1)
    with pytest.raises(ConfigError, match="manifest_sha256"):
        evaluate(smaller, {"a": average()}, f"{tmp_path}/out", [1], HERE)
    assert table(f"{tmp_path}/out") == before


@pytest.mark.parametrize("content", ["{}", "[]", "nonsense"])
def test_a_file_that_is_no_evaluation_is_refused(tmp_path, content):
    archive = item_set(write_archive(tmp_path, 1))
    storage.write_bytes(f"{tmp_path}/out/evaluation.json", content.encode())
    with pytest.raises(ConfigError, match=r"evaluation.json is not of an evaluation; choose"):
        evaluate(archive, {"a": average()}, f"{tmp_path}/out", [1], HERE)


def test_a_store_that_cannot_be_used_stops_everything(tmp_path):
    archive = item_set(write_archive(tmp_path, 2))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/images").touch()
    with pytest.raises(StorageAccessError, match="a file stands where a folder is expected"):
        evaluate(archive, {"a": average()}, f"{tmp_path}/out", [1], replace(HERE, images=True))
