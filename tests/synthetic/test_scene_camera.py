"""The camera in whole scenes: motion, breathing, exposure, noise, JPEG, and the warps."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from dfp_batch.synthetic import SceneSpec, make_scene, procedural_image

LEVEL = 1 / 255
SPEC = SceneSpec(layers=2, strokes=0, defocus_px=3)
# Two depths with one image between them: a bright background behind a dark foreground.
FLAT = [np.full((1, 64, 64), value, np.float32) for value in (0.8, 0.2)]


def photo(side_px=48, seed=0):
    return procedural_image(side_px, seed)


def changes(**effect):
    """A scene without and with one effect of the camera."""
    images = [photo(64)]
    plain, changed = make_scene(images, SPEC, 4), make_scene(images, replace(SPEC, **effect), 4)
    np.testing.assert_array_equal(plain.truth, changed.truth)
    np.testing.assert_array_equal(plain.labels, changed.labels)
    return plain, changed


@pytest.mark.parametrize(
    "effect",
    [
        {"exposure": 0.2},
        {"noise": 0.05},
        {"jpeg_quality": 50},
    ],
)
def test_effects_of_the_sensor_are_not_in_the_full_sources(effect):
    plain, changed = changes(**effect)
    np.testing.assert_array_equal(plain.full_sources, changed.full_sources)
    assert (plain.sources[1] != changed.sources[1]).mean() > 0.3


@pytest.mark.parametrize("effect", [{"shift_px": 3.0}, {"breathing": 0.05}])
def test_the_lens_moves_every_frame_but_the_reference(effect):
    plain, changed = changes(**effect)
    np.testing.assert_array_equal(plain.sources[0], changed.sources[0])
    assert (plain.full_sources[1] != changed.full_sources[1]).mean() > 0.3


def test_exposure_multiplies_every_frame_but_the_reference():
    plain, changed = changes(exposure=0.2)
    np.testing.assert_array_equal(plain.sources[0], changed.sources[0])
    dark = plain.sources[1] < 0.7
    gain = changed.sources[1][dark].sum() / plain.sources[1][dark].sum()
    assert 0.01 < abs(gain - 1) <= 0.2
    rest = np.abs(changed.sources[1] - gain * plain.sources[1])[dark]
    assert rest.max() <= 1.5 * LEVEL


@pytest.mark.parametrize("frames", [3, 4, 5])
def test_motion_breathing_and_exposure_leave_the_reference(frames):
    spec = replace(SPEC, frames=frames, noise=0.01)
    effects = {"shift_px": 2.0, "breathing": 0.02, "exposure": 0.2}
    plain, changed = (make_scene(FLAT, it, 4) for it in (spec, replace(spec, **effects)))
    same = [np.array_equal(*pair) for pair in zip(plain.sources, changed.sources, strict=True)]
    assert spec.reference == (frames - 1) // 2
    assert same == [index == spec.reference for index in range(frames)]
    np.testing.assert_array_equal(changed.warps[spec.reference], np.eye(3))


def test_exposure_keeps_its_limit_and_goes_both_ways():
    flat = [FLAT[0][:, :32, :32]]
    spec = SceneSpec(layers=2, frames=3, exposure=0.1)
    sources = [make_scene(flat, spec, seed).sources for seed in range(20)]
    assert {frames[spec.reference].mean().round(3) for frames in sources} == {np.float32(0.8)}
    for frame in (0, 2):
        gains = [frames[frame].mean() / 0.8 for frames in sources]
        assert 0.9 - LEVEL <= min(gains) < 0.97
        assert 1.03 < max(gains) <= 1.1 + LEVEL


@pytest.mark.parametrize(("grey", "sigma"), [(0.2, 0.0339), (0.5, 0.05), (0.8, 0.0620)])
def test_noise_has_its_standard_deviation_at_mid_grey_and_grows_with_light(grey, sigma):
    flat = np.full((1, 128, 128), grey, np.float32)
    sources = make_scene([flat], replace(SPEC, noise=0.05), 0).sources
    assert sources.mean() == pytest.approx(grey, abs=0.002)
    assert sources.std((1, 2, 3)) == pytest.approx([sigma, sigma], rel=0.03)
    assert abs(np.corrcoef(sources[0].ravel(), sources[1].ravel())[0, 1]) < 0.03


def marker(frame):
    """Centre of mass of what is bright, in pixels from the centre of the image."""
    y, x = (
        np.mgrid[: frame.shape[0], : frame.shape[1]]
        - (np.array(frame.shape) - 1)[:, None, None] / 2
    )
    return np.array([(frame * x).sum(), (frame * y).sum()]) / frame.sum()


def dot(x, y, side_px=96):
    image = np.zeros((1, side_px, side_px), np.float32)
    cv2.circle(image[0], (x, y), 4, 1.0, -1)
    return cv2.GaussianBlur(image[0], (0, 0), 1.0)[None]


@pytest.mark.parametrize("frames", [2, 4, 5])
def test_breathing_magnifies_about_the_centre_frame_by_frame(frames):
    spec = SceneSpec(frames=frames, layers=2, strokes=0, breathing=0.05, defocus_px=0.1)
    places = [marker(full[0]) for full in make_scene([dot(20, 66)], spec, 0).full_sources]
    for frame, place in enumerate(places):
        magnification = 1 + 0.05 * (frame - spec.reference)
        np.testing.assert_allclose(place, magnification * places[spec.reference], atol=0.02)


@pytest.mark.parametrize("scale", [1, 2])
def test_shifts_differ_from_frame_to_frame_within_their_limit_in_source_pixels(scale):
    spec = SceneSpec(frames=8, layers=2, strokes=0, shift_px=3, defocus_px=0.1, scale=scale)
    full_sources = make_scene([dot(48, 48)], spec, 0).full_sources
    places = np.array([marker(full[0]) for full in full_sources])
    moves = np.delete(places - places[spec.reference], spec.reference, 0) / scale
    assert np.abs(moves).max() <= 3.02
    assert np.abs(moves).max() > 1.5
    assert len(np.unique(moves.round(2), axis=0)) == 7


MOVING = {"shift_px": 2.0, "breathing": 0.01}


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("frames", [2, 5])
def test_the_warps_tell_where_a_point_of_the_reference_is_in_every_source(scale, frames):
    side_px = 48 * scale
    point = cv2.resize(dot(14, 30, 48)[0], (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    spec = SceneSpec(frames=frames, layers=2, strokes=0, defocus_px=0.1, scale=scale, **MOVING)
    scene = make_scene([point[None]], spec, 1)
    assert scene.warps.shape == (frames, 3, 3)
    assert scene.warps.dtype == np.float64
    centre = (scene.sources.shape[-1] - 1) / 2
    places = [marker(source[0]) + centre for source in scene.sources]
    for warp, place in zip(scene.warps, places, strict=True):
        np.testing.assert_allclose((warp @ [*places[spec.reference], 1])[:2], place, atol=0.05)


@pytest.mark.parametrize("scale", [1, 2])
def test_the_warps_register_the_sources(scale):
    image = cv2.GaussianBlur(np.moveaxis(photo(96 * scale), 0, -1), (0, 0), scale)
    spec = SceneSpec(frames=3, layers=2, strokes=0, defocus_px=0.1, scale=scale, **MOVING)
    scene = make_scene([np.moveaxis(image, -1, 0)], spec, 0)
    reference = scene.sources[spec.reference, 0]
    for source, warp in zip(scene.sources, scene.warps, strict=True):
        flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
        back = cv2.warpAffine(source[0], warp[:2], (96, 96), flags=flags)
        inner = np.s_[8:-8, 8:-8]
        assert np.abs(back - reference)[inner].mean() < LEVEL
        if not np.array_equal(warp, np.eye(3)):
            assert np.abs(source[0] - reference)[inner].mean() > 3 * LEVEL


def test_warps_of_a_larger_truth_are_those_of_the_same_motion():
    one, two = (
        make_scene([photo(48 * scale)], SceneSpec(frames=4, scale=scale, **MOVING), 0).warps
        for scale in (1, 2)
    )
    np.testing.assert_allclose(one[:, :2, :2], two[:, :2, :2], atol=1e-12)
    # Both are about the centre of the sources.
    np.testing.assert_allclose(one @ [23.5, 23.5, 1], two @ [23.5, 23.5, 1], atol=1e-12)


def test_without_motion_every_warp_is_exactly_the_identity():
    warps = make_scene([photo()], SceneSpec(frames=3, scale=2), 0).warps
    np.testing.assert_array_equal(warps, np.tile(np.eye(3), (3, 1, 1)))


def test_a_worse_jpeg_is_farther_from_the_plain_source():
    errors = []
    for quality in (95, 60, 10):
        plain, changed = changes(jpeg_quality=quality)
        errors.append(np.abs(plain.sources - changed.sources).mean())
    assert 0 < errors[0] < errors[1] < errors[2]
