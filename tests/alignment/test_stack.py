import cv2
import numpy as np
import pytest
import torch

from conftest import Alive
from dfp_batch.alignment import stack as stack_module
from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration, RegistrationResult
from dfp_batch.alignment.stack import Stack
from dfp_batch.alignment.stack_alignment import StackAlignment, align_stack
from dfp_batch.alignment.warp import inside, warp_image
from dfp_batch.core.filters import as_array
from dfp_batch.core.image import luma, luma_plane
from dfp_batch.core.sources import InMemory, previews, whole
from dfp_batch.errors import AlignmentError, ConfigError
from dfp_batch.synthetic import procedural_image
from method_parts import Lazy

SIMILARITY, MATCH = Registration(), ExposureMatch()
KINDS = [(np.uint8, 255.0), (np.uint16, 4095.0), (np.uint16, 65535.0), (np.float32, 1.0)]
every_kind = pytest.mark.parametrize(("dtype", "white"), KINDS)
RIM_PX = 8


def stored(image, dtype, white):
    """An image (h, w, C) in [0, 1] as a file holds it."""
    scaled = image * white
    return (scaled if dtype == np.float32 else np.rint(scaled)).astype(dtype)


def noise(count, h=24, w=30, channels=3, seed=0):
    """Images (count, h, w, C), uniform in [0, 1]."""
    return np.random.default_rng(seed).random((count, h, w, channels)).astype(np.float32)


def shifted(x_px, y_px):
    warp = np.eye(3)
    warp[:2, 2] = x_px, y_px
    return warp


