import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration
from dfp_batch.core.decision import confidence
from dfp_batch.core.degradation import SCALES
from dfp_batch.core.sources import InMemory
from dfp_batch.errors import AlignmentError, ConfigError, ImageError
from dfp_batch.focus.sum_modified_laplacian import SumModifiedLaplacian
from dfp_batch.networks.skip_net import SkipNet
from dfp_batch.pipeline import fusion
from dfp_batch.pipeline.checked_sources import as_stack
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.fusion import FusionResult, fuse
from dfp_batch.pipeline.presets import DEFAULT_PRESET, PRESETS
from dfp_batch.pipeline.steps import Workplace, merge, reconstruct
from dfp_batch.reconstruction.back_projection import BackProjection

SMALL = SkipNet(widths=(8, 16), skip_width=2)
AS_IT_IS = {"align": Registration("none"), "exposure": ExposureMatch("none")}


def short(preset, **changes):
    """The preset with two iterations of whatever iterates, and otherwise as it is."""
    config = FusionConfig.preset(preset)
    parts = {
        name: replace(part, iterations=2)
        for name, part in vars(config).items()
        if getattr(part, "iterations", 0)
    }
    return replace(config, **(parts | changes))


def small(preset, **changes):
    """``short`` with a smaller network."""
    config = short(preset)
    parts = {
        name: replace(part, network=SMALL)
        for name, part in vars(config).items()
        if hasattr(part, "network")
    }
    return replace(config, **(parts | changes))


def arrays(*shapes, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return [rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True) for shape in shapes]


# The front door.


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (33, 16)])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", [(2, 3), (3, 1)], ids=["two-colour", "three-grey"])
@pytest.mark.parametrize("preset", PRESETS)
def test_output_is_exactly_scale_times_the_input(preset, kind, scale, size, stack):
    count, channels = kind
    sources = stack(count, channels, *size)
    result = fuse(sources, short(preset, scale=scale), "cpu")
    assert result.fused.shape == (channels, scale * size[0], scale * size[1])
    assert result.fused.dtype == torch.float32
    assert ((result.fused >= 0) & (result.fused <= 1)).all()
    assert result.decision.shape == (count, 1, *size)
    torch.testing.assert_close(result.decision.sum(0), torch.ones(1, *size))
    assert result.loss.isfinite().all()
    fits = preset == "best" and scale > 1  # and such small items are unfit for it
    assert result.stop_reason == ("skipped" if fits else "iterations")
    assert result.peak_bytes == 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("preset", PRESETS)
def test_any_number_of_grey_and_colour_sources(preset, count, channels, stack):
    sources = stack(count, channels, 17, 23)
    assert fuse(sources, small(preset), "cpu").fused.shape == (channels, 34, 46)


@pytest.mark.parametrize("preset", PRESETS)
def test_same_seed_same_result(preset, scene):
    first, same = (fuse(scene.sources, small(preset, seed=3), "cpu") for _ in range(2))
    assert torch.equal(first.fused, same.fused)
    assert torch.equal(first.decision, same.decision)
    assert torch.equal(first.loss, same.loss)


def test_only_the_paper_depends_on_the_seed(scene):
    for preset, depends in (("paper", True), ("classical", False)):
        one, two = (fuse(scene.sources, small(preset, seed=s), "cpu").fused for s in (1, 2))
        assert torch.equal(one, two) is not depends


