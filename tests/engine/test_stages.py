"""The stages without Ray: what they produce, and one clear failure for every bad input."""

import dataclasses
import io
import re

import cv2
import numpy as np
import pytest
import tifffile
import torch

from conftest import texture, write_image
from dfp_batch.config.run_config import RunConfig
from dfp_batch.core.degradation import Degradation
from dfp_batch.degradation.kernel_estimation import EstimatedKernel
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.engine.prepare import ALONE, Circumstances, prepare
from dfp_batch.engine.reconstruct import reconstruct
from dfp_batch.engine.stages import Stage, run_stage
from dfp_batch.errors import ImageError
from dfp_batch.focus.sum_modified_laplacian import SumModifiedLaplacian
from dfp_batch.io import codec, storage
from dfp_batch.io.codec.index_map import decode_indices
from dfp_batch.merging.blend import Blend
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.placement import Accelerator
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.deep_fusion_prior import DeepFusionPrior
from dfp_batch.refinement.decision_embedding import DecisionEmbedding
from dfp_batch.runs.attempts import METRICS, SCHEMA
from dfp_batch.runs.manifest import Pair
from dfp_batch.synthetic import procedural_image
from stage_parts import CLASSICAL, folder_of, fused_of, halves, make_pair, run_pair

SHORT_PAPER = FusionConfig(
    refinement=DecisionEmbedding(2), reconstruction=DeepFusionPrior(3), scale=2, precision="fp32"
)


@pytest.mark.parametrize("config", [CLASSICAL, SHORT_PAPER], ids=["classical", "paper"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint16)])
def test_output_is_exactly_scale_times_the_input_at_its_depth(
    tmp_path, config, scale, channels, dtype
):
    near, far = (
        texture(17, 23, channels, seed).astype(dtype) * (257 if dtype == np.uint16 else 1)
        for seed in (0, 1)
    )
    config = dataclasses.replace(config, scale=scale)
    facts = run_pair(make_pair(str(tmp_path), near, far), config, f"{tmp_path}/run")
    fused = fused_of(facts)
    assert fused.pixels.shape == (17 * scale, 23 * scale, channels)
    assert fused.pixels.dtype == dtype
    assert (facts["width_px"], facts["height_px"]) == (23 * scale, 17 * scale)
    assert facts["bit_depth"] == (16 if dtype == np.uint16 else 8)


def test_float_sources_come_out_as_float(tmp_path):
    near, far = (texture(20, 20, 3, seed).astype(np.float32) / 255 for seed in (0, 1))
    facts = run_pair(make_pair(str(tmp_path), near, far, "tiff"), CLASSICAL, f"{tmp_path}/run")
    assert facts["output_url"].endswith("fused.tiff")
    fused = fused_of(facts)
    assert fused.pixels.dtype == np.float32


def test_every_fact_has_a_column(tmp_path):
    near, far = texture(20, 24), texture(20, 24, seed=1)
    reference = write_image(f"{tmp_path}/truth.png", texture(40, 48, seed=2))
    full = tuple(
        write_image(f"{tmp_path}/full{k}.png", texture(40, 48, seed=3 + k)) for k in (0, 1)
    )
    pair = make_pair(str(tmp_path), near, far, reference=reference, reference_sources=full)
    facts = run_pair(pair, SHORT_PAPER, f"{tmp_path}/run")
    assert set(facts) <= set(SCHEMA.names)
    for name in METRICS:
        assert np.isfinite(facts[name])
        assert np.isfinite(facts[f"floor_{name}"])
    assert facts["iterations"] == 3
    assert facts["loss_last"] < facts["loss_first"]
    first, _, last = facts["loss_curve"]
    assert (first, last) == (facts["loss_first"], facts["loss_last"])
    assert facts["psnr_db"] != facts["floor_psnr_db"]


def test_the_floor_of_the_classical_preset_is_itself(tmp_path):
    pair = make_pair(str(tmp_path), texture(20, 24), texture(20, 24, seed=1))
    facts = run_pair(pair, CLASSICAL, f"{tmp_path}/run")
    names = ("mg", "ei", "ie", "mga", "eco", "consistency")
    assert all(facts[name] == facts[f"floor_{name}"] for name in names)


