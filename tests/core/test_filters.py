"""OpenCV's forms against the plain ones, which run on any device."""

import numpy as np
import pytest
import torch

from dfp_batch.core import filters
from dfp_batch.core.filters import as_array, as_image, plain_filters

SIZES = [(16, 16), (17, 30), (301, 40)]
every_size = pytest.mark.parametrize("size", SIZES)

FILTERS = {
    "gaussian": lambda image: filters.gaussian_blur(image, 4.0),
    "narrow gaussian": lambda image: filters.gaussian_blur(image, 1.1),
    "gaussian of a size": lambda image: filters.gaussian_blur(image, 1.5, 9, "replicate"),
    "box": lambda image: filters.box_blur(image, 5, "replicate"),
    "wide box": lambda image: filters.box_blur(image, 81, "reflect"),
    "modified laplacian": filters.modified_laplacian,
    "largest": lambda image: filters.largest_nearby(image, 33),
    "least": lambda image: filters.least_nearby(image, 33),
    "pyramid down": filters.pyramid_down,
    "pyramid up": lambda image: filters.pyramid_up(image, [2 * s - s % 2 for s in image.shape[1:]]),
    "pyramid up, even": lambda image: filters.pyramid_up(image, [2 * s for s in image.shape[1:]]),
    "area": lambda image: filters.resize_by_area(image, [(s + 1) // 2 for s in image.shape[1:]]),
    "linear": lambda image: filters.resize_linearly(image, [2 * s - 1 for s in image.shape[1:]]),
    "strength": filters.strength,
    "median": lambda image: filters.median(image[0]),
    "copy": lambda image: filters.copy_where_(image.clone(), image + 1, image[:1] > 0.5),
    "product": lambda image: filters.add_product_(image.clone(), image + 1, image[:1] - 0.5),
}


def noise(channels, h, w):
    return torch.rand(channels, h, w, generator=torch.Generator().manual_seed(h))


def as_opencv_likes(image):
    """The same image with the channels last in memory."""
    return as_image(as_array(image).copy())


@every_size
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FILTERS)
def test_both_forms_agree(name, channels, size):
    image = noise(channels, *size)
    found = FILTERS[name](image.clone())
    with plain_filters():
        plain = FILTERS[name](image.clone())
    assert found.dtype == plain.dtype == torch.float32
    torch.testing.assert_close(found, plain, atol=3e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@every_size
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FILTERS)
def test_a_gpu_agrees(name, channels, size):
    image = noise(channels, *size)
    found = FILTERS[name](image.cuda()).cpu()
    torch.testing.assert_close(found, FILTERS[name](image), atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", FILTERS)
def test_the_layout_in_memory_changes_nothing(name, plain):
    image = noise(3, 17, 30)
    with plain_filters() if plain else torch.no_grad():
        found = FILTERS[name](image.clone())
        again = FILTERS[name](as_opencv_likes(image))
    assert torch.equal(found, again)


@pytest.mark.parametrize("name", sorted(set(FILTERS) - {"copy", "product"}))
def test_the_image_is_left_alone(name):
    image = noise(3, 20, 24)
    before = image.clone()
    FILTERS[name](image)
    assert torch.equal(image, before)


def test_the_product_is_added_in_place():
    total = as_opencv_likes(noise(3, 20, 24))
    expected = total + 0.5 * noise(3, 20, 24)
    half = torch.full((1, 20, 24), 0.5)
    assert filters.add_product_(total, noise(3, 20, 24), half).data_ptr() == total.data_ptr()
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_array_and_an_image_share_their_memory(channels):
    array = np.arange(4 * 5 * channels, dtype=np.float32).reshape(4, 5, channels)
    image = as_image(array)
    assert image.shape == (channels, 4, 5)
    assert np.shares_memory(as_array(image), array)
    np.testing.assert_array_equal(as_array(image), array)


def test_plain_filters_end_with_their_context():
    image = noise(1, 16, 16)
    assert filters.on_host(image)
    with plain_filters():
        assert not filters.on_host(image)
    assert filters.on_host(image)
