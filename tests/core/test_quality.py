"""What an image shows of its noise."""

import numpy as np
import pytest
import torch

from dfp_batch.core.quality import noise_of_light
from dfp_batch.synthetic import procedural_image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("dark", "slope"), [(4e-4, 0.0), (0.0, 8e-4), (1e-4, 4e-4)])
def test_the_noise_is_found_by_its_light(channels, dark, slope):
    image = 0.1 + 0.8 * procedural_image(256, 3)[:channels]
    grain = np.random.default_rng(0).standard_normal(image.shape)
    noisy = torch.from_numpy(image + np.sqrt(dark + slope * image) * grain).float()
    found = noise_of_light([noisy])
    for light in (0.3, 0.7):
        assert found.at(light) == pytest.approx(np.sqrt(dark + slope * light), rel=0.15)
    torch.testing.assert_close(
        found.variance(torch.tensor([0.3, 0.7])).sqrt(),
        torch.tensor([found.at(0.3), found.at(0.7)]),
    )


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 40), (1, 9, 9)])
def test_small_and_flat_images_have_none(shape):
    assert noise_of_light([torch.full(shape, 0.5)]).at(0.5) == 0
