"""What is kept of frames: each is loaded once, or once to be looked at and once to be merged."""

import numpy as np
import pytest
import torch

from dfp_batch.alignment.drafts import Drafts, grey_of, small_of
from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration
from dfp_batch.alignment.stack import Stack
from dfp_batch.alignment.stack_alignment import align_stack
from dfp_batch.core.image import luma_plane
from dfp_batch.core.sources import greys, previews, reduced
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.steps import Workplace, choose_device, merge
from dfp_batch.synthetic import procedural_image
from method_parts import Lazy

CPU = choose_device("cpu")


@pytest.fixture(scope="module")
def windows():
    """Five frames (160, 200, 3), uint8, of a scene that moved."""
    picture = np.rint(255 * procedural_image(240, 1).transpose(1, 2, 0)).astype(np.uint8)
    return [picture[8 + 2 * k : 168 + 2 * k, 20 - 3 * k : 220 - 3 * k].copy() for k in range(5)]


@pytest.fixture(scope="module")
def alignment(windows):
    return align_stack(windows, 255.0, Registration(), ExposureMatch())


def test_what_is_kept_is_what_would_be_made_again(windows):
    images = Lazy(50, windows.__getitem__)
    drafts = Drafts(images)
    for look in (drafts.look(1), drafts.look(1), drafts.take(1), drafts.take(1)):
        np.testing.assert_array_equal(look.grey, grey_of(windows[1]))
        np.testing.assert_array_equal(look.small, small_of(windows[1]))
    assert images.asked == [1, 1]
    np.testing.assert_array_equal(drafts[2], windows[2])
    assert len(drafts) == 50


@pytest.mark.parametrize(("count", "dtype"), [(12, np.uint8), (6, np.uint16)])
def test_a_stack_of_few_images_is_kept_as_a_whole(count, dtype):
    for n, loads in ((count, 1), (count + 1, 2)):
        images = Lazy(n, lambda _: np.zeros((4, 4, 3), dtype))
        drafts = Drafts(images)
        for index in (*range(n), *range(n)):
            assert drafts[index].shape == (4, 4, 3)
        assert len(images.asked) == loads * n


def test_no_more_is_kept_than_two_full_frames():
    images = Lazy(60, lambda _: np.zeros((32, 32, 3), np.uint8))
    drafts = Drafts(images)
    for _ in range(2):
        for index in range(60):
            drafts.look(index)
    bytes_per_px = 1 + 4 * 3 / 16  # luma, and a float per channel of the small copy
    assert 120 - len(images.asked) == int(2 * 4 * 3 / bytes_per_px)


@pytest.mark.parametrize("preset", ["classical", "fast"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_every_frame_is_loaded_once_from_registration_to_merge(preset, dtype, windows):
    """Or twice, where not all fit into the memory that is theirs."""
    images = Lazy(5, lambda index: windows[index].astype(dtype))
    config = FusionConfig.preset(preset, scale=1)
    drafts = Drafts(images)
    found = align_stack(drafts, 255.0, config.align, config.exposure)
    found = found.with_spots(drafts, 255.0, (160, 200))
    merge(Stack(found.mended(drafts), 255.0, found), config, Workplace(CPU))
    assert np.bincount(images.asked).tolist() == [1 if dtype == np.uint8 else 2] * 5


def test_greys_are_the_lumas_of_the_previews_within_rounding(windows, alignment):
    stack = Stack(windows, 255.0, alignment)
    for _ in range(2):  # the second time from what is kept
        for grey, preview in zip(greys(stack), previews(stack), strict=True):
            assert (grey - luma_plane(preview)).abs().max() < 1.6 / 255


def test_small_copies_are_the_frames_made_smaller(windows, alignment):
    """Made smaller first and then resampled, they agree but for their finest detail."""
    stack = Stack(windows, 255.0, alignment)
    small = reduced(stack)
    for index, preview in enumerate(previews(stack)):
        expected = torch.nn.functional.avg_pool2d(preview, 4)
        error = (small.images[index] - expected)[:, 4:-4, 4:-4].square().mean().sqrt()
        assert error < 0.25 * expected.std()
    own = torch.from_numpy(small_of(windows[2]) / 255).movedim(-1, 0)
    torch.testing.assert_close(small.images[2], own)
