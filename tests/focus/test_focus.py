import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from dfp_batch.core.decision import confidence, decided, one_hot, winners
from dfp_batch.core.image import luma
from dfp_batch.core.sources import InMemory
from dfp_batch.errors import ConfigError
from dfp_batch.focus.double_reblur import DoubleReblur
from dfp_batch.focus.multi_scale_laplacian import MultiScaleLaplacian
from dfp_batch.focus.sum_modified_laplacian import SumModifiedLaplacian
from dfp_batch.focus.undecided import Undecided


def assert_is_decision(decision, count, h, w):
    assert decision.shape == (count, 1, h, w)
    assert decision.dtype == torch.float32
    assert (decision >= 0).all()
    torch.testing.assert_close(decision.sum(0), torch.ones(1, h, w))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_sum_modified_laplacian_follows_a_permutation(count, stack):
    sources = stack(count, 3, 24, 40)
    order = torch.arange(count).roll(1)
    measure = SumModifiedLaplacian()
    torch.testing.assert_close(measure(InMemory(sources[order])), measure(InMemory(sources))[order])


@pytest.mark.parametrize("count", [3, 5])
def test_double_reblur_of_more_than_two_follows_a_permutation(count, stack):
    """Up to rounding in the mean of the others. Of two, the paper thresholds the first alone."""
    sources = stack(count, 3, 24, 40)
    order = torch.arange(count).roll(1)
    measure = DoubleReblur()
    agree = (measure(InMemory(sources[order])) == measure(InMemory(sources))[order]).float().mean()
    assert agree > 0.99


def test_double_reblur_of_two_asks_the_first_alone(stack):
    first, second = luma(stack(2, 3, 24, 24))
    measure = DoubleReblur(dilation_px=1, erosion_px=1, keep_largest=False)
    in_focus = measure.sharpness(first, second) >= measure.threshold
    assert torch.equal(measure(InMemory(torch.stack([first, second])))[0], in_focus.float())
    assert 0 < in_focus.float().mean() < 1


@pytest.mark.parametrize("count", [2, 3])
def test_undecided_counts_every_source_the_same(count, stack):
    decision = Undecided()(InMemory(stack(count, 3, 16, 20)))
    assert torch.equal(decision, torch.full((count, 1, 16, 20), 1 / count))


# Accuracy on scenes with exact truth.


def test_sum_modified_laplacian_finds_the_sharp_half(scene):
    decision = SumModifiedLaplacian()(InMemory(scene.sources))
    assert (decision.argmax(0) == scene.decision.argmax(0)).float().mean() > 0.97


