import cv2
import numpy as np
import pytest
import torch

from dfp_batch.errors import ConfigError
from dfp_batch.method.merge import (
    Blend,
    LaplacianPyramid,
    SeamPyramid,
    collapse,
    expand,
    laplacian_pyramid,
    reduce,
    seam_distance_px,
)

MERGES = [
    pytest.param(Blend(), id="blend"),
    pytest.param(LaplacianPyramid(), id="laplacian-pyramid"),
    pytest.param(LaplacianPyramid(window_px=5), id="laplacian-pyramid-5"),
    pytest.param(SeamPyramid(), id="seam-pyramid"),
]
every_merge = pytest.mark.parametrize("merge", MERGES)
sizes = pytest.mark.parametrize("size", [(16, 16), (17, 40), (67, 50)])


def even(count, h, w):
    return torch.full((count, 1, h, w), 1 / count)


# The contract of every merge.


@every_merge
@sizes
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_merges_to_one_image_in_range(merge, count, channels, size, texture):
    sources = torch.cat([texture(*size, channels, seed=seed) for seed in range(count)])
    untouched = sources.clone()
    merged = merge(sources, even(count, *size))
    assert merged.shape == (1, channels, *size)
    assert ((merged >= 0) & (merged <= 1)).all()
    assert torch.equal(sources, untouched)


@every_merge
def test_equal_sources_are_kept(merge, texture):
    image = texture(40, 33)
    merged = merge(image.expand(3, -1, -1, -1), even(3, 40, 33))
    torch.testing.assert_close(merged, image)


@every_merge
def test_order_of_the_sources_does_not_matter(merge, scene):
    flipped = merge(scene.sources.flip(0), scene.decision.flip(0))
    torch.testing.assert_close(flipped, merge(scene.sources, scene.decision))


# Blend.


def test_blend_is_the_weighted_sum():
    sources = torch.tensor([0.2, 0.8]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    decision = torch.tensor([0.25, 0.75]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    torch.testing.assert_close(Blend()(sources, decision), torch.full((1, 3, 4, 4), 0.65))


# Laplacian pyramid.


@sizes
def test_reduce_and_expand_are_those_of_opencv(size, texture):
    plane = texture(*size, 1)
    smaller = reduce(plane)
    np.testing.assert_allclose(smaller[0, 0], cv2.pyrDown(plane[0, 0].numpy()), atol=1e-6)
    larger = cv2.pyrUp(smaller[0, 0].numpy(), dstsize=size[::-1])
    np.testing.assert_allclose(expand(smaller, plane.shape[-2:])[0, 0], larger, atol=1e-6)


@sizes
def test_collapse_is_the_inverse_of_the_pyramid(size, texture):
    images = torch.cat([texture(*size, seed=seed) for seed in range(2)])
    bands = laplacian_pyramid(images)
    assert all(min(band.shape[-2:]) >= 8 for band in bands)
    torch.testing.assert_close(collapse(bands), images)


@pytest.mark.parametrize("window_px", [1, 5])
def test_pyramid_takes_the_sharp_source(window_px, scene, psnr_db):
    merged = LaplacianPyramid(window_px)(scene.sources, even(2, 64, 64))
    average = scene.sources.mean(0, keepdim=True)
    assert psnr_db(merged, scene.truth) > psnr_db(average, scene.truth) + 6


def test_pyramid_takes_all_channels_from_one_source(texture):
    """Else edges get coloured fringes."""
    red, green = texture(32, 32), texture(32, 32, seed=1)
    sources = torch.cat([red, green])
    band = laplacian_pyramid(sources)[0]
    merged = LaplacianPyramid()._strongest(band)
    from_first = (merged == band[:1]).all(1)
    from_second = (merged == band[1:]).all(1)
    assert (from_first | from_second).all()
    assert from_first.any()
    assert from_second.any()


@pytest.mark.parametrize("window_px", [0, 2, -1])
def test_window_out_of_range_is_refused(window_px):
    message = f"merge.window_px must be odd and positive, got {window_px}"
    with pytest.raises(ConfigError, match=f"^{message}$"):
        LaplacianPyramid(window_px)


# Seam pyramid.


def test_distance_to_the_seam_is_counted_from_the_pixels_that_touch_it():
    labels = np.zeros((4, 8), np.int64)
    labels[:, 5:] = 1
    expected = [4, 3, 2, 1, 0, 0, 1, 2]
    np.testing.assert_allclose(seam_distance_px(labels), np.tile(expected, (4, 1)))
    assert np.isinf(seam_distance_px(np.zeros((4, 8), np.int64))).all()


def test_seam_pyramid_is_the_selection_far_from_the_seam_and_the_pyramid_on_it(scene):
    merge = SeamPyramid(band_px=6, feather_px=4, window_px=3)
    merged = merge(scene.sources, scene.decision)
    selected = Blend()(scene.sources, scene.decision)
    pyramid = LaplacianPyramid(3)(scene.sources, scene.decision)
    torch.testing.assert_close(merged[..., :20], selected[..., :20])
    torch.testing.assert_close(merged[..., 44:], selected[..., 44:])
    torch.testing.assert_close(merged[..., 29:35], pyramid[..., 29:35])


def test_seam_pyramid_without_a_seam_is_the_one_source(texture):
    sources = torch.cat([texture(24, 24), texture(24, 24, seed=1)])
    decision = torch.zeros(2, 1, 24, 24)
    decision[1] = 1
    torch.testing.assert_close(SeamPyramid()(sources, decision), sources[1:])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"band_px": 0}, "merge.band_px must be > 0, got 0"),
        ({"feather_px": -1}, "merge.feather_px must be > 0, got -1"),
        ({"window_px": 2}, "merge.window_px must be odd and positive, got 2"),
    ],
)
def test_seam_settings_out_of_range_are_refused(fields, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        SeamPyramid(**fields)
