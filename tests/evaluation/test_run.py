"""Whole evaluations of tiny archives: rows, files, errors, resume, externals, workers, S3."""

import json
import math
import re
import shutil
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import torch

from conftest import texture, write_image
from dfp_batch.core.image import enlarge
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.errors import ConfigError, RunStoppedError, StorageAccessError
from dfp_batch.evaluation import External, Options, evaluate, item_set, named_methods
from dfp_batch.evaluation.work import SCHEMA
from dfp_batch.io import codec, storage
from dfp_batch.pipeline.fusion import FusionConfig
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.runs.manifest import read_manifest, write_manifest
from dfp_batch.runs.pairing import build_manifest
from evaluation_parts import DIE, RAISE, average, faulty, multi_focus, write_archive

HERE = Options(workers=1)
KNOWS_AND_GUESSES = ("classical kernel=sigma=1.8", "classical kernel=lanczos2")
CLASSICAL = FusionConfig.preset("classical", precision="fp32")


def table(url, name="items"):
    return pq.read_table(f"{url}/{name}.parquet").to_pylist()


def by_key(rows):
    return {(row["item"], row["scale"], row["method"]): row for row in rows}


def errors(evaluation):
    return {
        (row["item"], row["scale"], row["method"]): row["error_message"]
        for row in evaluation.rows
        if row["status"] == "error"
    }


def pixels(path):
    return codec.decode(Path(path).read_bytes(), str(path)).pixels


# rows and files


def test_rows_are_complete_and_in_order(tmp_path):
    archive = item_set(write_archive(tmp_path))
    found = evaluate(archive, {"b": average(), "a": CLASSICAL}, f"{tmp_path}/out", (2, 1), HERE)
    assert [(row["scale"], row["item"], row["method"]) for row in found.rows] == [
        (scale, item, method) for scale in (2, 1) for item in ("p0", "p1") for method in ("b", "a")
    ]
    rows = by_key(found.rows)
    row = rows["p0", 2, "a"]
    assert {name for name, value in row.items() if value is None} == {
        "error_type", "error_message", "accuracy_thin", "accuracy_flat"
    }  # fmt: skip
    assert (row["set"], row["status"], row["n_sources"]) == ("manifest", "ok", 2)
    assert (row["width_px"], row["height_px"]) == (56, 48)
    assert row["seconds_per_mp"] == pytest.approx(row["seconds"] / (56 * 48 / 1e6))
    assert row["accuracy"] > 0.8
    assert row["psnr_db"] > rows["p0", 2, "b"]["psnr_db"] + 1
    assert rows["p0", 2, "b"]["accuracy"] is None
    assert rows["p0", 1, "a"]["psnr_db"] > row["psnr_db"]


def test_files_hold_what_is_returned(tmp_path):
    methods = named_methods(["average seed=3", "classical"], {})
    archive = item_set(write_archive(tmp_path))
    found = evaluate(archive, methods, f"{tmp_path}/out", [1], replace(HERE, versus="classical"))
    assert table(found.url) == found.rows
    assert table(found.url, "summary") == found.summary
    assert {row["versus"] for row in found.summary} == {"classical"}
    for name, rows in [("items", found.rows), ("summary", found.summary)]:
        text = pc.read_csv(f"{found.url}/{name}.csv")
        assert text.num_rows == len(rows)
        assert text.column_names == list(rows[0])
    header = json.loads(Path(f"{found.url}/evaluation.json").read_bytes())
    assert header["scales"] == [1]
    assert header["methods"]["average seed=3"]["focus"] == {"use": "undecided"}
    assert header["methods"]["average seed=3"]["seed"] == 3
    assert set(header["versions"]) == {"dfp_batch", "python", "torch", "opencv", "numpy"}
    assert header["seconds"] > 0
    assert "# Evaluation of manifest" in Path(f"{found.url}/summary.md").read_text()


def test_identical_result_is_infinite_in_every_file(tmp_path):
    write_archive(tmp_path, 1)
    external = {"perfect": External(f"{tmp_path}/truth")}
    storage.write_bytes(f"{tmp_path}/truth/p0.png", (tmp_path / "t0.png").read_bytes())
    found = evaluate(
        item_set(f"{tmp_path}/manifest.parquet"), external, f"{tmp_path}/out", [1], HERE
    )
    assert found.rows[0]["psnr_db"] == math.inf
    assert table(found.url)[0]["psnr_db"] == math.inf
    assert pc.read_csv(f"{found.url}/items.csv")["psnr_db"].to_pylist() == [math.inf]
    (mean,) = [row["mean"] for row in found.summary if row["metric"] == "psnr_db"]
    assert mean == 100