def test_sum_modified_laplacian_finds_three_bands(stack):
    decision = SumModifiedLaplacian(sigma_px=2.0)(InMemory(stack(3, 3, 48, 60)))
    assert (winners(decision) == torch.arange(60) * 3 // 60).float().mean() > 0.95


def test_sum_modified_laplacian_is_surer_of_detail_than_of_noise(scene):
    noise = 0.5 + 0.01 * torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    sure = confidence(SumModifiedLaplacian()(InMemory(scene.sources)))
    unsure = confidence(SumModifiedLaplacian()(InMemory(noise)))
    assert sure.median() > 4 * unsure.median()
    assert unsure.max() < 0.3


@given(hnp.arrays(np.int64, (4, 5), elements=st.integers(0, 2)), st.floats(0, 1))
def test_decided_and_confidence_are_inverse(labels, sure):
    decision = decided(torch.from_numpy(labels), torch.full((4, 5), sure), 3)
    torch.testing.assert_close(decision.sum(0), torch.ones(1, 4, 5))
    torch.testing.assert_close(
        confidence(decision), torch.full((1, 1, 4, 5), sure), atol=1e-6, rtol=0
    )
    if sure > 1e-6:
        assert torch.equal(winners(decision).long(), torch.from_numpy(labels))


def test_winners_are_the_first_of_the_largest():
    decision = torch.rand(5, 1, 7, 9, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    assert torch.equal(winners(decision).long(), decision.argmax(0)[0])


def test_multi_scale_laplacian_finds_the_sharp_half(scene):
    decision = MultiScaleLaplacian()(InMemory(scene.sources))
    assert (decision.argmax(0) == scene.decision.argmax(0)).float().mean() > 0.95


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("scales", [1, 3])
def test_multi_scale_laplacian_is_undecided_where_nothing_can_be_seen(count, scales, stack):
    sources = stack(count, 3, 64, 64)
    sources[..., 32:, :] = 0.5
    decision = MultiScaleLaplacian(scales=scales)(InMemory(sources))
    torch.testing.assert_close(
        decision[..., 56:, :], torch.full((count, 1, 8, 64), 1 / count), atol=0.01, rtol=0
    )


def test_multi_scale_laplacian_is_less_sure_of_noise(scene):
    """Where both are flat, noise of one source is not taken for detail."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.02 * torch.randn(scene.sources.shape, generator=generator)
    clean = MultiScaleLaplacian(scales=1)(InMemory(scene.sources))
    noisy = MultiScaleLaplacian(scales=1)(InMemory((scene.sources + noise).clamp(0, 1)))
    sure = [decision.max(0).values.mean() for decision in (clean, noisy)]
    assert sure[1] < sure[0]


def test_coarser_scales_help_against_noise(scene):
    generator = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(scene.sources.shape, generator=generator)
    noisy = (scene.sources + noise).clamp(0, 1)
    right = [
        (MultiScaleLaplacian(scales=scales)(InMemory(noisy)).argmax(0) == scene.decision.argmax(0))
        for scales in (1, 3)
    ]
    assert right[1].float().mean() > right[0].float().mean()


def test_multi_scale_laplacian_follows_a_permutation(stack):
    sources = stack(3, 3, 24, 40)
    order = torch.arange(3).roll(1)
    measure = MultiScaleLaplacian()
    torch.testing.assert_close(measure(InMemory(sources[order])), measure(InMemory(sources))[order])


def test_double_reblur_sharpness_is_larger_where_sharp(scene):
    first, second = luma(scene.sources)
    sharpness = DoubleReblur().sharpness(first, second)
    assert sharpness.shape == (1, 64, 64)
    assert (sharpness >= 0).all()
    assert sharpness[..., :30].mean() > 2 * sharpness[..., 34:].mean()


def test_double_reblur_favours_the_sharp_half(scene):
    in_focus = DoubleReblur()(InMemory(scene.sources))[0, 0]
    assert in_focus[:, :30].mean() > 0.9
    assert in_focus[:, 34:].mean() < 0.5


def spread(psf):
    offset = torch.arange(len(psf)) - len(psf) // 2
    return float((psf * (offset**2 + offset[:, None] ** 2)).sum())


@pytest.mark.parametrize("sigma_px", [0.8, 1.2, 1.6])
def test_estimates_the_psf_behind_its_lowpass(sigma_px, texture, blur):
    sharp = texture(64, 64, 1)
    measure = DoubleReblur(psf_px=15)
    psf = measure.estimate_psf(sharp[0, 0], blur(sharp, sigma_px)[0, 0])
    assert psf.shape == (15, 15)
    assert (psf >= 0).all()
    assert psf.sum().item() == pytest.approx(1, abs=1e-5)
    # A Gaussian low-pass of f cycles/px is a Gaussian of 1 / (2 pi f) px; variances add.
    variance = sigma_px**2 + (2 * np.pi * measure.lowpass_cycles_per_px) ** -2
    line = torch.exp(-((torch.arange(15) - 7.0) ** 2) / (2 * variance))
    expected = torch.outer(line, line) / line.sum() ** 2
    assert (psf - expected).abs().sum() < 0.25


def test_more_blur_gives_a_wider_psf(texture, blur):
    sharp = texture(64, 64, 1)
    measure = DoubleReblur()
    spreads = [
        spread(measure.estimate_psf(sharp[0, 0], blur(sharp, sigma)[0, 0]))
        for sigma in (0.5, 1.0, 1.5, 2.0)
    ]
    assert spreads == sorted(spreads)
    assert spreads[-1] > 1.5 * spreads[0]


def test_psf_points_to_where_the_other_source_moved(texture):
    plane = texture(32, 33, 1)[0, 0]
    psf = DoubleReblur().estimate_psf(plane, plane.roll((2, -1), (0, 1)))
    assert divmod(int(psf.argmax()), 9) == (4 + 2, 4 - 1)


def test_source_reblurred_with_the_right_psf_barely_changes_where_it_was_blurred(texture, blur):
    sharp = texture(64, 64, 1)[0]
    blurred = blur(sharp, 2.0)
    measure = DoubleReblur()
    change_of_sharp = measure.sharpness(sharp, blurred).mean()
    assert measure.sharpness(blurred, sharp).mean() < 0.5 * change_of_sharp


# Cleaning of regions.


def test_keep_largest_fills_holes_wherever_the_corner_is(texture, blur):
    """The released code floods from pixel (0, 0) and inverts the map if that is foreground."""
    sharp = texture(48, 48, 1)
    sharp[..., 16:32, 16:32] = 0.5  # nothing to see: a hole in the map
    sharp[..., :6, :6] = texture(6, 6, 1, seed=3)
    sources = torch.cat([sharp, blur(sharp, 3.0)])
    fields = {"threshold": 0.004, "dilation_px": 5, "erosion_px": 5}
    with_hole = DoubleReblur(**fields, keep_largest=False)(InMemory(sources))[0, 0]
    filled = DoubleReblur(**fields)(InMemory(sources))[0, 0]
    assert with_hole[0, 0] == 1
    assert with_hole[22:26, 22:26].sum() == 0
    assert filled[0, 0] == 1
    assert (filled[16:32, 16:32] == 1).all()
    assert (filled >= with_hole).float().mean() > 0.98


def test_keep_largest_keeps_one_region(stack):
    in_focus = DoubleReblur(threshold=0.02)(InMemory(stack(2, 3, 40, 40)))[0, 0]
    raw = DoubleReblur(threshold=0.02, keep_largest=False)(InMemory(stack(2, 3, 40, 40)))[0, 0]
    eight = np.ones((3, 3))
    assert ndimage.label(raw, eight)[1] > 1
    assert ndimage.label(in_focus, eight)[1] == 1


labels = hnp.arrays(
    np.int64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2)
)


@given(labels)
@settings(derandomize=True, deadline=None, max_examples=20)
def test_one_hot_marks_the_label(label_map):
    decision = one_hot(torch.from_numpy(label_map), 3)
    assert_is_decision(decision, 3, *label_map.shape)
    np.testing.assert_array_equal(decision[:, 0].argmax(0).numpy(), label_map)
    assert set(decision.unique().tolist()) <= {0.0, 1.0}


# Settings.


@pytest.mark.parametrize(
    ("measure", "fields", "message"),
    [
        (SumModifiedLaplacian, {"sigma_px": 0}, "focus.sigma_px must be > 0, got 0"),
        (SumModifiedLaplacian, {"sigma_px": float("nan")}, "focus.sigma_px must be > 0, got nan"),
        (MultiScaleLaplacian, {"sigma_px": 0}, "focus.sigma_px must be > 0, got 0"),
        (MultiScaleLaplacian, {"floor": -1}, "focus.floor must be > 0, got -1"),
        (MultiScaleLaplacian, {"scales": 0}, "focus.scales must be >= 1, got 0"),
        (DoubleReblur, {"gaussian_px": 4}, "focus.gaussian_px must be >= 1 and odd, got 4"),
        (DoubleReblur, {"psf_px": -3}, "focus.psf_px must be >= 1 and odd and <= 15, got -3"),
        (DoubleReblur, {"psf_px": 17}, "focus.psf_px must be >= 1 and odd and <= 15, got 17"),
        (DoubleReblur, {"dilation_px": 0}, "focus.dilation_px must be >= 1, got 0"),
        (DoubleReblur, {"erosion_px": 0}, "focus.erosion_px must be >= 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(measure, fields, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        measure(**fields)


@pytest.mark.parametrize("psf_px", [1, 15])
def test_every_psf_size_fits_the_smallest_image(psf_px, stack):
    assert_is_decision(DoubleReblur(psf_px=psf_px)(InMemory(stack(2, 1, 16, 16))), 2, 16, 16)
