"""Whole evaluations of tiny archives: rows, files, errors, workers, S3."""

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import torch

from conftest import texture, write_image
from dfp_batch.archive.find import find_stacks
from dfp_batch.core.contracts import Merge
from dfp_batch.degradation.kernels import Gaussian
from dfp_batch.errors import ConfigError, RunStoppedError
from dfp_batch.evaluation import External, Options, evaluate, item_set, named_methods
from dfp_batch.evaluation.work import SCHEMA
from dfp_batch.io import storage
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.runs.manifest import Pair, read_manifest, write_manifest
from evaluation_parts import (
    DIE,
    HERE,
    RAISE,
    average,
    by_key,
    errors,
    faulty,
    multi_focus,
    pixels,
    table,
    write_archive,
)
from pair_files import picture

KNOWS_AND_GUESSES = ("classical kernel=sigma=1.8", "classical kernel=lanczos2")
CLASSICAL = FusionConfig.preset("classical", precision="fp32")


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
        "error_type", "error_message", "unfocused_psnr_db", "accuracy_thin", "accuracy_flat"
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


def test_methods_apart_make_the_same_rows_and_count_one_by_one(tmp_path):
    archive = item_set(write_archive(tmp_path))
    methods = {"b": average(), "a": CLASSICAL}
    seen = []
    apart = replace(HERE, apart=True, on_progress=lambda counts: seen.append(counts.ok))
    found = evaluate(archive, methods, f"{tmp_path}/apart", (1, 2), apart)
    usual = evaluate(archive, methods, f"{tmp_path}/usual", (1, 2), HERE)
    untimed = [
        [{**row, "seconds": None, "seconds_per_mp": None} for row in one.rows]
        for one in (found, usual)
    ]
    assert untimed[0] == untimed[1]
    assert seen == list(range(9))


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
    (pair,) = find_stacks(f"{found.url}/sources/x2").pairs()
    first, second = (pixels(url) for url in pair.sources)
    assert first.shape == (24, 28, 3)
    mean = (first.astype(np.float64) + second) / 2
    mine = np.rint(mean).astype(np.uint8)
    write_image(f"{tmp_path}/mine/x2/p0.png", mine)  # as small as the sources
    mine_url = {"mine": External(f"{tmp_path}/mine")}
    again = evaluate(archive, mine_url, f"{tmp_path}/out2", [2], HERE)
    assert again.rows[0]["psnr_db"] == pytest.approx(found.rows[1]["psnr_db"], abs=0.05)


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
class NotFinite(Merge):
    def __call__(self, sources, decision, certainty, compute):
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


def test_a_frame_that_was_left_out_decides_nothing(tmp_path):
    truth, sources, masks = multi_focus((64, 64))
    stranger = picture(64, seed=9)
    images = [*sources, stranger]
    nowhere = np.zeros_like(masks[0])
    pair = Pair(
        "p0",
        tuple(write_image(f"{tmp_path}/s{k}.png", image) for k, image in enumerate(images)),
        reference=write_image(f"{tmp_path}/t.png", truth),
        masks=tuple(
            write_image(f"{tmp_path}/m{k}.png", mask) for k, mask in enumerate([*masks, nowhere])
        ),
    )
    write_manifest(f"{tmp_path}/manifest.parquet", [pair])
    archive = item_set(f"{tmp_path}/manifest.parquet")
    (row,) = evaluate(archive, {"a": CLASSICAL}, f"{tmp_path}/out", (1,), HERE).rows
    assert (row["status"], row["error_message"], row["n_sources"]) == ("ok", None, 3)
    assert row["accuracy"] > 0.8