def test_scores_are_of_what_the_file_would_hold(tmp_path):
    methods = {"average+x": average()}
    archive = item_set(write_archive(tmp_path, 1))
    found = evaluate(archive, methods, f"{tmp_path}/out", [2], replace(HERE, images=True))
    again = {"same": External(f"{tmp_path}/again")}
    result = Path(f"{found.url}/images/x2/average+x/p0.png").read_bytes()
    storage.write_bytes(f"{tmp_path}/again/x2/p0.png", result)
    repeated = evaluate(archive, again, f"{tmp_path}/out2", [2], HERE)
    for name in ("psnr_db", "ssim_colour", "mg", "reco", "viff"):
        assert repeated.rows[0][name] == found.rows[0][name]
    assert repeated.rows[0]["seconds"] is None


def test_images_of_sources_can_be_fused_elsewhere(tmp_path):
    archive = item_set(write_archive(tmp_path, 1))
    found = evaluate(
        archive, {"a": average()}, f"{tmp_path}/out", (1, 2), replace(HERE, images=True)
    )
    assert Path(f"{found.url}/sources/x1/p0_A.png").read_bytes() != b""
    np.testing.assert_array_equal(
        pixels(f"{found.url}/sources/x1/p0_B.png"), pixels(f"{tmp_path}/p0_B.png")
    )
    (pair,), _ = build_manifest(f"{found.url}/sources/x2")
    first, second = (pixels(url) for url in pair.sources)
    assert first.shape == (24, 28, 3)
    mean = (first.astype(np.float64) + second) / 2
    mine = np.rint(mean).astype(np.uint8)
    write_image(f"{tmp_path}/mine/x2/p0.png", mine)  # as small as the sources
    mine_url = {"mine": External(f"{tmp_path}/mine")}
    again = evaluate(archive, mine_url, f"{tmp_path}/out2", [2], HERE)
    assert again.rows[0]["psnr_db"] == pytest.approx(found.rows[1]["psnr_db"], abs=0.05)


# errors


def test_a_method_that_raises_for_one_item_costs_one_row(tmp_path):
    archive = item_set(write_archive(tmp_path, 3, marks={1: RAISE}))
    found = evaluate(
        archive, {"faulty": faulty(), "average": average()}, f"{tmp_path}/out", [1], HERE
    )
    assert errors(found) == {("p1", 1, "faulty"): "this item is marked"}
    assert by_key(table(found.url))["p1", 1, "faulty"]["error_type"] == "RuntimeError"
    counts = {row["method"]: (row["n"], row["errors"]) for row in found.summary}
    assert counts == {"faulty": (2, 1), "average": (3, 0)}


def test_a_bad_reference_costs_one_item(tmp_path):
    url = write_archive(tmp_path)
    write_image(f"{tmp_path}/t0.png", texture(48, 57))
    found = evaluate(item_set(url), {"a": average(), "b": average()}, f"{tmp_path}/out", [1], HERE)
    assert set(errors(found)) == {("p0", 1, "a"), ("p0", 1, "b")}
    assert f"{tmp_path}/t0.png is 57x48 px, expected 56x48" in errors(found)["p0", 1, "a"]
    assert by_key(found.rows)["p0", 1, "a"]["n_sources"] is None


def test_a_pair_with_a_larger_reference_has_one_scale(tmp_path):
    url = write_archive(tmp_path)
    pairs = read_manifest(url)
    truth = write_image(f"{tmp_path}/large.png", texture(96, 112))
    write_manifest(url, [replace(pairs[0], reference=truth), pairs[1]])
    both = evaluate(item_set(url), {"a": average()}, f"{tmp_path}/out", (1, 2), HERE)
    assert [(row["item"], row["scale"], row["status"]) for row in both.rows] == [
        ("p1", 1, "ok"), ("p0", 2, "ok"), ("p1", 2, "ok")
    ]  # fmt: skip
    one = evaluate(item_set(url), {"a": average()}, f"{tmp_path}/out1", [1], HERE)
    assert "can be scored at scale 2 only" in errors(one)["p0", 1, "a"]


