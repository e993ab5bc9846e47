import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.errors import ConfigError
from dfp_batch.method.degrade import SCALES, Lanczos2, lanczos2_taps
from dfp_batch.method.image import enlarge

scales = st.sampled_from(SCALES)
sizes = st.integers(1, 9)


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(scales, sizes, sizes, st.integers(1, 3), st.integers(0, 2**31))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_adjoint_is_exact(scale, h, w, channels, seed):
    degrade = Lanczos2(scale)
    x = random(2, channels, scale * h, scale * w, seed=seed)
    y = random(2, channels, h, w, seed=seed + 1)
    back = degrade.adjoint(y)
    assert back.shape == x.shape
    assert (degrade(x) * y).sum().item() == pytest.approx((x * back).sum().item(), abs=1e-10)


@given(scales, sizes, sizes, st.floats(0, 1))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_keeps_constants(scale, h, w, value):
    small = Lanczos2(scale)(torch.full((1, 3, scale * h, scale * w), value))
    assert small.shape == (1, 3, h, w)
    torch.testing.assert_close(small, torch.full_like(small, value))


@pytest.mark.parametrize("scale", SCALES)
def test_taps_are_symmetric_and_sum_to_one(scale):
    taps = lanczos2_taps(scale)
    assert taps == pytest.approx(taps[::-1], abs=1e-15)
    assert sum(taps) == pytest.approx(1, abs=1e-12)
    assert len(taps) == {1: 3, 2: 8, 3: 11, 4: 16}[scale]


def test_taps_of_scale_2_by_hand():
    def lanczos2(t):
        return math.sin(math.pi * t) * math.sin(math.pi * t / 2) / (math.pi**2 * t**2 / 2)

    half = [lanczos2(t) for t in (0.25, 0.75, 1.25, 1.75)]
    expected = [value / (2 * sum(half)) for value in half]
    assert lanczos2_taps(2)[4:] == pytest.approx(expected, abs=1e-12)
    assert lanczos2_taps(1) == pytest.approx((0, 1, 0), abs=1e-15)


@pytest.mark.parametrize("scale", SCALES)
def test_weights_of_a_pixel_are_the_outer_product_of_the_taps(scale):
    pixel = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    pixel[..., 4, 5] = 1
    weights = Lanczos2(scale).adjoint(pixel)[0, 0]
    taps = torch.tensor(lanczos2_taps(scale), dtype=torch.float64)
    margin = (len(taps) - scale) // 2
    top, left = 4 * scale - margin, 5 * scale - margin
    window = weights[top : top + len(taps), left : left + len(taps)]
    torch.testing.assert_close(window, torch.outer(taps, taps))
    assert weights.sum().item() == pytest.approx(1)


def test_scale_1_is_the_identity():
    x = random(2, 3, 5, 7)
    assert torch.equal(Lanczos2(1)(x), x)
    assert torch.equal(Lanczos2(1).adjoint(x), x)


@pytest.mark.parametrize("scale", SCALES)
def test_keeps_a_ramp_on_the_grid_of_pixel_centres(scale):
    rows = torch.arange(9.0 * scale, dtype=torch.float64)[:, None]
    columns = torch.arange(8.0 * scale, dtype=torch.float64)
    small = Lanczos2(scale)((rows - 2 * columns)[None, None])[0, 0]
    rows = (torch.arange(9)[:, None] + 0.5) * scale - 0.5
    columns = (torch.arange(8) + 0.5) * scale - 0.5
    inside = slice(2, -2)
    expected = (rows - 2 * columns).double()[inside, inside]
    torch.testing.assert_close(small[inside, inside], expected)


@pytest.mark.parametrize("scale", SCALES)
def test_borders_are_replicated(scale):
    image = random(1, 1, 6 * scale, 6 * scale)
    framed = torch.nn.functional.pad(image, (2 * scale,) * 4, mode="replicate")
    torch.testing.assert_close(Lanczos2(scale)(image), Lanczos2(scale)(framed)[..., 2:-2, 2:-2])


@pytest.mark.parametrize("scale", SCALES)
def test_undoes_enlarging_where_the_image_is_smooth(scale, texture, blur):
    smooth = blur(texture(32, 33), 4.0)
    change = Lanczos2(scale)(enlarge(smooth, scale)) - smooth
    assert change.abs().max() < 0.02 * (smooth.max() - smooth.min())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_removes_what_the_low_resolution_cannot_hold(scale):
    stripes = (torch.arange(16 * scale) % 2).double().expand(1, 1, 16 * scale, -1)
    small = Lanczos2(scale)(stripes)[..., 2:-2]
    torch.testing.assert_close(small, torch.full_like(small, 0.5), atol=0.02, rtol=0)


@pytest.mark.parametrize("scale", [0, 5, -1])
def test_other_scales_are_refused(scale):
    with pytest.raises(ConfigError, match=f"^scale must be 1, 2, 3 or 4, got {scale}$"):
        Lanczos2(scale)