@pytest.mark.parametrize("kernel", [Lanczos2(), Gaussian(1.2)])
def test_the_row_has_the_kernel_and_what_the_sources_are_missed_by(tmp_path, kernel):
    """A constant image: D leaves it alone, whatever the kernel."""
    flat = np.full((24, 24, 3), 100, np.uint8)
    pair = make_pair(str(tmp_path), flat, flat)
    config = dataclasses.replace(CLASSICAL, kernel=kernel)
    facts = run_pair(pair, config, f"{tmp_path}/run")
    assert facts["kernel"] == str(kernel)
    assert facts["consistency"] < 1e-5


def test_an_estimated_kernel_is_in_the_row_and_the_floor_has_it_too(tmp_path):
    soft = torch.from_numpy(procedural_image(256, 1))[None]
    low = Degradation(2, Gaussian(1.7))(soft).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    frame = np.rint(low * 255).astype(np.uint8)
    pair = make_pair(str(tmp_path), frame, frame)
    facts = run_pair(
        pair, dataclasses.replace(CLASSICAL, kernel=EstimatedKernel()), f"{tmp_path}/auto"
    )
    assert facts["kernel"].startswith("sigma=1.")
    assert 1.2 < facts["kernel_sigma_px"] < 2.0
    assert 0 < facts["kernel_error_px"] < 1
    kernel = Gaussian(float(facts["kernel"].removeprefix("sigma=")))
    known = run_pair(pair, dataclasses.replace(CLASSICAL, kernel=kernel), f"{tmp_path}/known")
    assert known["kernel_sigma_px"] is None
    assert facts["floor_ei"] == known["floor_ei"]
    assert facts["consistency"] == pytest.approx(known["consistency"])


def test_the_row_says_what_the_enlargement_gained_and_whether_the_floor_took_its_place(tmp_path):
    pair = make_pair(str(tmp_path), *halves(96, 96))
    config = FusionConfig.preset("fast", scale=2)
    facts = run_pair(pair, config, f"{tmp_path}/run")
    assert facts["used_floor"] is (facts["blind_gain_db"] < 0)
    always = run_pair(pair, dataclasses.replace(config, policy="always"), f"{tmp_path}/always")
    assert always["blind_gain_db"] is None
    assert always["used_floor"] is False


def test_what_was_short_of_memory_is_done_in_smaller_tiles_with_the_same_result(tmp_path):
    pair = make_pair(str(tmp_path), *halves(340, 96))
    run = RunConfig("test", FusionConfig.preset("fast", scale=2))
    whole, *smaller = (
        reconstruct(prepare(pair, run, circumstances=one)[0], run.fusion, relief=one.relief)[0]
        for one in (ALONE, *(Circumstances(relief=relief) for relief in (1, 2, 3)))
    )
    for one in smaller:
        near = np.abs(one.pixels.astype(int) - whole.pixels) <= 1
        assert near.all()


BESIDE_A_GPU = Circumstances(Accelerator(4 << 30))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("preset", ["classical", "fast"])
def test_frames_that_are_handed_over_give_the_same_as_merged_ones(tmp_path, preset, dtype):
    """At the depth of the file: 2 x 3 bytes a pixel of 8 bits, not 12 of one merged image."""
    white = np.iinfo(dtype).max // 255
    frames = [frame.astype(dtype) * dtype(white) for frame in halves(64, 80)]
    pair, config = make_pair(str(tmp_path), *frames), FusionConfig.preset(preset, scale=2)
    run = RunConfig("test", config)
    here, _ = prepare(pair, run, circumstances=Circumstances(compare_floor=False))
    there, _ = prepare(
        pair, run, circumstances=dataclasses.replace(BESIDE_A_GPU, compare_floor=False)
    )
    assert here.aligned is None
    assert there.merged is None
    assert there.aligned.nbytes == 2 * 64 * 80 * 3 * np.dtype(dtype).itemsize
    merged, handed_over = (reconstruct(one, config)[0] for one in (here, there))
    np.testing.assert_array_equal(merged.pixels, handed_over.pixels)
    np.testing.assert_array_equal(merged.maps.labels, handed_over.maps.labels)
    np.testing.assert_array_equal(merged.maps.confidence, handed_over.maps.confidence)


