"""Results of others: as large as the output or as the sources, missing, grey, of a wrong size."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import texture, write_image
from dfp_batch.core.image import enlarge
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.evaluation import External, evaluate, item_set
from dfp_batch.io import codec
from dfp_batch.reconstruction.back_projection import BackProjection
from evaluation_parts import HERE, multi_focus, write_archive


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
