import numpy as np
import pytest

from dfp_batch.training.textures import TEXTURES, Palette, surface


@pytest.mark.parametrize("texture", TEXTURES)
@pytest.mark.parametrize("size", [(2, 2), (3, 40), (60, 33)])
def test_every_texture_fills_any_box(texture, size):
    palette = Palette.drawn(96, np.random.default_rng(0))
    planes = [texture(palette, *size) for _ in range(4)]
    assert all(plane.shape == size and plane.dtype == np.float32 for plane in planes)
    assert all(np.isfinite(plane).all() and np.abs(plane).max() < 12 for plane in planes)
    assert max(plane.std() for plane in planes) > 0


def test_surfaces_of_a_palette_differ_and_are_given_by_its_seed():
    def surfaces(seed):
        palette = Palette.drawn(48, np.random.default_rng(seed))
        return np.stack([surface(palette, 40, 48) for _ in range(6)])

    np.testing.assert_array_equal(surfaces(1), surfaces(1))
    assert (surfaces(1) != surfaces(2)).mean() > 0.9
    assert len(np.unique(surfaces(1).mean((1, 2)))) == 6
