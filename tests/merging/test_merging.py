import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from dfp_batch.core.filters import as_array, as_image
from dfp_batch.core.pyramid import (
    StrongestDetail,
    collapse,
    laplacian_pyramid,
    pyramid_bands,
)
from dfp_batch.core.sources import InMemory
from dfp_batch.errors import ConfigError
from dfp_batch.merging.blend import Blend
from dfp_batch.merging.laplacian_pyramid import LaplacianPyramid
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.merging.seams import distance_px, seam_steps
from dfp_batch.merging.unmerged import Unmerged
from method_parts import CERTAIN, compute

sizes = pytest.mark.parametrize("size", [(16, 16), (17, 40), (67, 50)])


def even(count, h, w):
    return torch.full((count, 1, h, w), 1 / count)


# Blend.


def test_blend_is_the_weighted_sum():
    sources = torch.tensor([0.2, 0.8]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    decision = torch.tensor([0.25, 0.75]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    torch.testing.assert_close(
        Blend()(InMemory(sources), decision, CERTAIN, compute()), torch.full((1, 3, 4, 4), 0.65)
    )


def test_unmerged_keeps_every_source(texture):
    sources = torch.cat([texture(16, 16, seed=seed) for seed in range(2)])
    assert torch.equal(Unmerged()(InMemory(sources), even(2, 16, 16), CERTAIN, compute()), sources)


# Laplacian pyramid.


@sizes
@pytest.mark.parametrize("channels", [1, 3])
def test_collapse_is_the_inverse_of_the_pyramid(channels, size, texture):
    image = texture(*size, channels)[0]
    bands = laplacian_pyramid(image)
    assert all(min(band.shape[1:]) >= 8 for band in bands)
    assert all(len(band) == channels for band in bands)
    torch.testing.assert_close(collapse(bands), image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("levels", [0, 1, 2, 9])
def test_a_pyramid_has_so_many_bands_at_most(levels, texture):
    image = texture(67, 70)[0]
    bands = list(pyramid_bands(image.clone(), levels))
    assert len(bands) == 1 + min(levels, 3)
    for band, other in zip(bands[:-1], laplacian_pyramid(image), strict=False):
        assert torch.equal(band, other)
    strongest = StrongestDetail(1, levels)
    strongest.add(image.clone(), torch.ones(1, 67, 70))
    assert len(strongest.bands) == 1 + min(levels, 3)
    torch.testing.assert_close(strongest.image(), image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rows", [511, 512, 513, 771, 1030])
def test_bands_that_are_made_in_blocks_are_those_of_the_whole(rows):
    image = np.random.default_rng(rows).random((rows, 40, 3), np.float32)
    finest = as_array(laplacian_pyramid(as_image(image))[0])
    whole = image - cv2.pyrUp(cv2.pyrDown(image), dstsize=(40, rows))
    np.testing.assert_allclose(finest, whole, atol=1e-6)


def test_coarsest_band_is_weighted_by_the_decision(texture):
    """Else a blurred frame tints what another one shows sharp."""
    image = texture(64, 64)
    brighter = image + 0.02
    decision = torch.zeros(2, 1, 64, 64)
    decision[0] = 1
    merged = LaplacianPyramid()(
        InMemory(torch.cat([image, brighter])), decision, CERTAIN, compute()
    )
    torch.testing.assert_close(merged, image, atol=1e-5, rtol=0)
    mean = LaplacianPyramid()(
        InMemory(torch.cat([image, brighter])), even(2, 64, 64), CERTAIN, compute()
    )
    torch.testing.assert_close(mean, image + 0.01, atol=1e-5, rtol=0)


@pytest.mark.parametrize("window_px", [1, 5])
def test_pyramid_takes_the_sharp_source(window_px, scene, psnr_db):
    merged = LaplacianPyramid(window_px)(
        InMemory(scene.sources), even(2, 64, 64), CERTAIN, compute()
    )
    average = scene.sources.mean(0, keepdim=True)
    assert psnr_db(merged, scene.truth) > psnr_db(average, scene.truth) + 6


def test_pyramid_takes_all_channels_from_one_source(texture):
    """Else edges get coloured fringes."""
    images = [texture(32, 32, seed=seed)[0] for seed in range(2)]
    strongest = StrongestDetail(1)
    for image in images:
        strongest.add(image.clone(), torch.full((1, 32, 32), 0.5))
    finest = strongest.bands[0]
    taken = [(finest == laplacian_pyramid(image)[0]).all(0) for image in images]
    assert (taken[0] | taken[1]).all()
    assert taken[0].any()
    assert taken[1].any()


@pytest.mark.parametrize("window_px", [0, 2, -1])
def test_window_out_of_range_is_refused(window_px):
    message = f"merge.window_px must be >= 1 and odd, got {window_px}"
    with pytest.raises(ConfigError, match=f"^{message}$"):
        LaplacianPyramid(window_px)


# Seam pyramid.


def test_steps_of_a_seam_are_the_labels_between_its_two_sides():
    labels = np.zeros((4, 8), np.int64)
    labels[:, 5:] = 3
    np.testing.assert_array_equal(seam_steps(labels), np.tile([0, 0, 0, 0, 3, 3, 0, 0], (4, 1)))
    assert not seam_steps(np.full((4, 8), 2)).any()


def test_distance_to_the_seam_is_counted_from_the_pixels_that_touch_it():
    seam = np.zeros((4, 8), bool)
    seam[:, 4:6] = True
    np.testing.assert_allclose(distance_px(seam), np.tile([4, 3, 2, 1, 0, 0, 1, 2], (4, 1)))


def test_distance_in_a_large_image_is_nearly_the_same():
    seam = np.zeros((1025, 1030), bool)
    seam[500:502, 100:700] = True
    exact = ndimage.distance_transform_edt(~seam)
    assert abs(distance_px(seam) - exact).max() < 4


@pytest.mark.parametrize("steps", [1, 3])
def test_the_band_is_wider_the_more_steps_of_focus_meet(steps):
    labels = np.zeros((16, 200), np.int64)
    labels[:, 100:] = steps
    share = SeamPyramid(band_px=10).share(labels)
    assert (share > 0.5).sum() == 16 * 2 * 10 * steps
    free = SeamPyramid(band_px=10, free_steps=1).share(labels)
    assert (free > 0.5).sum() == 16 * 2 * 10 * (steps - 1)


def test_seam_pyramid_is_the_selection_far_from_the_seam_and_the_pyramid_on_it(scene):
    merge = SeamPyramid(band_px=6, feather_px=4, window_px=3)
    merged = merge(InMemory(scene.sources), scene.decision, CERTAIN, compute())
    selected = Blend()(InMemory(scene.sources), scene.decision, CERTAIN, compute())
    pyramid = LaplacianPyramid(3)(InMemory(scene.sources), scene.decision, CERTAIN, compute())
    torch.testing.assert_close(merged[..., :20], selected[..., :20])
    torch.testing.assert_close(merged[..., 44:], selected[..., 44:])
    torch.testing.assert_close(merged[..., 29:35], pyramid[..., 29:35])


def test_seam_pyramid_without_a_seam_is_the_one_source(texture):
    sources = torch.cat([texture(24, 24), texture(24, 24, seed=1)])
    decision = torch.zeros(2, 1, 24, 24)
    decision[1] = 1
    torch.testing.assert_close(
        SeamPyramid()(InMemory(sources), decision, CERTAIN, compute()), sources[1:]
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"band_px": 0}, "merge.band_px must be > 0, got 0"),
        ({"feather_px": -1}, "merge.feather_px must be > 0, got -1"),
        ({"free_steps": -1}, "merge.free_steps must be >= 0, got -1"),
        ({"window_px": 2}, "merge.window_px must be >= 1 and odd, got 2"),
    ],
)
def test_seam_settings_out_of_range_are_refused(fields, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        SeamPyramid(**fields)
