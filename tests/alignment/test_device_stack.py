"""A stack that is resampled by PyTorch, here on the CPU, against the one that OpenCV resamples."""

import cv2
import numpy as np
import pytest
import torch

from dfp_batch.alignment.device_stack import DeviceStack, resampled
from dfp_batch.alignment.registration import RegistrationResult
from dfp_batch.alignment.stack import Stack
from dfp_batch.alignment.stack_alignment import StackAlignment
from dfp_batch.alignment.warp import warp_image
from dfp_batch.core.filters import as_array, as_image
from dfp_batch.synthetic import procedural_image

CPU = torch.device("cpu")
TURN = np.array([[0.98017, -0.04953, 1.3127], [0.06143, 1.01093, -2.7179], [1e-4, -2e-4, 1]])
WARPS = {
    "half a pixel": np.array([[1, 0, 0.5], [0, 1, -0.25], [0, 0, 1]]),
    "turn": TURN,
    "far": np.array([[1, 0, -30.31], [0, 1, 25.13], [0, 0, 1]]),
}
KERNELS = {"cubic": cv2.INTER_CUBIC, "lanczos": cv2.INTER_LANCZOS4}


def picture(seed, size=(60, 75)):
    return procedural_image(80, seed).transpose(1, 2, 0)[: size[0], : size[1]].copy()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("warp", WARPS.values(), ids=WARPS)
def test_resampling_is_that_of_opencv(warp, kernel):
    image = picture(1)
    expected = warp_image(image, warp, (50, 64), KERNELS[kernel])
    found = as_array(resampled(as_image(image), warp, (50, 64), kernel))
    np.testing.assert_allclose(found, expected, atol=_off(image, warp, kernel))


def _off(image, warp, kernel):
    """OpenCV rounds the places for this kernel: by 1/64 px at most along either side."""
    if kernel == "cubic" or warp is WARPS["half a pixel"]:
        return 3e-6
    return sum(np.abs(np.diff(image, axis=axis)).max() for axis in (0, 1)) / 64


def test_resampling_row_by_row_is_that_of_the_whole():
    image = as_image(picture(2))
    rows = [resampled(image, TURN @ _down(top), (1, 64), "lanczos") for top in range(50)]
    torch.testing.assert_close(resampled(image, TURN, (50, 64), "lanczos"), torch.cat(rows, 1))


def _down(rows):
    shift = np.eye(3)
    shift[1, 2] = rows
    return shift


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint8, 255.0), (np.uint16, 4095.0), (np.float32, 1)]
)
@pytest.mark.parametrize("warp", WARPS.values(), ids=WARPS)
def test_every_frame_is_that_of_the_stack_on_the_host(warp, dtype, white):
    images = [picture(seed) * white for seed in (1, 2, 3)]
    images = [(np.rint(one) if dtype != np.float32 else one).astype(dtype) for one in images]
    warps = np.stack([warp, np.eye(3), np.eye(3)])
    flags = ("registered", "reference", "failed")
    found = RegistrationResult(1, warps, (1.0,) * 3, (1.0,) * 3, flags)
    alignment = StackAlignment(found, np.array([[1.1, 0.9, 1.0], [1.0] * 3, [1.0] * 3]))
    host, device = Stack(images, white, alignment), DeviceStack(images, white, alignment, CPU)
    assert len(device) == len(host) == 2
    for index in range(2):
        everywhere = torch.ones(60, 75, dtype=torch.bool)
        for one, other in (
            (host[index], device[index]),
            (host.preview(index), device.preview(index)),
            (host.full_quality(index, everywhere), device.full_quality(index, everywhere)),
        ):
            assert other.dtype == torch.float32
            step = 1.2 / white if dtype != np.float32 else 5e-6  # of a level, times the gain
            if warp is TURN:
                step += _off(images[0] / white, warp, "lanczos")
            assert (one - other).abs().max() < step
    assert all(image.flags.writeable for image in images)


def test_what_it_gives_may_be_overwritten():
    images = [picture(seed) for seed in (1, 2)]
    found = RegistrationResult(
        0, np.stack([np.eye(3)] * 2), (1.0,) * 2, (1.0,) * 2, ("reference", "identity")
    )
    stack = DeviceStack(images, 1.0, StackAlignment(found, np.ones((2, 3))), CPU)
    before = [stack[0].clone(), stack[1].clone()]
    for index in range(2):
        stack[index].zero_()
        assert torch.equal(stack[index], before[index])
