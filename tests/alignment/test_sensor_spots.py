"""Dust and hot pixels: found where the scene moved over them, and nothing else is touched."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.alignment.registration import RegistrationResult
from dfp_batch.alignment.sensor_spots import Mended, find_spots
from dfp_batch.alignment.warp import warp_image
from dfp_batch.synthetic import procedural_image

SIDE = 192
BREATHING = (0.9, 0.95, 1.0, 1.05)
DUST = ((30, 40), (120, 25), (40, 130))  # rows and columns, far from the middle
KINDS = [(np.uint8, 255.0), (np.uint16, 4095.0), (np.uint16, 65535.0), (np.float32, 1.0)]


def breathing(scale):
    """Warp that enlarges around the middle."""
    centre = (SIDE - 1) / 2
    return np.array([[scale, 0, centre * (1 - scale)], [0, scale, centre * (1 - scale)], [0, 0, 1]])


def registered(warps, failed=()):
    flags = ["failed" if index in failed else "registered" for index in range(len(warps))]
    flags[0] = "reference"
    ones = (1.0,) * len(warps)
    return RegistrationResult(0, np.stack(warps), ones, ones, tuple(flags))


WARPS = [breathing(scale / BREATHING[0]) for scale in BREATHING]
MOVED = registered(WARPS)


def smooth(seed=0, channels=3):
    """A picture (SIDE, SIDE, C) without detail, in [.3, .7]."""
    rough = np.random.default_rng(seed).random((5, 5, channels)).astype(np.float32)
    large = cv2.resize(rough, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return 0.3 + 0.4 * large.reshape(SIDE, SIDE, channels).clip(0, 1)


def frames(scene, dtype=np.uint8, white=255.0):
    """The scene as every frame sees it."""
    seen = [warp_image(scene, np.linalg.inv(warp), (SIDE, SIDE)).clip(0, 1) for warp in WARPS]
    return [stored(image, dtype, white) for image in seen]


def stored(image, dtype, white):
    return (image * white if dtype == np.float32 else np.rint(image * white)).astype(dtype)


def soiled(images, places=DUST, share=0.7):
    """The same images with spots of 3 x 4 px, at the same places in all."""
    dirty = [image.copy() for image in images]
    for image in dirty:
        for y, x in places:
            spot = image[y : y + 3, x : x + 4]
            spot[:] = (spot * share).astype(image.dtype)
    return dirty


def places(spots):
    """Middle of every spot."""
    found = []
    for spot in spots:
        rows, columns = np.nonzero(spot.mask)
        found.append((spot.rows.start + rows.mean(), spot.columns.start + columns.mean()))
    return sorted(found)


@pytest.mark.parametrize("share", [0.7, 1.25])
@pytest.mark.parametrize(("dtype", "white"), KINDS)
def test_spots_are_found_at_any_depth(dtype, white, share):
    spots = find_spots(
        soiled(frames(smooth(), dtype, white), share=share), white, MOVED, (SIDE, SIDE)
    )
    expected = sorted((y + 1.0, x + 1.5) for y, x in DUST)
    np.testing.assert_allclose(places(spots), expected, atol=0.6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("dtype", "white"), KINDS)
def test_they_are_filled_in_and_all_else_stays(dtype, white, channels):
    clean = frames(smooth(channels=channels), dtype, white)
    dirty = soiled(clean)
    mended = Mended(dirty, find_spots(dirty, white, MOVED, (SIDE, SIDE)))
    assert len(mended) == len(dirty)
    for index, image in enumerate(clean):
        assert (mended[index].dtype, mended[index].shape) == (image.dtype, image.shape)
        changed = (mended[index] != dirty[index]).any(-1)
        assert 0 < changed.sum() <= len(DUST) * 11 * 12
        error = np.abs(mended[index].astype(np.float64) - image) / white
        assert error.max() < 0.04 < np.abs(dirty[index].astype(np.float64) - image).max() / white


def test_frames_are_given_back_unchanged():
    dirty = soiled(frames(smooth()))
    before = [image.copy() for image in dirty]
    mended = Mended(dirty, find_spots(dirty, 255.0, MOVED, (SIDE, SIDE)))
    assert (mended[1] != before[1]).any()
    np.testing.assert_array_equal(dirty, before)


def test_a_scene_that_stands_still_keeps_them():
    """They are at one place of the result then, and may be of the scene."""
    still = registered([np.eye(3)] * 4)
    assert not find_spots(soiled([frames(smooth())[0]] * 4), 255.0, still, (SIDE, SIDE))


def test_so_do_two_frames_and_the_middle_of_the_breathing():
    dirty = soiled(frames(smooth()))
    assert not find_spots(dirty[:2], 255.0, registered(WARPS[:2]), (SIDE, SIDE))
    assert not find_spots(dirty, 255.0, registered(WARPS, failed=(2, 3)), (SIDE, SIDE))
    middle = soiled(frames(smooth()), [(SIDE // 2 - 1, SIDE // 2 - 1)])
    assert not find_spots(middle, 255.0, MOVED, (SIDE, SIDE))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 999), sigma_px=st.sampled_from((0.0, 1.0, 3.0)))
def test_what_moves_with_the_scene_is_of_the_scene(seed, sigma_px):
    """Each frame is sharp elsewhere."""
    scene = procedural_image(SIDE, seed).transpose(1, 2, 0)
    seen = frames(scene)
    for index, image in enumerate(seen):
        if sigma_px:
            band = slice(index * SIDE // 4, (index + 1) * SIDE // 4)
            blurred = cv2.GaussianBlur(image, (0, 0), sigma_px)
            blurred[band] = image[band]
            seen[index] = blurred
    assert not find_spots(seen, 255.0, MOVED, (SIDE, SIDE))


def test_specks_of_the_scene_stay():
    scene = smooth()
    scene[::23, ::23] *= 0.5
    assert not find_spots(frames(scene), 255.0, MOVED, (SIDE, SIDE))


def test_a_sensor_full_of_them_is_a_scene_that_was_registered_wrongly():
    grid = [(y, x) for y in range(8, SIDE - 8, 24) for x in range(8, SIDE - 8, 24)]
    assert not find_spots(soiled(frames(smooth()), grid), 255.0, MOVED, (SIDE, SIDE))
