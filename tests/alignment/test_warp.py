"""Frames brought to the reference."""

import cv2
import numpy as np
import pytest

from dfp_batch.alignment.warp import warp_image, warp_tiles
from moved_frames import WARPS, centred, moved, picture, turned

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
def test_tiles_are_the_better_the_more_they_are_shown(size, name):
    noise = np.random.default_rng(0).integers(0, 256, (130, 200, 3)).astype(np.uint8)
    shown = cv2.GaussianBlur(noise, (0, 0), 2)
    where, warp = np.zeros(size, bool), WARPS[name]
    where[:3, -1] = True  # the first row of tiles, the last one in it
    nowhere, left = np.zeros_like(where), (size[1] - 1) // 64 * 64
    kernels = cv2.INTER_LANCZOS4, cv2.INTER_CUBIC, cv2.INTER_LINEAR
    good, quick, quickest = (warp_image(shown, warp, size, kernel) for kernel in kernels)
    for whole, seen, beside in ((good, where, nowhere), (quick, nowhere, where)):
        tiles = warp_tiles(shown, warp, seen, beside)
        assert np.abs(tiles[:64, left:].astype(int) - whole[:64, left:]).max() <= 1
        tiles[:64, left:] = quickest[:64, left:]
        assert np.abs(tiles.astype(int) - quickest).max() <= 1
    every = warp_tiles(shown, warp, ~nowhere, ~nowhere)
    np.testing.assert_array_equal(every, warp_tiles(shown, warp, ~nowhere, nowhere))
    assert np.abs(every.astype(int) - good).max() <= 1


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