@pytest.mark.parametrize("relief", [0, 1, 2])
def test_what_is_short_of_memory_on_the_device_again_and_again_is_merged_before(tmp_path, relief):
    pair = make_pair(str(tmp_path), *halves(48, 48))
    run = RunConfig("test", FusionConfig.preset("fast", scale=2))
    circumstances = dataclasses.replace(BESIDE_A_GPU, relief=relief, compare_floor=False)
    prepared, _ = prepare(pair, run, circumstances=circumstances)
    assert (prepared.aligned is None) == (relief > 1)


@pytest.mark.parametrize("circumstances", [ALONE, BESIDE_A_GPU], ids=["alone", "beside a GPU"])
def test_the_floor_is_left_out_where_nothing_is_compared(tmp_path, circumstances):
    pair = make_pair(str(tmp_path), *halves(48, 48))
    config = FusionConfig.preset("fast", scale=2)
    compared = run_pair(pair, config, f"{tmp_path}/all", circumstances)
    alone = dataclasses.replace(circumstances, compare_floor=False)
    facts = run_pair(pair, config, f"{tmp_path}/none", alone)
    assert {name for name in facts if name.startswith("floor_")} == set()
    assert compared["floor_mg"] > 0
    assert facts["output_sha256"] == compared["output_sha256"]
    assert facts["blind_gain_db"] == compared["blind_gain_db"]


def test_consistency_is_the_distance_of_the_degraded_image_to_the_sources(tmp_path):
    """As stored, in 8 bits, up to their rounding; the same kernel for the floor."""
    pair = make_pair(str(tmp_path), *halves(48, 40))
    config = dataclasses.replace(CLASSICAL, reconstruction=BackProjection(2), kernel=Gaussian(1.5))
    facts = run_pair(pair, config, f"{tmp_path}/run")
    prepared, _ = prepare(pair, RunConfig("test", config))
    fused = torch.from_numpy(codec.to_unit(fused_of(facts)))[None]
    missed = np.abs(Degradation(2, Gaussian(1.5))(fused).numpy() - prepared.merged).mean()
    assert facts["consistency"] == pytest.approx(missed, abs=1e-3)
    assert 0 < facts["floor_consistency"] < facts["consistency"]


def test_the_truth_changes_the_metrics_and_nothing_else(tmp_path):
    near, far = texture(20, 24), texture(20, 24, seed=1)
    blind = run_pair(make_pair(str(tmp_path), near, far), SHORT_PAPER, f"{tmp_path}/blind")
    reference = write_image(f"{tmp_path}/truth.png", texture(40, 48, seed=2))
    pair = make_pair(str(tmp_path), near, far, reference=reference)
    seen = run_pair(pair, SHORT_PAPER, f"{tmp_path}/seen")
    assert blind["output_sha256"] == seen["output_sha256"]
    assert "psnr_db" not in blind


def test_source_map_holds_the_index_of_the_source_and_is_grey_for_people(tmp_path):
    facts = run_pair(make_pair(str(tmp_path), *halves()), CLASSICAL, f"{tmp_path}/run")
    data = storage.read_bytes(f"{folder_of(facts)}/decision.png")
    labels = decode_indices(data)
    assert (labels[:, :20] == 0).all()
    assert (labels[:, -20:] == 1).all()
    seen = codec.decode(data, "map").pixels
    assert seen[:, :20].max() == 0
    assert seen[:, -20:].min() == 255


def test_outputs_are_the_promised_files(tmp_path):
    pair = make_pair(str(tmp_path), texture(20, 24), texture(20, 24, seed=1))
    run_pair(pair, CLASSICAL, f"{tmp_path}/run")
    names = sorted(path.name for path in (tmp_path / "run" / "outputs" / "x").iterdir())
    expected = ["confidence.png", "decision.png", "fused.png", "preview.jpg", "registration.json"]
    assert names == expected


def _nan_tiff():
    pixels = np.full((20, 20, 3), 0.5, np.float32)
    pixels[3, 4] = np.nan
    data = io.BytesIO()
    tifffile.imwrite(data, pixels, photometric="rgb")
    return data.getvalue()


def _two_channel_tiff():
    data = io.BytesIO()
    pixels = np.zeros((20, 20, 2), np.uint8)
    tifffile.imwrite(data, pixels, photometric="minisblack", planarconfig="contig")
    return data.getvalue()


