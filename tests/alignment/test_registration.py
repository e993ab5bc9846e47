"""Frames that moved: how, and which of them do not belong."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.alignment.geometry import MODELS
from dfp_batch.alignment.registration import Registration, register
from dfp_batch.errors import ConfigError
from dfp_batch.synthetic import SceneSet, SceneSpec, make_scene, procedural_image
from moved_frames import WARPS, centred, luma, moved, picture, through, turned

SIMILARITY = Registration()
MODELS_THAT_MOVE = MODELS[1:]


def error_px(found, true, size):
    """Mean distance between where two warps take a grid that fills the image."""
    grid = np.array([(x, y) for x in np.linspace(0, 1, 9) for y in np.linspace(0, 1, 9)])
    points = grid * [size[1] - 1, size[0] - 1]
    return np.hypot(*(through(found, points) - through(true, points)).T).mean()


def stack(side_px=256, seed=0, **spec):
    """Lumas and warps of a scene."""
    images = [procedural_image(side_px, 100 * seed + k) for k in range(3)]
    scene = make_scene(images, SceneSpec(**spec), seed)
    return [luma(source) for source in scene.sources], scene.warps


MOVING = {"shift_px": 2.0, "breathing": 0.004, "exposure": 0.05, "noise": 0.01}


# The registration of stacks.


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_a_moved_stack_is_registered_to_a_fraction_of_a_pixel(frames):
    planes, warps = stack(256, frames, frames=frames, defocus_px=3, **MOVING)
    found = register(planes, SIMILARITY)
    errors = [error_px(*pair, planes[0].shape) for pair in zip(found.warps, warps, strict=True)]
    assert np.median(np.delete(errors, found.reference)) < 0.15
    assert max(errors) < 0.3
    assert found.reference == (frames - 1) // 2
    assert found.flags.count("registered") == frames - 1
    assert found.flags[found.reference] == "reference"
    assert found.before[found.reference] == found.after[found.reference] == 1
    for index in set(range(frames)) - {found.reference}:
        assert found.before[index] < found.after[index] <= 1
    assert all(found.kept)


@pytest.mark.parametrize("reference", range(4))
def test_any_frame_can_be_the_reference(reference):
    planes, warps = stack(192, 1, frames=4, defocus_px=2, **MOVING)
    found = register(planes, Registration(reference=reference))
    assert found.reference == reference
    np.testing.assert_array_equal(found.warps[reference], np.eye(3))
    for own, warp in zip(found.warps, warps, strict=True):
        assert error_px(own, warp @ np.linalg.inv(warps[reference]), (192, 192)) < 0.35


@pytest.mark.parametrize("frames", [2, 5])
@pytest.mark.parametrize("index", range(12))
def test_what_did_not_move_has_exactly_the_identity(frames, index):
    scenes = SceneSet("bundled", side_px=160)
    # The scenes of the set, with as many frames.
    scene = replace(scenes, spec=replace(scenes.spec_of(index), frames=frames)).scene(index)
    found = register([luma(source) for source in scene.sources], SIMILARITY)
    np.testing.assert_array_equal(found.warps, np.tile(np.eye(3), (frames, 1, 1)))
    assert set(found.flags) <= {"reference", "identity", "failed"}
    assert found.before == found.after


@pytest.mark.parametrize(("model", "least"), [(m, k) for k, m in enumerate(MODELS_THAT_MOVE)])
def test_every_model_finds_its_own_motion_and_those_it_contains(model, least):
    plane = picture()
    for kind in MODELS_THAT_MOVE[: least + 1]:
        found = register([plane, moved(plane, WARPS[kind])], Registration(model))
        assert error_px(found.warps[1], WARPS[kind], plane.shape) < 0.1, kind


def test_a_model_stays_what_it_is():
    plane = picture()
    frame = moved(plane, WARPS["affine"])
    translation, similarity, affine = (
        register([plane, frame], Registration(model)).warps[1] for model in MODELS[1:4]
    )
    np.testing.assert_allclose(translation[:2, :2], np.eye(2), atol=1e-12)
    np.testing.assert_allclose(similarity[0, 0], similarity[1, 1], atol=1e-12)
    np.testing.assert_allclose(similarity[0, 1], -similarity[1, 0], atol=1e-12)
    assert abs(affine[0, 0] - affine[1, 1]) > 1e-3
    for warp in (translation, similarity, affine):
        np.testing.assert_allclose(warp[2], [0, 0, 1], atol=1e-15)


@given(
    degrees=st.floats(-8, 8),
    magnification=st.floats(0.93, 1.07),
    shift=st.tuples(*[st.floats(-15, 15)] * 2),
    gain=st.floats(0.5, 1.5),
    offset=st.floats(-0.2, 0.2),
)
@settings(max_examples=15, derandomize=True, deadline=None)
def test_any_similarity_is_found_and_brightness_does_not_matter(
    degrees, magnification, shift, gain, offset
):
    plane = picture(192, 3)
    true = centred(plane.shape, turned(degrees, magnification), shift)
    frame = np.float32(gain) * moved(plane, true) + np.float32(offset)
    found = register([plane, frame], SIMILARITY)
    if found.flags[1] == "identity":
        assert error_px(np.eye(3), true, plane.shape) < 0.2
    else:
        assert error_px(found.warps[1], true, plane.shape) < 0.1


@pytest.mark.parametrize(
    "true",
    [
        centred((256, 256), shift=(60, -40)),
        centred((256, 256), turned(12, 1.0)),
        centred((256, 256), turned(-5, 0.85), (20, 10)),
    ],
)
def test_large_motion_is_found_by_its_features(true):
    plane = picture(256, 5)
    found = register([plane, moved(plane, true)], SIMILARITY)
    assert found.flags[1] == "registered"
    assert error_px(found.warps[1], true, plane.shape) < 0.2


def test_a_texture_that_moved_far_is_found():
    grain = np.random.default_rng(0).standard_normal((192, 192)).astype(np.float32)
    plane = 0.5 + cv2.GaussianBlur(grain, (0, 0), 2)
    true = centred(plane.shape, shift=(17.0, 9.0))
    found = register([plane, moved(plane, true)], Registration("translation"))
    assert error_px(found.warps[1], true, plane.shape) < 0.1


def test_warps_are_in_pixels_of_a_plane_that_is_larger_than_what_is_looked_at():
    plane = cv2.resize(picture(512, 2), (1537, 1153), interpolation=cv2.INTER_CUBIC)
    true = centred(plane.shape, turned(0.4, 1.006), (5.0, -3.0))
    found = register([plane, moved(plane, true)], SIMILARITY)
    assert error_px(found.warps[1], true, plane.shape) < 0.1


def test_the_warps_of_both_directions_are_inverse():
    planes, _ = stack(256, 4, defocus_px=2, **MOVING)
    there = register(planes, SIMILARITY).warps[1]
    back = register(planes[::-1], SIMILARITY).warps[1]
    assert error_px(there @ back, np.eye(3), planes[0].shape) < 0.1


def test_registration_repeats_bit_by_bit_and_leaves_the_planes_alone():
    planes, _ = stack(128, 0, frames=3, **MOVING)
    copies = [plane.copy() for plane in planes]
    one, other = register(planes, SIMILARITY), register(planes, SIMILARITY)
    np.testing.assert_array_equal(one.warps, other.warps)
    assert (one.before, one.after, one.flags) == (other.before, other.after, other.flags)
    np.testing.assert_array_equal(planes, copies)


# Frames that do not belong.


@cache
def strangers(side_px=192):
    plane = picture(side_px)
    noise = np.random.default_rng(0).standard_normal(plane.shape).astype(np.float32)
    return {
        "black": np.zeros_like(plane),
        "grey": np.full_like(plane, 0.5),
        "noise": 0.5 + 0.05 * noise,
        "another picture": picture(side_px, 77),
        "turned by 90 degrees": np.ascontiguousarray(np.rot90(plane)),
        "upside down": np.ascontiguousarray(plane[::-1, ::-1]),
        "negative": 1 - plane,
    }


@pytest.mark.parametrize("name", strangers())
@pytest.mark.parametrize("model", MODELS_THAT_MOVE)
def test_a_frame_that_does_not_belong_fails(name, model):
    found = register([picture(), strangers()[name]], Registration(model))
    assert found.flags == ("reference", "failed")
    assert found.kept == (True, False)
    assert found.after[1] < 0.15
    np.testing.assert_array_equal(found.warps[1], np.eye(3))


def test_photographs_of_other_things_fail():
    scenes = SceneSet("bundled", side_px=192)
    photographs = [luma(scenes.image(number)) for number in range(8)]
    for one, other in pairwise(photographs):
        found = register([one, other], SIMILARITY)
        assert found.flags[1] == "failed"
        assert found.after[1] < 0.15


@pytest.mark.parametrize("bad", [0, 1, 3, 4, 5])
def test_the_chain_goes_on_from_the_last_good_frame(bad):
    planes, warps = stack(192, 2, frames=6, layers=6, defocus_px=1, **MOVING)
    planes[bad] = picture(192, 77)
    found = register(planes, SIMILARITY)
    assert [index for index, kept in enumerate(found.kept) if not kept] == [bad]
    for index, (own, warp) in enumerate(zip(found.warps, warps, strict=True)):
        if index != bad:
            assert error_px(own, warp, (192, 192)) < 0.3


def test_with_a_blank_reference_all_others_fail():
    planes, _ = stack(96, 0, frames=3)
    planes[1] = np.zeros_like(planes[1])
    assert register(planes, SIMILARITY).flags == ("failed", "reference", "failed")


def test_the_floor_decides():
    planes, _ = stack(96, 0, defocus_px=3)
    score = register(planes, SIMILARITY).after[1]
    for floor, kept in ((score - 0.01, True), (score + 0.01, False)):
        assert register(planes, Registration(floor=floor)).kept[1] is kept


# How planes are asked for.


class Lazy:
    """Makes planes when asked, and remembers."""

    def __init__(self, planes):
        self.planes, self.asked = planes, []

    def __len__(self):
        return len(self.planes)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.planes[index]


@pytest.mark.parametrize("model", ["none", "translation"])
def test_every_plane_is_asked_for_once_in_the_order_of_the_chain(model):
    lazy = Lazy([picture(32, k) for k in range(5)])
    register(lazy, Registration(model, reference=3))
    assert lazy.asked == [3, 4, 2, 1, 0]


def test_the_model_none_takes_every_frame_as_it_is():
    planes = [picture(64), picture(64), np.zeros((64, 64), np.float32)]
    found = register(planes, Registration("none", reference=0))
    assert found.flags == ("reference", "identity", "identity")
    assert found.before == found.after
    assert found.after == pytest.approx((1, 1, 0), abs=1e-6)
    np.testing.assert_array_equal(found.warps, [np.eye(3)] * 3)


@pytest.mark.parametrize("size", [(4, 4), (7, 5), (16, 200), (200, 16), (13, 50)])
@pytest.mark.parametrize("model", MODELS)
def test_planes_of_any_size_are_taken(size, model):
    random = np.random.default_rng(1)
    planes = [random.random(size, np.float32) for _ in range(2)]
    found = register([planes[0], planes[0], planes[1]], Registration(model, reference=0))
    assert np.isfinite(found.warps).all()
    np.testing.assert_array_equal(found.warps[1], np.eye(3))


def test_a_stack_of_one_frame_is_its_reference():
    found = register([picture(32)], SIMILARITY)
    assert (found.flags, found.kept) == (("reference",), (True,))


@pytest.mark.parametrize(("count", "reference"), [(1, 0), (2, 0), (3, 1), (4, 1), (7, 3)])
def test_the_middle_frame_is_the_reference(count, reference):
    assert Registration().reference_of(count) == reference


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Registration("rigid"),
            "align.model must be one of none, translation, similarity, affine, homography, "
            "got 'rigid'",
        ),
        (lambda: Registration(reference=-1), "align.reference must be >= 0, got -1"),
        (lambda: Registration(floor=1.5), "align.floor must be > 0 and < 1, got 1.5"),
        (
            lambda: Registration(reference=3).reference_of(3),
            "align.reference must be 0 to 2 in a stack of 3 frames, got 3",
        ),
    ],
)
def test_a_field_out_of_its_range_is_refused(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
