from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from dfp_batch.core.degradation import Degradation
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.synthetic import SceneSpec, disc, make_scene, procedural_image

LEVEL = 1 / 255
SPEC = SceneSpec(layers=2, strokes=0, defocus_px=3)
# Two depths with one image between them: a bright background behind a dark foreground.
FLAT = [np.full((1, 64, 64), value, np.float32) for value in (0.8, 0.2)]


def photo(side_px=48, seed=0):
    return procedural_image(side_px, seed)


def far_from_edges(labels, px):
    """Pixels whose neighbours within ``px`` all are in the image and have their label."""
    inner = sliding_window_view(labels, (2 * px + 1, 2 * px + 1))
    return np.pad(inner.min((2, 3)) == inner.max((2, 3)), px)


SPECS = st.builds(
    SceneSpec,
    frames=st.integers(2, 8),
    layers=st.integers(2, 8),
    psf=st.sampled_from(["disc", "gaussian"]),
    defocus_px=st.floats(0.1, 6),
    edge_px=st.floats(0, 2),
    strokes=st.integers(0, 3),
    scale=st.integers(1, 3),
    shift_px=st.sampled_from([0, 1.5]),
    breathing=st.sampled_from([0, 0.01]),
    exposure=st.sampled_from([0, 0.1]),
    noise=st.sampled_from([0, 0.02]),
    jpeg_quality=st.sampled_from([0, 80]),
)