def turned(degrees, size):
    angle, centre = np.radians(degrees), (np.array(size[::-1]) - 1) / 2
    warp = np.eye(3)
    warp[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    warp[:2, 2] = centre - warp[:2, :2] @ centre
    return warp


def alignment(warps, gains=None, reference=0, failed=()):
    flags = ["failed" if index in failed else "registered" for index in range(len(warps))]
    flags[reference] = "reference"
    ones = (1.0,) * len(warps)
    registered = RegistrationResult(reference, np.stack(warps), ones, ones, tuple(flags))
    return StackAlignment(
        registered, np.ones((len(warps), 3)) if gains is None else np.array(gains)
    )


# What everything that looks at sources needs.


def test_whole_is_all_sources_in_their_order():
    sources = torch.rand(3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(whole(InMemory(sources)), sources)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_array_is_what_opencv_takes(channels):
    source = torch.rand(channels, 4, 5, generator=torch.Generator().manual_seed(0))
    image = as_array(source)
    assert image.flags.c_contiguous
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, source.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("channels", [1, 3])
def test_luma_plane_is_the_luma_of_the_method(channels):
    source = torch.rand(channels, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = luma(source[None])[0, 0].numpy()
    np.testing.assert_allclose(luma_plane(source)[0], expected, atol=1e-6)


# Registration and exposure of all frames.


SHIFTS = ((0, 0), (3, -2), (-2, 4))  # of frames, in px
DARKER = ((1, 1, 1), (0.9, 0.8, 0.7), (0.8, 0.8, 0.8))


def picture(side_px=80, seed=3):
    """A picture (side_px, side_px, 3), not too bright, so that nothing is clipped."""
    return 0.9 * procedural_image(side_px, seed).transpose(1, 2, 0)


@pytest.fixture(scope="module")
def frames():
    """Frames (64, 64, 3) of one picture, moved and darker."""
    return darker_windows(64)


def darker_windows(side_px):
    whole = picture(side_px + 16)
    windows = [whole[8 + y : 8 + y + side_px, 8 + x : 8 + x + side_px] for x, y in SHIFTS]
    return [window * np.float32(gain) for window, gain in zip(windows, DARKER, strict=True)]


@every_kind
@pytest.mark.parametrize("reference", [0, 1])
def test_warps_and_gains_are_found(dtype, white, reference, frames):
    images = [stored(frame, dtype, white) for frame in frames]
    found = align_stack(images, white, Registration(reference=reference), MATCH)
    assert found.registered.reference == reference
    assert found.kept == (0, 1, 2)
    centre = np.array([31.5, 31.5, 1])
    for warp, shift in zip(found.registered.warps, SHIFTS, strict=True):
        expected = centre[:2] + SHIFTS[reference] - shift
        np.testing.assert_allclose((warp @ centre)[:2], expected, atol=0.1)
    expected = np.array(DARKER[reference]) / np.array(DARKER)
    np.testing.assert_allclose(found.gains, expected, rtol=0.01)


def test_a_grey_frame_has_one_gain(frames):
    gains = align_stack([frames[0][..., :1], frames[2][..., :1]], 1.0, SIMILARITY, MATCH).gains
    assert gains.shape == (2, 1)
    np.testing.assert_allclose(gains[:, 0], [1, 1.25], rtol=0.01)


def test_gains_are_found_in_reduced_frames_as_well():
    """The motion of a thumbnail is not that of the frame."""
    gains = align_stack(darker_windows(256), 1.0, Registration(reference=0), MATCH).gains
    np.testing.assert_allclose(gains, 1 / np.array(DARKER), rtol=0.02)


@pytest.mark.parametrize("model", ["none", "similarity"])
def test_every_image_is_loaded_once(model, frames):
    images = Lazy(3, lambda index: frames[index])
    align_stack(images, 1.0, Registration(model), MATCH)
    assert sorted(images.asked) == [0, 1, 2]


def test_without_registration_and_exposure_every_frame_is_taken_as_it_is():
    found = align_stack(noise(3), 1.0, Registration("none"), ExposureMatch("none"))
    assert found.kept == (0, 1, 2)
    np.testing.assert_array_equal(found.registered.warps, np.tile(np.eye(3), (3, 1, 1)))
    np.testing.assert_array_equal(found.gains, np.ones((3, 3)))


def test_a_frame_of_something_else_is_dropped(frames):
    images = [frames[0], picture(64, seed=9), frames[1]]
    found = align_stack(images, 1.0, Registration(reference=0), MATCH)
    assert found.kept == (0, 2)
    assert found.registered.flags[1] == "failed"
    np.testing.assert_array_equal(found.gains[1], [1, 1, 1])
    assert len(Stack(images, 1.0, found)) == 2


@pytest.mark.parametrize("count", [2, 3])
def test_frames_that_have_nothing_in_common_are_refused(count):
    images = [picture(64, seed) for seed in range(count)]
    text = (
        rf"^the frames could not be registered: score -?0\.\d\d, at least {SIMILARITY.floor:g} is "
        r"needed; are they of one scene\? --align none takes them as they are$"
    )
    with pytest.raises(AlignmentError, match=text):
        align_stack(images, 1.0, SIMILARITY, MATCH)


def test_a_reference_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"^align\.reference must be 0 to 1 in a stack of 2"):
        align_stack(noise(2), 1.0, Registration(reference=2), MATCH)


def test_unexposed_keeps_the_warps_for_one_channel():
    found = alignment([np.eye(3), shifted(2, 1)], [[1, 1, 1], [2, 3, 4]])
    alpha = found.unexposed()
    assert alpha.registered is found.registered
    np.testing.assert_array_equal(alpha.gains, [[1], [1]])


# The stack.


@every_kind
def test_a_frame_is_the_warped_image_times_its_gain_over_white(dtype, white):
    images = [stored(image, dtype, white) for image in noise(2, 40, 50)]
    warp, gain = shifted(2.25, -1.5), np.array([0.5, 1.0, 2.0])
    stack = Stack(images, white, alignment([np.eye(3), warp], [[1, 1, 1], gain]))
    warped = warp_image(images[1], warp, (40, 50)).astype(np.float64)
    expected = (warped * gain / white).clip(0, 1)
    frame = stack[1]
    assert frame.shape == (3, 40, 50)
    assert frame.dtype == torch.float32
    inner = np.s_[2 + RIM_PX : -RIM_PX, RIM_PX : -3 - RIM_PX]
    level = 0 if dtype == np.float32 else gain.max() / white  # that OpenCV may round otherwise
    np.testing.assert_allclose(as_array(frame)[inner], expected[inner], atol=level + 1e-6)


@every_kind
def test_a_preview_is_the_frame_but_for_fine_detail(dtype, white):
    smooth = procedural_image(200, 3).transpose(1, 2, 0)
    images = [stored(cv2.GaussianBlur(smooth, (0, 0), 2), dtype, white) for _ in range(2)]
    stack = Stack(images, white, alignment([np.eye(3), turned(3, (200, 200))]))
    quick = list(previews(stack))
    assert len(quick) == 2
    assert torch.equal(quick[0], stack[0])
    assert 0 < (quick[1] - stack[1]).abs().max() < 0.02


def test_a_frame_in_full_quality_is_right_where_it_is_shown():
    images = noise(2, 200, 200)
    stack = Stack(images, 1.0, alignment([np.eye(3), turned(3, (200, 200))]))
    where, beside = (torch.zeros(200, 200, dtype=torch.bool) for _ in range(2))
    where[70, 80] = beside[75, 90] = beside[75, 150] = True
    quick, right = stack.preview(1), stack[1]
    found = stack.full_quality(1, where, beside)
    assert torch.equal(found[:, 64:128, 64:128], right[:, 64:128, 64:128])
    assert (found - quick)[:, 64:128, 128:192].abs().max() < 1e-3
    for one in (quick, right):
        assert not torch.equal(found[:, :64], one[:, :64])
    assert (found - right).abs().mean() < 0.2


@every_kind
@pytest.mark.parametrize("degrees", [0, 3])
def test_rows_are_those_of_the_frame_in_full_quality(dtype, white, degrees):
    images = [stored(image, dtype, white) for image in noise(2, 200, 90)]
    warp = turned(degrees, (200, 90)) if degrees else np.eye(3)
    stack = Stack(images, white, alignment([np.eye(3), warp], [[1, 1, 1], [0.9, 1.0, 1.1]]))
    where, beside = (torch.zeros(200, 90, dtype=torch.bool) for _ in range(2))
    where[70, 80] = where[190, 3] = beside[75, 10] = True
    for index in range(2):
        whole = stack.full_quality(index, where, beside)
        for rows in (slice(0, 64), slice(64, 128), slice(128, 200)):
            part = stack.rows(index, rows, where[rows], beside[rows])
            off = (part - whole[:, rows]).abs()  # OpenCV rounds a place that is shifted elsewhere
            assert off.max() < 1.01 / 255
            assert off.mean() < 1e-5


@pytest.mark.parametrize(("dtype", "most"), [(np.uint8, 24), (np.uint16, 12), (np.float32, 6)])
def test_a_stack_has_rows_while_its_frames_fit_into_six_full_ones(dtype, most):
    image = np.zeros((16, 16, 3), dtype)
    for count, has_rows in ((most, True), (most + 1, False)):
        stack = Stack(Lazy(count, lambda _: image), 1.0, alignment([np.eye(3)] * count))
        assert stack.has_rows == has_rows


def test_rows_of_a_frame_are_of_what_was_loaded_once():
    images = Lazy(3, lambda index: noise(3, 128, 20)[index])
    stack = Stack(images, 1.0, alignment([np.eye(3)] * 3))
    for rows in (slice(0, 64), slice(64, 128)):
        for index in range(3):
            stack.rows(index, rows, torch.zeros(64, 20, dtype=torch.bool))
    assert images.asked.count(1) == images.asked.count(2) == 1


def test_what_is_in_memory_looks_the_same_however_it_is_asked_for_and_is_left_alone():
    images = torch.rand(3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    before, sources = images.clone(), InMemory(images)
    found = [sources[1], sources.preview(1), sources.full_quality(1, torch.zeros(4, 5) > 0)]
    for source in found:
        assert torch.equal(source, before[1])
        source.fill_(7)
    assert torch.equal(images, before)


@every_kind
@pytest.mark.parametrize("gain", [0.9, 1.0, 1.5])
def test_every_frame_is_in_range(dtype, white, gain):
    """Resampling overshoots; and samples above white are white."""
    hard = (noise(2, 40, 50) > 0.5).astype(np.float32)
    images = [stored(image, dtype, white) for image in hard]
    if white == 4095:
        images[0][0, 0] = 5000
    warp = turned(5, (40, 50))
    stack = Stack(images, white, alignment([np.eye(3), warp], [[gain] * 3] * 2))
    for frame in stack:
        assert 0 <= frame.min() < 0.1
        assert min(0.9 * gain, 0.99) < frame.max() <= 1


@every_kind
def test_unmoved_frames_are_exact_and_the_images_are_left_alone(dtype, white):
    images = [stored(image, dtype, white) for image in noise(3)]
    before = [image.copy() for image in images]
    stack = Stack(images, white, alignment([np.eye(3)] * 3, reference=1))
    for _ in range(2):  # what is kept is not given away
        for frame, image in zip(stack, before, strict=True):
            np.testing.assert_array_equal(stored(as_array(frame), dtype, white), image)
            frame.zero_()
    for image, copy in zip(images, before, strict=True):
        np.testing.assert_array_equal(image, copy)
    assert alignment([np.eye(3)] * 3).valid((24, 30)).all()


def test_only_frames_that_could_be_registered_are_in_the_stack():
    images = noise(4)
    stack = Stack(images, 1.0, alignment([np.eye(3)] * 4, reference=2, failed=(0, 3)))
    assert len(stack) == 2
    assert stack.reference == 2
    np.testing.assert_array_equal(as_array(stack[0]), images[1])
    np.testing.assert_array_equal(as_array(stack[1]), images[2])


WARPS = {
    "little": shifted(2, -1),
    "shift": shifted(-12, 9),
    "turn": turned(12, (40, 50)),
    "turn back": turned(-20, (40, 50)),
    "magnification": np.diag([1.3, 1.3, 1]),
}


@every_kind
@pytest.mark.parametrize("gains", [(0.5, 0.9), (1.0, 0.6), (1.0, 1.5)])
@pytest.mark.parametrize("warp", WARPS.values(), ids=WARPS)
def test_where_a_frame_sees_nothing_the_reference_stands_in(warp, gains, dtype, white):
    """With its own exposure, to the precision of the file."""
    images = [stored(image, dtype, white) for image in noise(2, 40, 50)]
    found = alignment([np.eye(3), warp], [[gain] * 3 for gain in gains])
    frame = as_array(Stack(images, white, found)[1])
    covered = inside(warp, (40, 50))
    assert 0 < covered.mean() < 1
    expected = images[0][~covered] * (gains[0] / white)
    step = 1e-6 if dtype == np.float32 else 0.51 * gains[1] / white
    np.testing.assert_allclose(frame[~covered], expected, atol=step)


def test_the_reference_comes_in_softly():
    """The frame is white, the reference black: what is seen is the share of the frame."""
    images = [np.full((32, 64, 1), value, np.float32) for value in (0, 1)]
    stack = Stack(images, 1.0, alignment([np.eye(3), shifted(-20, 0)], np.ones((2, 1))))
    share = as_array(stack[1])[..., 0]
    np.testing.assert_array_equal(share, np.tile(share[:1], (32, 1)))
    steps = np.diff(share[0])
    assert (share[0, :20] == 0).all()
    assert (share[0, 20 + RIM_PX :] == 1).all()
    assert ((steps >= 0) & (steps < 0.15)).all()


def test_valid_is_what_every_frame_covers():
    warps = [np.eye(3), shifted(3, 0), shifted(0, -2), turned(45, (24, 30))]
    expected = np.ones((24, 30), bool)
    expected[:, -3:] = False
    expected[:2] = False
    found = alignment(warps, failed=(3,)).valid((24, 30))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("dtype", "most"), [(np.uint8, 8), (np.uint16, 4), (np.float32, 2)])
@pytest.mark.parametrize("moved", [False, True])
def test_few_frames_are_alive_however_many_there_are(dtype, most, moved, monkeypatch):
    """A few as they are stored, which the reference is always one of, and the one that is asked."""
    alive = Alive()
    images = Lazy(40, lambda index: alive(stored(noise(1, 16, 16, seed=index)[0], dtype, 1)))
    registered = Alive()
    monkeypatch.setattr(
        stack_module, "warp_image", lambda *arguments: registered(warp_image(*arguments))
    )
    warps = [shifted(moved * (index % 5), 0) for index in range(40)]
    stack = Stack(images, 1.0, alignment(warps, reference=20))
    frames = Alive()
    for _ in range(2):
        for index in range(40):
            frames(stack[index].numpy())
    assert len(images.asked) >= 40
    assert alive.most <= 2  # one may be the reference
    assert registered.most <= most + 1
    assert frames.most <= 2
    if moved:
        assert images.asked.count(20) <= 2


def test_alpha_is_moved_like_its_frame_and_not_exposed():
    alphas = noise(2, 40, 50, 1)
    found = alignment([np.eye(3), shifted(4, 0)], [[1, 1, 1], [2, 2, 2]])
    frame = as_array(Stack(alphas, 1.0, found.unexposed())[1])
    np.testing.assert_allclose(frame[:, :30], alphas[1][:, 4:34], atol=1e-6)
    np.testing.assert_allclose(frame[:, 46:], alphas[0][:, 46:], atol=1e-6)
