from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.alignment.crop import valid_rectangle
from dfp_batch.alignment.geometry import MODELS
from dfp_batch.alignment.registration import Registration, register
from dfp_batch.alignment.warp import inside, warp_image, warp_tiles
from dfp_batch.errors import ConfigError
from dfp_batch.synthetic import SceneSet, SceneSpec, make_scene, procedural_image

SIMILARITY = Registration()
MODELS_THAT_MOVE = MODELS[1:]
LUMA = np.float32([0.299, 0.587, 0.114])


def luma(source):
    return np.tensordot(LUMA, source, 1) if len(source) == 3 else source[0]


def picture(side_px=192, seed=0):
    return luma(procedural_image(side_px, seed)).astype(np.float32)


def centred(size, linear=((1, 0), (0, 1)), shift=(0.0, 0.0), tilt=(0.0, 0.0)):
    """The warp about the centre of an image (h, w)."""
    to_centre = np.eye(3)
    to_centre[:2, 2] = -(size[1] - 1) / 2, -(size[0] - 1) / 2
    warp = np.eye(3)
    warp[:2, :2], warp[:2, 2], warp[2, :2] = linear, shift, tilt
    return np.linalg.inv(to_centre) @ warp @ to_centre


def turned(degrees, magnification=1.0):
    angle = np.radians(degrees)
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return magnification * np.array(turn)


def moved(plane, warp):
    """The frame in which the warp finds what is in ``plane``."""
    return np.asarray(warp_image(plane, np.linalg.inv(warp), plane.shape))


def through(warp, points):
    mapped = np.column_stack([points, np.ones(len(points))]) @ warp.T
    return mapped[:, :2] / mapped[:, 2:]


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
    scene = replace(scenes, spec=replace(scenes._spec_of(index), frames=frames)).scene(index)
    found = register([luma(source) for source in scene.sources], SIMILARITY)
    np.testing.assert_array_equal(found.warps, np.tile(np.eye(3), (frames, 1, 1)))
    assert set(found.flags) <= {"reference", "identity", "failed"}
    assert found.before == found.after


WARPS = {
    "translation": centred((192, 192), shift=(7.3, -4.6)),
    "similarity": centred((192, 192), turned(3, 0.97), (4, -3)),
    "affine": centred((192, 192), [[1.02, 0.03], [-0.01, 0.97]], (-2, 3)),
    "homography": centred((192, 192), turned(1, 1.01), (1, 2), (2e-4, -1e-4)),
}


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
    photographs = [luma(scenes._image(number)) for number in range(8)]
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


# Warped images.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_a_warped_image_keeps_type_and_channels(dtype, channels):
    shown = np.random.default_rng(0).integers(0, 200, (20, 30, *channels)).astype(dtype)
    warped = warp_image(shown, centred((20, 30), turned(5)), (20, 30))
    assert (warped.dtype, warped.shape) == (dtype, shown.shape)
    same = warp_image(shown, np.eye(3), (20, 30))
    np.testing.assert_array_equal(same, shown)
    assert not np.shares_memory(same, shown)


def test_a_shift_by_whole_pixels_is_exact():
    shown = np.random.default_rng(0).integers(0, 2**16, (30, 40)).astype(np.uint16)
    warp = centred((30, 40), shift=(3, -2))
    warped = warp_image(shown, warp, (30, 40))
    np.testing.assert_array_equal(warped[2:, :-3], shown[:-2, 3:])


@pytest.mark.parametrize("size", [(130, 200), (63, 65), (64, 128)])
@pytest.mark.parametrize("name", WARPS)
def test_tiles_are_those_of_the_whole_warped_image(size, name):
    shown = np.random.default_rng(0).integers(0, 256, (130, 200, 3)).astype(np.uint8)
    preview, where = np.zeros((*size, 3), np.uint8), np.zeros(size, bool)
    where[:3, -1] = True  # the first row of tiles, the last one in it
    whole = warp_image(shown, WARPS[name], size)
    warp_tiles(shown, WARPS[name], preview, where)
    left = (size[1] - 1) // 64 * 64
    np.testing.assert_array_equal(preview[:64, left:], whole[:64, left:])
    preview[:64, left:] = 0
    assert not preview.any()
    warp_tiles(shown, WARPS[name], preview, np.ones(size, bool))
    np.testing.assert_array_equal(preview, whole)


def test_a_warped_image_can_have_another_size():
    shown = np.random.default_rng(0).random((30, 40), np.float32)
    np.testing.assert_array_equal(warp_image(shown, np.eye(3), (20, 25)), shown[:20, :25])


