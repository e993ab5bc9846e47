import numpy as np
import pytest

from dfp_batch.training.structures import STRUCTURES


@pytest.mark.parametrize("make", STRUCTURES)
@pytest.mark.parametrize("size", [(24, 24), (24, 90), (60, 33)])
def test_every_structure_fills_any_box_that_has_room_for_it(make, size):
    planes = [make(*size, np.random.default_rng(seed)) for seed in range(6)]
    assert all(plane.shape == size and plane.dtype == np.float32 for plane in planes)
    assert all(np.isfinite(plane).all() and np.abs(plane).max() < 6 for plane in planes)
    assert max(plane.std() for plane in planes) > 0.1
    np.testing.assert_array_equal(make(*size, np.random.default_rng(0)), planes[0])
    assert not np.array_equal(planes[0], planes[1])