@pytest.mark.parametrize("preset", PRESETS)
def test_fusing_reads_and_moves_no_global_state(preset, scene):
    untouched = scene.sources.clone()
    before = torch.get_rng_state()
    fuse(scene.sources, small(preset), "cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(scene.sources, untouched)
    assert torch.is_grad_enabled()


def test_classical_fusion_is_sharper_than_any_source(scene, psnr_db):
    result = fuse(scene.sources, FusionConfig.preset("classical", scale=1), "cpu")
    best_source = max(psnr_db(source, scene.truth[0]) for source in scene.sources)
    assert psnr_db(result.fused, scene.truth[0]) > best_source + 6


def test_paper_approaches_the_truth(scene, psnr_db):
    """With a small network and a small image, for the sake of time."""
    window = (..., slice(0, 32), slice(16, 48))
    sources, truth = scene.sources[window], scene.truth[window]
    config = small("paper", scale=1)
    few, many = (replace(config.reconstruction, iterations=k, learning_rate=1e-2) for k in (2, 150))
    after = fuse(sources, replace(config, reconstruction=many), "cpu").fused
    before = fuse(sources, replace(config, reconstruction=few), "cpu").fused
    assert psnr_db(after, truth[0]) > psnr_db(before, truth[0]) + 6


@pytest.mark.parametrize("preset", PRESETS)
def test_fuse_is_focus_then_merge_then_reconstruction(preset, scene):
    config, device = small(preset, **AS_IT_IS), torch.device("cpu")
    whole = fuse(scene.sources, config, device)
    merged = merge(InMemory(scene.sources), config, Workplace(device))
    assert torch.equal(whole.decision, merged.decision)
    assert torch.equal(whole.fused, reconstruct(merged, config, Workplace(device))[0])


def test_sources_are_merged_to_one_but_for_the_paper(scene):
    for preset in PRESETS:
        count = 2 if preset == "paper" else 1
        config, device = small(preset), torch.device("cpu")
        merged = merge(InMemory(scene.sources), config, Workplace(device))
        assert len(merged.sources) == len(merged.weights) == count
        torch.testing.assert_close(merged.weights.sum(0), torch.ones(1, 64, 64))


def test_best_is_the_default_fitted_to_the_item():
    assert DEFAULT_PRESET == "balanced"
    default, best = FusionConfig.preset(DEFAULT_PRESET), FusionConfig.preset("best")
    assert replace(best, reconstruction=best.reconstruction.prior) == default


def test_at_scale_1_the_depth_of_the_network_and_its_fit_change_nothing(scene):
    configs = [FusionConfig.preset(name, scale=1) for name in ("fast", "balanced", "best")]
    fast, *others = (fuse(scene.sources, config, "cpu").fused for config in configs)
    assert all(torch.equal(fast, other) for other in others)


def test_confidence_is_of_the_measured_decision(scene):
    config = FusionConfig.preset("classical", scale=1, **AS_IT_IS)
    found = fuse(scene.sources, config, "cpu").confidence
    measured = FusionConfig.preset("classical").focus(InMemory(scene.sources))
    assert torch.equal(found, confidence(measured))


def test_frames_are_registered_and_exposed(scene):
    moved = scene.sources.roll(2, -1)[1] * 0.9
    sources = torch.stack([scene.sources[0], moved])
    config = FusionConfig.preset("classical", scale=1)
    result = fuse(sources, config, "cpu")
    np.testing.assert_allclose(result.alignment.registered.warps[1][:2, 2], (2, 0), atol=0.3)
    np.testing.assert_allclose(result.alignment.gains[1], 1 / 0.9, rtol=0.02)


def test_frames_that_cannot_be_registered_are_left_out_or_fail_the_pair(scene):
    other = torch.full((1, 3, 64, 64), 0.5)
    config = FusionConfig.preset("classical", scale=1)
    result = fuse(torch.cat([scene.sources, other]), config, "cpu")
    assert result.alignment.kept == (0, 1)
    assert len(result.decision) == 2
    with pytest.raises(AlignmentError, match="the frames could not be registered: score "):
        fuse(torch.cat([scene.sources[:1], other]), config, "cpu")


def test_progress_is_told(scene):
    told = []
    config = small("paper")
    fuse(scene.sources, config, "cpu", on_iteration=lambda *event: told.append(event))
    assert told == [(stage, k, 2) for stage in ("decision", "fusion") for k in (1, 2)]


def test_arrays_and_tensors_are_fused_alike(scene):
    config = FusionConfig.preset("classical")
    as_arrays = [source.movedim(0, -1).numpy() for source in scene.sources]
    assert torch.equal(
        fuse(as_arrays, config, "cpu").fused, fuse(scene.sources, config, "cpu").fused
    )


# What goes in.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_taken_over_their_range(dtype):
    first, second = arrays((16, 18, 3), (16, 18, 3), dtype=dtype)
    first[0, 0] = (0, np.iinfo(dtype).max, 51)
    stack = as_stack([first, second])
    assert stack.shape == (2, 3, 16, 18)
    assert stack.dtype == torch.float32
    expected = torch.tensor([0, 1, 51 / np.iinfo(dtype).max])
    torch.testing.assert_close(stack[0, :, 0, 0], expected)
    assert stack[1, 2, 5, 7] == pytest.approx(second[5, 7, 2] / np.iinfo(dtype).max)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_taken_as_they_are(dtype):
    grey = np.linspace(0, 1, 16 * 17, dtype=dtype).reshape(16, 17)
    stack = as_stack([grey, grey[..., None]])
    assert stack.dtype == torch.float32
    np.testing.assert_array_equal(stack[0, 0].numpy(), grey.astype(np.float32))
    assert torch.equal(stack[0], stack[1])


def test_stack_of_arrays_does_not_share_their_memory_order():
    first, second = arrays((20, 16, 3), (20, 16, 3))
    flipped = as_stack([first[::-1, ::-1], second])
    assert torch.equal(flipped[0], as_stack([first, second])[0].flip(-1, -2))


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (
            arrays((16, 18, 3), (16, 20, 3)),
            r"sources differ: source 0 is \(3, 16, 18\) \(channels, h, w\), source 1 is "
            r"\(3, 16, 20\); register or crop them to one size",
        ),
        (arrays((16, 16), (16, 16, 3)), r"sources differ: source 0 is \(1, 16, 16\).*"),
        (
            arrays((16, 16, 4), (16, 16, 4)),
            r"source 0 must be \(h, w\) or \(h, w, 3\), got \(16, 16, 4\)",
        ),
        (
            [*arrays((16, 16)), np.zeros((2, 3, 16, 16), np.uint8)],
            r"source 1 must be \(h, w\) or \(h, w, 3\), got \(2, 3, 16, 16\)",
        ),
        (
            arrays((16, 15), (16, 15)),
            "sources are 15x16 px, each side must be at least 16 px",
        ),
        (
            [np.zeros((0, 16))] * 2,
            "sources are 16x0 px, each side must be at least 16 px",
        ),
        (
            [np.zeros((16, 16), np.int32)] * 2,
            "source 0 must be uint8, uint16 or float, got int32",
        ),
        (
            [np.zeros((16, 16)), np.full((16, 16), 1.01)],
            r"source 1 holds floats outside \[0, 1\]; scale it to that range",
        ),
        (
            [np.full((16, 16), -0.01)] * 2,
            r"source 0 holds floats outside \[0, 1\]; scale it to that range",
        ),
        (
            [np.full((16, 16), np.nan)] * 2,
            r"source 0 holds floats outside \[0, 1\]; scale it to that range",
        ),
        (
            arrays((16, 16)),
            r"sources must be \(N >= 2, 1 or 3 channels, h, w\), got \(1, 1, 16, 16\)",
        ),
        ([], r"sources must be \(N >= 2, 1 or 3 channels, h, w\), got \(0, 0, 0, 0\)"),
        (
            torch.zeros(2, 4, 16, 16),
            r"sources must be \(N >= 2, 1 or 3 channels, h, w\), got \(2, 4, 16, 16\)",
        ),
        (
            torch.zeros(3, 16, 16),
            r"sources must be \(N >= 2, 1 or 3 channels, h, w\), got \(3, 16, 16\)",
        ),
        (
            torch.full((2, 3, 16, 16), 255, dtype=torch.uint8),
            r"sources hold values outside \[0, 1\]; scale them to that range",
        ),
        (
            torch.full((2, 3, 16, 16), torch.nan),
            r"sources hold values outside \[0, 1\]; scale them to that range",
        ),
    ],
)
def test_sources_that_do_not_fit_are_refused(sources, message):
    with pytest.raises(ImageError, match=f"^{message}$"):
        as_stack(sources)
    with pytest.raises(ImageError, match=f"^{message}$"):
        fuse(sources, FusionConfig.preset("classical"), "cpu")