def test_a_result_that_is_not_finite_is_an_error(tmp_path):
    method = replace(average(), merge=NotFinite())
    found = evaluate(
        item_set(write_archive(tmp_path, 1)), {"a": method}, f"{tmp_path}/out", [1], HERE
    )
    assert errors(found) == {("p0", 1, "a"): "the result holds NaN or infinity"}


@dataclass(frozen=True)
class NotFinite:
    def __call__(self, sources, decision):
        return sources[0][None] * torch.nan


NOTHING = {"a": average()}


@pytest.mark.parametrize(
    ("methods", "scales", "options", "text"),
    [
        ({}, [1], {}, "no method to evaluate"),
        (NOTHING, [], {}, "scales must be 1, 2, 3 or 4, got none"),
        (NOTHING, [1, 5], {}, "scales must be 1, 2, 3 or 4, got 1, 5"),
        (NOTHING, [1], {"versus": "b"}, "versus must be one of a, got 'b'"),
        ({"CNN": External("/nowhere")}, [1], {}, "CNN: /nowhere holds nothing"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(
    tmp_path, methods, scales, options, text
):
    archive = item_set(write_archive(tmp_path, 1))
    with pytest.raises(ConfigError, match=re.escape(text)):
        evaluate(archive, methods, f"{tmp_path}/out", scales, Options(**options))
    assert not (tmp_path / "out").exists()


def test_no_worker_is_refused():
    with pytest.raises(ConfigError, match="workers must be >= 1, got 0"):
        Options(workers=0)


# going on


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


def test_a_method_that_knows_the_kernel_is_better(tmp_path):
    archive = item_set(write_archive(tmp_path, size=(96, 96)), kernel=Gaussian(1.8))
    knows, guesses = (named_methods([name], {})[name] for name in KNOWS_AND_GUESSES)
    methods = {"knows": knows, "guesses": guesses}
    found = evaluate(archive, methods, f"{tmp_path}/out", [1, 2], HERE)
    psnr_db = {(row["item"], row["scale"], row["method"]): row["psnr_db"] for row in found.rows}
    for item in ("p0", "p1"):
        assert psnr_db[item, 1, "knows"] == psnr_db[item, 1, "guesses"]
        assert psnr_db[item, 2, "knows"] > psnr_db[item, 2, "guesses"] + 0.5
    assert {(row["scale"], row["degrade"]) for row in found.rows} == {(1, None), (2, "sigma=1.8")}
    report = storage.read_bytes(f"{tmp_path}/out/summary.md").decode()
    assert "Sources made smaller with the kernel sigma=1.8." in report


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


# results of others


@pytest.fixture
def archive_with_results(tmp_path):
    """One colour pair; ``result(folder, pixels)`` writes a result, ``score(scale)`` its row."""
    archive = item_set(write_archive(tmp_path, 1))
    runs = iter(range(10))

    def score(scale, method=None):
        method = method or External(f"{tmp_path}/CNN")
        return evaluate(
            archive, {"CNN": method}, f"{tmp_path}/out{next(runs)}", [scale], HERE
        ).rows[0]

    def result(folder, image):
        write_image(f"{tmp_path}/CNN/{folder}p0.png", image)

    return tmp_path, result, score


def test_good_result_is_scored_without_time_and_decision(archive_with_results):
    _, result, score = archive_with_results
    result("", multi_focus()[0])
    row = score(1)
    assert row["status"] == "ok"
    assert row["psnr_db"] == math.inf
    assert row["seconds"] is row["seconds_per_mp"] is row["accuracy"] is None
    assert row["reco"] is not None


def test_small_result_is_enlarged(archive_with_results):
    folder, result, score = archive_with_results
    small = texture(24, 28)
    result("x2/", small)
    enlarged = enlarge(torch.from_numpy(codec.to_unit(codec.Frame(small)))[None], 2)[0].clamp(0, 1)
    result("x2/large/", codec.from_unit(enlarged.numpy(), np.uint8).pixels)
    (folder / "CNN/large").mkdir()
    Path(folder / "CNN/x2/large").rename(folder / "CNN/large/x2")
    bicubic = score(2)
    assert bicubic["psnr_db"] == score(2, External(f"{folder}/CNN/large"))["psnr_db"]
    lanczos = BackProjection(steps=0, kernel="lanczos")
    assert score(2, External(f"{folder}/CNN", lanczos))["psnr_db"] != bicubic["psnr_db"]


def test_small_results_of_others_are_enlarged_with_the_kernel(archive_with_results):
    folder, result, score = archive_with_results
    result("x2/", texture(24, 28))
    psnr_db = {
        score(2, External(f"{folder}/CNN", BackProjection(2), kernel))["psnr_db"]
        for kernel in (Lanczos2(), Gaussian(1.2))
    }
    assert len(psnr_db) == 2


def test_result_of_another_size_is_named(archive_with_results):
    folder, result, score = archive_with_results
    result("x2/", texture(48, 55))
    row = score(2)
    assert (row["status"], row["error_type"]) == ("error", "ImageError")
    assert row["error_message"] == (
        f"{folder}/CNN/x2/p0.png is 55x48 px, expected 56x48 px (the output) "
        "or 28x24 px (the sources)"
    )


def test_grey_result_is_scored_on_luma(archive_with_results):
    _, result, score = archive_with_results
    result("", texture(48, 56, 1))
    row = score(1)
    assert row["psnr_db"] > 0
    assert row["psnr_colour_db"] is row["ssim_colour"] is None


def test_missing_results_are_rows(archive_with_results):
    folder, _, score = archive_with_results
    write_image(f"{folder}/CNN/other.png", texture(48, 56))
    assert f"{folder}/CNN/p0.*: nothing is there" in score(1)["error_message"]
    assert f"no folder {folder}/CNN/x2 for scale 2" in score(2)["error_message"]


# workers and object storage


def test_a_dead_worker_names_its_items_and_loses_nothing_else(tmp_path):
    """Also: workers give the rows that this process gives."""
    (tmp_path / "archive").mkdir()
    url = write_archive(tmp_path / "archive", 4, marks={1: RAISE, 3: DIE})
    methods = {"faulty": faulty(), "average": average()}
    seen = []
    options = Options(workers=2, on_progress=lambda counts: seen.append((counts.ok, counts.failed)))
    with pytest.raises(RunStoppedError, match=r"a worker process died, .* working on .*p3 at x1"):
        evaluate(item_set(url), methods, f"{tmp_path}/out", [1], options)
    saved = by_key(table(f"{tmp_path}/out"))
    assert ("p0", 1, "faulty") in saved
    assert "p3" not in {item for item, _, _ in saved}
    assert seen[0] == (0, 0)
    assert len(seen) == 1 + len(saved) // 2

    _, (near, _), _ = multi_focus(seed=3)
    write_image(f"{tmp_path}/archive/p3_A.png", near)
    resumed = evaluate(item_set(url), methods, f"{tmp_path}/out", [1], HERE)
    assert resumed.rows[0] == saved["p0", 1, "faulty"]
    alone = evaluate(item_set(url), methods, f"{tmp_path}/alone", [1], HERE)
    times = {"seconds": None, "seconds_per_mp": None}
    assert [row | times for row in resumed.rows] == [row | times for row in alone.rows]
    assert list(errors(alone)) == [("p1", 1, "faulty")]


def test_everything_works_on_object_storage(s3_url):
    root = f"{s3_url}/evaluation"
    archive = item_set(write_archive(root, 1))
    write_image(f"{root}/CNN/p0.png", multi_focus()[0])
    methods = {"average": average(), "CNN": External(f"{root}/CNN")}
    options = replace(HERE, images=True)
    found = evaluate(archive, methods, f"{root}/out", [1], options)
    assert errors(found) == {}
    assert storage.exists(f"{root}/out/images/x1/average/p0.png")
    saved = pq.read_table(storage_file(f"{root}/out/items.parquet"))
    assert saved.schema.names == SCHEMA.names
    assert saved.to_pylist() == found.rows
    assert evaluate(archive, methods, f"{root}/out", [1], options).rows == found.rows
    for name in (
        "items.csv",
        "summary.csv",
        "summary.parquet",
        "summary.md",
        "sources/x1/p0_A.png",
    ):
        assert storage.exists(f"{root}/out/{name}"), name


def storage_file(url):
    import io  # noqa: PLC0415

    return io.BytesIO(storage.read_bytes(url))
