import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.core.image import enlarge, luma, pad_to, round_up
from dfp_batch.core.quality import blockiness, noise_level
from dfp_batch.synthetic import procedural_image

sizes = st.integers(1, 9)


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((1, 0, 0), 0.299),
        ((0, 1, 0), 0.587),
        ((0, 0, 1), 0.114),
        ((1, 1, 1), 1.0),
        ((0.5, 0.25, 1.0), 0.41025),
    ],
)
def test_luma_is_bt601(rgb, expected):
    pixel = torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1)
    assert luma(pixel).shape == (1, 1, 1, 1)
    assert luma(pixel).item() == pytest.approx(expected, abs=1e-12)


def test_luma_keeps_images_apart_and_grey_as_it_is(texture):
    stack = torch.cat([texture(5, 7, seed=1), texture(5, 7, seed=2)])
    assert torch.equal(luma(stack)[1:], luma(stack[1:]))
    grey = stack[:, :1]
    assert torch.equal(luma(grey), grey)


@given(st.integers(1, 4), sizes, sizes, st.floats(0, 1))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_enlarge_has_the_exact_size_and_keeps_constants(scale, h, w, value):
    large = enlarge(torch.full((2, 3, h, w), value), scale)
    assert large.shape == (2, 3, scale * h, scale * w)
    torch.testing.assert_close(large, torch.full_like(large, value))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_enlarge_keeps_a_ramp_on_the_grid_of_pixel_centres(scale):
    rows, columns = torch.arange(9.0)[:, None], torch.arange(8.0)
    large = enlarge((3 * rows - columns)[None, None], scale)[0, 0]
    rows = ((torch.arange(9 * scale) + 0.5) / scale - 0.5)[:, None]
    columns = (torch.arange(8 * scale) + 0.5) / scale - 0.5
    inside = slice(2 * scale, -2 * scale)
    torch.testing.assert_close(
        large[inside, inside], (3 * rows - columns)[inside, inside], atol=1e-4, rtol=0
    )


def test_enlarge_is_the_cubic_of_keys():
    line = torch.zeros(1, 1, 1, 9, dtype=torch.float64)
    line[..., 4] = 1
    half = [0.8671875, 0.2265625, -0.0703125, -0.0234375]  # a = -0.5 at 0.25, 0.75, 1.25, 1.75
    expected = torch.tensor([*reversed(half), *half], dtype=torch.float64)
    torch.testing.assert_close(enlarge(line, 2)[0, 0, 0, 5:13], expected)


def test_enlarge_by_one_is_the_identity(texture):
    image = texture(5, 6)
    assert torch.equal(enlarge(image, 1), image)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlarge_commutes_with_mirroring(texture, scale):
    image = texture(7, 6)
    torch.testing.assert_close(enlarge(image, scale).flip(-1), enlarge(image.flip(-1), scale))


@given(sizes, sizes, st.integers(0, 40), st.integers(0, 40))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_pad_to_reflects_as_often_as_it_takes(h, w, more_rows, more_columns):
    image = np.arange(2 * h * w, dtype=np.float32).reshape(1, 2, h, w)
    expected = np.pad(image, ((0, 0), (0, 0), (0, more_rows), (0, more_columns)), mode="reflect")
    padded = pad_to(torch.from_numpy(image), h + more_rows, w + more_columns)
    np.testing.assert_array_equal(padded.numpy(), expected)


@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 200))
@settings(derandomize=True, deadline=None)
def test_round_up_gives_the_smallest_multiple_that_is_large_enough(value, multiple, minimum):
    result = round_up(value, multiple, minimum)
    assert result % multiple == 0
    assert result >= max(value, minimum) > result - multiple


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_lanczos_has_the_same_grid_as_bicubic_and_keeps_more_detail(scale, texture):
    image = texture(24, 20)
    lanczos, cubic = enlarge(image, scale, "lanczos"), enlarge(image, scale)
    assert lanczos.shape == (1, 3, 24 * scale, 20 * scale)
    assert (lanczos - cubic).abs().mean() < 0.02
    mirrored = enlarge(image.flip(-1), scale, "lanczos").flip(-1)
    torch.testing.assert_close(mirrored, lanczos, atol=1e-4, rtol=0)
    assert lanczos.std() >= cubic.std()


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.05])
def test_noise_level_is_the_standard_deviation_of_noise_on_shades(sigma):
    shade = torch.linspace(0.2, 0.8, 160).expand(1, 1, 120, 160)
    noise = torch.randn(shade.shape, generator=torch.Generator().manual_seed(0))
    assert noise_level(shade + sigma * noise) == pytest.approx(sigma, rel=0.25)


def test_shades_and_straight_edges_are_no_noise():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    plane = (0.01 * x + 0.005 * y + (x > 20))[None, None]
    assert noise_level(plane) < 1e-6


@pytest.mark.parametrize("size", [(1, 9), (2, 2), (3, 3), (17, 4)])
def test_noise_level_of_small_planes_is_finite(size):
    level = noise_level(torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)))
    assert level.isfinite()
    assert level == 0 if min(size) < 3 else level >= 0


def through_jpeg(plane, quality):
    levels = np.rint(255 * plane[0, 0].numpy()).astype(np.uint8)
    data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return torch.from_numpy(decoded / np.float32(255))[None, None]


@pytest.mark.parametrize("seed", range(4))
def test_blocks_show_the_more_the_coarser_the_jpeg(seed):
    plane = torch.from_numpy(procedural_image(192, seed)[:1])[None]
    without = blockiness(plane)
    fine, coarse = (blockiness(through_jpeg(plane, quality)) for quality in (90, 60))
    assert without < 1.1 < coarse
    assert without < fine < coarse


def test_blocks_may_begin_anywhere():
    plane = through_jpeg(torch.from_numpy(procedural_image(192, 0)[:1])[None], 60)
    found = [blockiness(plane[..., top : top + 160, top : top + 168]) for top in (0, 3, 7)]
    assert min(found) > 1.1


@pytest.mark.parametrize("size", [(1, 1), (31, 200), (32, 32)])
def test_small_or_constant_planes_have_no_blocks(size):
    assert blockiness(torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))) < 1.15
    assert blockiness(torch.full((1, 1, *size), 0.5)) <= 1