# What comes out.


def result(values, channels=3):
    fused = torch.tensor(values).view(1, 1, -1).expand(channels, 2, -1)
    half = torch.ones(2, 1, 2, 2) / 2
    return FusionResult(
        fused, half, half[:1], None, torch.empty(0), "iterations", 0, 0.0, math.nan, None
    )


def test_to_array_rounds_to_the_depth_asked_for():
    image = result([0.0, 0.5, 1.0, 0.0019, 0.0021])
    assert image.to_array().dtype == np.uint8
    assert image.to_array()[0, :, 0].tolist() == [0, 128, 255, 0, 1]
    assert image.to_array(np.uint16).dtype == np.uint16
    assert image.to_array(np.uint16)[0, :, 0].tolist() == [0, 32768, 65535, 125, 138]
    assert image.to_array(np.float32).dtype == np.float32
    np.testing.assert_array_equal(image.to_array(np.float32)[0, :, 0], image.fused[0, 0].numpy())


def test_to_array_puts_channels_last_and_drops_the_one_of_grey():
    assert result([0.0, 1.0, 1.0]).to_array().shape == (2, 3, 3)
    assert result([0.0, 1.0, 1.0], channels=1).to_array().shape == (2, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_sources_survive_a_round_trip_at_scale_1(dtype):
    (image,) = arrays((16, 17, 3), dtype=np.uint8 if dtype is np.float32 else dtype)
    image = (image / np.float32(255)) if dtype is np.float32 else image
    fused = fuse([image, image], FusionConfig.preset("classical", scale=1), "cpu")
    if dtype is np.float32:
        np.testing.assert_allclose(fused.to_array(dtype), image, atol=1e-6)
    else:
        np.testing.assert_array_equal(fused.to_array(dtype), image)


# Configuration.


def test_preset_with_changes():
    config = FusionConfig.preset("classical", scale=4, reconstruction=BackProjection(3))
    assert config.scale == 4
    assert config.focus == SumModifiedLaplacian()
    assert config.reconstruction == BackProjection(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: FusionConfig.preset("sharpest"),
            "preset must be one of balanced, fast, best, classical, paper, got 'sharpest'",
        ),
        (lambda: FusionConfig(scale=5), "scale must be 1, 2, 3 or 4, got 5"),
        (
            lambda: FusionConfig(precision="fp16"),
            "precision must be auto, fp32 or bf16, got 'fp16'",
        ),
        (lambda: FusionConfig(seed=-1), r"seed must be in \[0, 2\^63\), got -1"),
        (lambda: FusionConfig(seed=2**63), rf"seed must be in \[0, 2\^63\), got {2**63}"),
    ],
)
def test_impossible_configurations_are_refused(make, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        make()


def test_largest_seed_is_usable(scene):
    fuse(scene.sources, small("paper", seed=2**63 - 1), "cpu")


def test_a_notebook_shows_the_image_and_no_more_of_it_than_fits(monkeypatch):
    colours = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    config = FusionConfig.preset("classical", scale=1)
    result = fuse([colours, colours], config, "cpu")
    assert repr(result) == "FusionResult(40x24 px, RGB, of 2 frames, on cpu)"
    png = np.frombuffer(result._repr_png_(), np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(png, cv2.IMREAD_COLOR)[..., ::-1], result.to_array())
    grey = fuse([colours[..., 0], colours[..., 0]], config, "cpu")
    monkeypatch.setattr(fusion, "SHOWN_PX", 10)
    small = cv2.imdecode(np.frombuffer(grey._repr_png_(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert small.shape == (6, 10)