def _alpha_png():
    return cv2.imencode(".png", np.full((20, 20, 4), 9, np.uint8))[1].tobytes()


BAD = {
    "truncated.jpg": (
        codec.encode(codec.Frame(texture(64, 64)), "jpg")[:900],
        r"truncated\.jpg.*truncated or damaged",
    ),
    "zero.png": (b"", r"zero\.png.*empty \(0 bytes\)"),
    "text.png": (b"these are not pixels", r"text\.png.*does not start like a JPEG"),
    "alpha.png": (
        _alpha_png(),
        r"sources differ.*good\.png is 20x20 px, 3 channels, 8 bit, .*alpha\.png.* with alpha",
    ),
    "two.tiff": (_two_channel_tiff(), r"two\.tiff.*2 .*expected 1"),
    "nan.tiff": (_nan_tiff(), r"nan\.tiff.*(NaN|finite)"),
    "small.png": (
        codec.encode(codec.Frame(texture(20, 21)), "png"),
        r"sources differ.*good\.png is 20x20 px.*small\.png is 21x20 px.*register",
    ),
    "grey.png": (
        codec.encode(codec.Frame(texture(20, 20, 1)), "png"),
        r"sources differ.*3 channels.*grey\.png is 20x20 px, 1 channel, 8 bit",
    ),
    "deep.png": (
        codec.encode(codec.Frame(texture(20, 20).astype(np.uint16)), "png"),
        r"sources differ.*8 bit.*16 bit",
    ),
    "missing.png": (None, r"missing\.png.*nothing is there"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_failure(tmp_path, name):
    data, text = BAD[name]
    good = write_image(f"{tmp_path}/good.png", texture(20, 20))
    if data is not None:
        (tmp_path / name).write_bytes(data)
    pair = Pair("bad", (good, f"{tmp_path}/{name}"))
    run = RunConfig("test", CLASSICAL)
    report, value = run_stage(Stage.PREPARE, "bad", lambda: prepare(pair, run))
    assert value is None
    assert report.failure.category == "input"
    assert re.search(text, report.failure.message)
    assert "\n" not in report.failure.message


def test_too_small_sources_are_named(tmp_path):
    pair = make_pair(str(tmp_path), texture(15, 40), texture(15, 40, seed=1))
    report, _ = run_stage(Stage.PREPARE, "x", lambda: prepare(pair, RunConfig("test", CLASSICAL)))
    assert "x_A.png is 40x15 px, each side must be at least 16 px" in report.failure.message


def test_a_reference_of_the_wrong_size_fails_before_the_costly_part(tmp_path):
    reference = write_image(f"{tmp_path}/truth.png", texture(40, 44))
    pair = make_pair(str(tmp_path), texture(20, 24), texture(20, 24, seed=1), reference=reference)
    report, _ = run_stage(Stage.PREPARE, "x", lambda: prepare(pair, RunConfig("test", CLASSICAL)))
    assert "truth.png is 44x40 px, expected 48x40" in report.failure.message
    assert report.failure.category == "input"


@pytest.mark.parametrize(
    ("error", "category", "kind"),
    [
        (ZeroDivisionError("a bug"), "crash", "ZeroDivisionError"),
        (MemoryError(), "resource", "MemoryError"),
        (torch.OutOfMemoryError("1 TiB"), "resource", "DeviceMemoryError"),
        (ImageError("bad"), "input", "ImageError"),
    ],
)
def test_whatever_a_stage_raises_becomes_a_report(error, category, kind):
    def work():
        raise error

    report, value = run_stage(Stage.RECONSTRUCT, "x", work)
    assert value is None
    assert (report.failure.category, report.failure.error_type) == (category, kind)
    assert report.failure.message


def test_replaced_parts_run_through_the_same_stages(tmp_path):
    config = FusionConfig(
        SumModifiedLaplacian(2.0), DecisionEmbedding(2), Blend(), BackProjection(1), scale=2
    )
    pair = make_pair(str(tmp_path), texture(20, 24), texture(20, 24, seed=1))
    assert run_pair(pair, config, f"{tmp_path}/run")["iterations"] == 1