def test_resampling_keeps_detail():
    """A frame that is shifted exactly, in the frequency domain, and warped back."""
    plane = cv2.GaussianBlur(picture(128), (0, 0), 0.6)
    fy, fx = np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)
    phase = np.exp(-2j * np.pi * (0.37 * fx + 0.61 * fy))
    frame = np.fft.ifft2(np.fft.fft2(plane) * phase).real.astype(np.float32)
    warped = warp_image(frame, centred(plane.shape, shift=(0.37, 0.61)), plane.shape)
    inner = np.s_[12:-12, 12:-12]
    assert -10 * np.log10(np.mean((warped - plane)[inner] ** 2)) > 44


def test_the_warp_of_the_truth_brings_the_frame_to_the_reference():
    plane = cv2.GaussianBlur(picture(128), (0, 0), 1)
    for warp in (WARPS["similarity"], WARPS["homography"]):
        back = warp_image(moved(plane, warp), warp, plane.shape)
        assert np.abs(back - plane)[24:-24, 24:-24].mean() < 0.003


# What a frame covers.


def covered_by_definition(warp, size):
    y, x = np.mgrid[: size[0], : size[1]]
    places = through(warp, np.stack([x.ravel(), y.ravel()], 1))
    most = np.array([size[1], size[0]]) - 1
    return ((places >= -1e-3) & (places <= most + 1e-3)).all(1).reshape(size)


@given(
    degrees=st.floats(-30, 30),
    magnification=st.floats(0.7, 1.4),
    shift=st.tuples(*[st.floats(-10, 10)] * 2),
    tilt=st.tuples(*[st.floats(-2e-3, 2e-3)] * 2),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_what_is_inside_is_what_the_warp_takes_inside(degrees, magnification, shift, tilt):
    size = (31, 44)
    warp = centred(size, turned(degrees, magnification), shift, tilt)
    found = inside(warp, size)
    assert (found != covered_by_definition(warp, size)).mean() < 0.002  # the tolerance differs


def test_the_identity_covers_everything_and_shifts_leave_a_rim():
    assert inside(np.eye(3), (5, 7)).all()
    found = inside(centred((5, 7), shift=(2.0, -1.0)), (5, 7))
    wanted = np.zeros((5, 7), bool)
    wanted[1:, :-2] = True
    np.testing.assert_array_equal(found, wanted)
    assert not inside(centred((5, 7), shift=(7.0, 0)), (5, 7)).any()
    assert inside(centred((5, 7), shift=(1e-6, 0)), (5, 7)).all()


# Rectangles.


def largest_by_trying(mask):
    h, w = mask.shape
    best = 0
    for top in range(h):
        for left in range(w):
            for bottom in range(top + 1, h + 1):
                for right in range(left + 1, w + 1):
                    if mask[top:bottom, left:right].all():
                        best = max(best, (bottom - top) * (right - left))
    return best


@given(data=st.data(), h=st.integers(1, 6), w=st.integers(1, 6))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_the_largest_rectangle_of_a_small_mask(data, h, w):
    bits = data.draw(st.lists(st.booleans(), min_size=h * w, max_size=h * w))
    mask = np.array(bits).reshape(h, w)
    top, left, height, width = valid_rectangle(mask)
    assert mask[top : top + height, left : left + width].all()
    assert height * width == largest_by_trying(mask)


def test_known_rectangles():
    mask = np.ones((5, 8), bool)
    assert valid_rectangle(mask) == (0, 0, 5, 8)
    mask[0] = mask[:, 6:] = False
    assert valid_rectangle(mask) == (1, 0, 4, 6)
    assert valid_rectangle(np.zeros((4, 4), bool)) == (0, 0, 0, 0)


@pytest.mark.parametrize("size", [(600, 800), (1000, 333), (257, 257)])
def test_the_rectangle_of_a_large_mask_is_valid_and_cannot_grow(size):
    mask = inside(centred(size, turned(2, 1.01), (6.3, -3.2)), size)
    top, left, height, width = valid_rectangle(mask)
    assert mask[top : top + height, left : left + width].all()
    assert height * width > 0.85 * mask.sum()
    assert top == 0 or not mask[top - 1, left : left + width].all()
    assert left == 0 or not mask[top : top + height, left - 1].all()
    bottom, right = top + height, left + width
    assert bottom == size[0] or not mask[bottom, left:right].all()
    assert right == size[1] or not mask[top:bottom, right].all()


def test_a_large_mask_with_no_whole_block_still_has_a_rectangle():
    mask = np.zeros((600, 700), bool)
    assert valid_rectangle(mask) == (0, 0, 0, 0)
    mask[301, 100:400] = True
    assert valid_rectangle(mask) == (301, 100, 1, 300)


def test_a_large_rectangle_is_found_to_the_pixel():
    mask = np.zeros((1000, 1200), bool)
    mask[101:907, 53:1111] = True
    assert valid_rectangle(mask) == (101, 53, 806, 1058)