@given(spec=SPECS, seed=st.integers(0, 1000), count=st.integers(1, 3))
@settings(max_examples=40, derandomize=True, deadline=None)
def test_any_scene(spec, seed, count):
    side = 50  # no multiple of 3
    images = [photo(side, k) for k in range(count)]
    scene = make_scene(images, spec, seed)
    h = side // spec.scale
    full = (3, h * spec.scale, h * spec.scale)
    assert scene.sources.shape == (spec.frames, 3, h, h)
    assert scene.truth.shape == full
    assert scene.full_sources.shape == (spec.frames, *full)
    for image in (scene.sources, scene.truth, scene.full_sources):
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1
    for image in (scene.sources, scene.truth):
        np.testing.assert_allclose(image * 255, np.rint(image * 255), atol=1e-4)
    assert scene.labels.shape == (h, h)
    assert set(np.unique(scene.labels)) <= set(range(spec.frames))
    again = make_scene(images, spec, seed)
    for one, other in zip(vars(scene).values(), vars(again).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def at_both_scales(spec, seed):
    """The same scene at scale 1 and, on images twice as large, at scale 2."""
    for scale in (1, 2):
        images = [np.kron(flat, np.ones((scale, scale), np.float32)) for flat in FLAT]
        yield make_scene(images, replace(spec, scale=scale), seed)


@pytest.mark.parametrize("seed", range(3))
def test_the_scale_enlarges_the_truth_and_leaves_the_sources(seed):
    one, two = at_both_scales(SceneSpec(layers=2, strokes=0, edge_px=4), seed)
    assert (one.labels == two.labels).mean() > 0.97
    assert np.abs(one.sources - two.sources).mean() < 0.01


def test_strokes_are_as_wide_in_pixels_of_the_sources_at_every_scale():
    spec = SceneSpec(layers=2, strokes=4)
    shares = [[scene.labels.mean() for scene in at_both_scales(spec, seed)] for seed in range(6)]
    assert np.divide(*np.sum(shares, 0)) == pytest.approx(1, abs=0.1)


def test_another_seed_gives_another_scene_of_the_same_images():
    one, other = (make_scene([photo()], SPEC, seed) for seed in (0, 1))
    assert (one.labels != other.labels).mean() > 0.05
    np.testing.assert_array_equal(one.truth, other.truth)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_with_one_image_the_truth_is_that_image(scale):
    image = photo(48)
    truth = make_scene([image], SceneSpec(layers=5, scale=scale), 3).truth
    assert np.abs(truth - image).max() <= 0.51 * LEVEL


def test_images_fill_the_layers_from_the_farthest():
    scene = make_scene([image[:, :48, :48] for image in FLAT], SPEC, 1)
    assert 0.05 < (scene.labels == 1).mean() < 0.6
    inside = far_from_edges(scene.labels, 4)
    for label, value in enumerate((0.8, 0.2)):
        np.testing.assert_allclose(scene.truth[0][inside & (scene.labels == label)], value)


def test_grey_and_colour_images_may_be_mixed():
    scene = make_scene([FLAT[0][:, :48, :48], photo(48)], SPEC, 0)
    assert scene.sources.shape[1] == 3


@pytest.mark.parametrize("psf", ["disc", "gaussian"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("layers", [2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_a_source_is_the_truth_where_it_is_labelled_outside_the_reach_of_blur(
    psf, count, layers, seed
):
    spec = SceneSpec(layers=layers, strokes=1, defocus_px=2, edge_px=0.4, psf=psf)
    scene = make_scene([photo(128, k) for k in range(count)], spec, seed)
    # The reach of the soft edge, and of the PSF, which is 1.8 times wider at the utmost depth.
    reach_px = 2 + (4 if psf == "disc" else 8)
    inside = far_from_edges(scene.labels, reach_px)
    assert 0.05 < inside.mean() < 1
    chosen = np.take_along_axis(scene.sources, scene.labels[None, None], 0)[0]
    assert np.abs(chosen - scene.truth)[:, inside].max() <= LEVEL * 1.01
    errors = np.abs(scene.sources - scene.truth).mean(1)
    for label in (0, 1):
        here = inside & (scene.labels == label)
        assert errors[1 - label][here].mean() > 3 * LEVEL


@pytest.mark.parametrize("psf", ["disc", "gaussian"])
def test_a_blurred_foreground_spreads_over_the_background(psf):
    spec = replace(SPEC, psf=psf, edge_px=0.0)
    scene = make_scene(FLAT, spec, 2)
    on_background, on_foreground = np.abs(scene.sources - scene.truth)[:, 0]
    outside = cv2.distanceTransform((scene.labels == 0).astype(np.uint8), cv2.DIST_L2, 5)
    band = (outside >= 2) & (outside < 3)
    assert on_background[band].mean() > 0.04  # the background's own source is wrong here
    assert on_background[band].min() > 0.01
    assert on_background[outside > 9].max() <= LEVEL * 1.01
    assert on_foreground[outside > 3].max() <= LEVEL * 1.01  # flat: its blur changes nothing
    assert scene.sources[0, 0][band].max() < 0.8 - 0.01  # darkened by the foreground


@pytest.mark.parametrize("radius_px", [0.3, 1.0, 2.5, 4.0, 7.3, 20.0])
def test_a_disc_has_its_radius_and_sums_to_1(radius_px):
    weights = disc(radius_px)
    reach = weights.shape[0] // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights, weights.T)
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-9)
    assert not weights[np.hypot(x, y) > radius_px + 0.5].any()
    if radius_px >= 2:
        second_moment = (weights * (x**2 + y**2)).sum()
        assert second_moment == pytest.approx(radius_px**2 / 2, rel=0.1)


@pytest.mark.parametrize("psf", ["disc", "gaussian"])
@pytest.mark.parametrize("scale", [1, 2])
def test_both_psfs_widen_a_point_by_the_radius_in_pixels_of_the_sources(psf, scale):
    point = np.zeros((1, 96, 96), np.float32)
    point[0, 48, 48] = 1
    spec = SceneSpec(layers=2, strokes=0, psf=psf, defocus_px=5, scale=scale)
    nothing = np.zeros_like(point)
    full_sources = make_scene([point, nothing], spec, empty_seed(spec, nothing)).full_sources
    np.testing.assert_allclose(full_sources[0], point, atol=1e-4)
    spread = full_sources[1, 0].astype(np.float64)
    y, x = np.mgrid[-48:48, -48:48]
    variance = (spread * (x**2 + y**2)).sum() / spread.sum()
    assert spread.sum() == pytest.approx(1, abs=1e-3)
    assert variance == pytest.approx((5 * scale) ** 2 / 2, rel=0.05)


def empty_seed(spec, nothing):
    """A seed whose foreground keeps away from the centre, even when it is blurred."""
    for seed in range(200):
        foreground = make_scene([nothing, nothing + 1], spec, seed).full_sources[0, 0]
        if foreground[32:64, 32:64].max() < 1e-4:
            return seed
    raise AssertionError("no such seed")


@pytest.mark.parametrize(
    ("frames", "layers"), [(2, 2), (2, 5), (3, 3), (3, 8), (5, 2), (8, 3), (8, 8)]
)
def test_every_depth_is_sharp_in_exactly_one_frame(frames, layers):
    # Every layer is a grey of its own, so that a pixel shows its layer.
    greys = [np.full((1, 96, 96), n / (layers + 1), np.float32) for n in range(1, layers + 1)]
    spec = SceneSpec(frames=frames, layers=layers, strokes=1, edge_px=0.4, defocus_px=1)
    owners = {}
    for seed in range(10):
        scene = make_scene(greys, spec, seed)
        inside = far_from_edges(scene.labels, 3)
        for layer, grey in enumerate(greys):
            shown = inside & (np.abs(scene.truth[0] - grey[0, 0, 0]) <= LEVEL)
            owners.setdefault(layer, set()).update(scene.labels[shown])
    assert all(len(found) == 1 for found in owners.values())
    order = [min(owners[layer]) for layer in range(layers)]
    assert order == sorted(order)
    assert (order[0], order[-1]) == (0, frames - 1)
    assert len(set(order)) == min(frames, layers)


def test_a_layer_farther_from_focus_is_blurred_more():
    scene = make_scene([photo(64)], SceneSpec(frames=5, layers=5, strokes=0, defocus_px=1), 0)
    background = far_from_edges(scene.labels, 3) & (scene.labels == 0)
    errors = [np.abs(source - scene.truth)[:, background].mean() for source in scene.sources]
    assert errors[0] == min(errors) < LEVEL
    assert errors == sorted(errors)


def test_edges_are_soft_up_to_the_limit():
    hard, soft = (make_scene(FLAT, replace(SPEC, edge_px=px), 2).truth for px in (0, 4))
    between = [((truth > 0.25) & (truth < 0.75)).mean() for truth in (hard, soft)]
    assert 0 < between[0] < between[1]


def test_strokes_are_thin_foreground():
    shares = [(make_scene(FLAT, replace(SPEC, strokes=n), 5).labels == 1).mean() for n in (0, 4)]
    assert shares[0] + 0.02 < shares[1] < shares[0] + 0.4


def test_a_background_beyond_focus_is_least_blurred_in_the_first_source():
    spec = replace(SPEC, frames=3, layers=3, beyond=2.0)
    scene, sharp = (make_scene([photo(96)], one, 5) for one in (spec, replace(spec, beyond=0.0)))
    assert not sharp.unfocused.any()
    assert 0.2 < scene.unfocused.mean() < 1
    assert not scene.labels[scene.unfocused].any()
    far = cv2.erode(scene.unfocused.astype(np.uint8), np.ones((31, 31), np.uint8)) > 0
    assert far.any()
    errors = [np.abs(source - scene.truth)[:, far].mean() for source in scene.sources]
    assert errors[0] < LEVEL < errors[1] < errors[2]
    assert not np.allclose(scene.truth[:, far], sharp.truth[:, far], atol=0.02)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kernel", [Lanczos2(), Gaussian(1.8)])
def test_sources_are_the_full_sources_made_smaller(scale, kernel):
    spec = replace(SPEC, scale=scale, shift_px=1, breathing=0.01, kernel=kernel)
    scene = make_scene([photo(96)], spec, 0)
    assert scene.sources.shape[-1] == 96 // scale
    small = Degradation(scale, kernel)(torch.from_numpy(scene.full_sources)).clamp(0, 1).numpy()
    assert np.abs(scene.sources - small).max() <= 0.501 * LEVEL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 1}, "frames must be 2 to 26, got 1"),
        ({"frames": 27}, "frames must be 2 to 26, got 27"),
        ({"layers": 9}, "layers must be 2 to 8, got 9"),
        ({"psf": "box"}, "psf must be disc or gaussian, got 'box'"),
        ({"defocus_px": 0}, "defocus_px must be 0.1 to 100, got 0"),
        ({"edge_px": -1.0}, "edge_px must be 0 to 100, got -1.0"),
        ({"strokes": -1}, "strokes must be 0 to 100, got -1"),
        ({"scale": 5}, "scale must be 1, 2, 3 or 4, got 5"),
        ({"shift_px": float("inf")}, "shift_px must be 0 to 100, got inf"),
        ({"breathing": 0.2}, "breathing must be 0 to 0.1, got 0.2"),
        ({"beyond": -1.0}, "beyond must be 0 to 10, got -1.0"),
        ({"exposure": 1.0}, "exposure must be 0 to 0.9, got 1.0"),
        ({"noise": float("nan")}, "noise must be 0 to 1, got nan"),
        ({"jpeg_quality": 101}, "jpeg_quality must be 0 to 100, got 101"),
    ],
)
def test_a_field_out_of_its_range_is_refused(change, message):
    with pytest.raises(ConfigError) as caught:
        SceneSpec(**change)
    assert str(caught.value) == message


def test_images_must_have_one_size():
    with pytest.raises(ConfigError, match=r"^images of a scene must have one size; crop or resize"):
        make_scene([photo(48), photo(40)], SPEC, 0)


def test_images_must_be_large_enough_for_the_scale():
    with pytest.raises(ConfigError, match=r"^images must be at least 48 px a side, got 45x45 px$"):
        make_scene([photo(47)], replace(SPEC, scale=3), 0)
