import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.core.degradation import (
    SCALES,
    Degradation,
    Kernel,
    weights_of,
)
from dfp_batch.core.image import enlarge
from dfp_batch.degradation.kernels import AnisotropicGaussian, Bicubic, Gaussian, Lanczos2
from dfp_batch.errors import ConfigError

scales = st.sampled_from(SCALES)
sizes = st.integers(1, 9)
sigmas = st.floats(0.05, 3)
kernels = st.one_of(
    st.sampled_from([Lanczos2(), Bicubic()]),
    st.builds(Gaussian, sigmas),
    st.builds(AnisotropicGaussian, sigmas, sigmas, st.floats(-360, 360)),
)
KERNELS = [Lanczos2(), Bicubic(), Gaussian(0.8), Gaussian(1.8), AnisotropicGaussian(1.2, 0.6, 30)]


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def square(kernel, scale):
    """Weights (k, k) of any kernel."""
    weights = weights_of(kernel, scale)
    return torch.outer(weights, weights) if weights.ndim == 1 else weights


@given(scales, kernels, sizes, sizes, st.integers(1, 3), st.integers(0, 2**31))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_adjoint_is_exact(scale, kernel, h, w, channels, seed):
    degrade = Degradation(scale, kernel)
    x = random(2, channels, scale * h, scale * w, seed=seed)
    y = random(2, channels, h, w, seed=seed + 1)
    back = degrade.adjoint(y)
    assert back.shape == x.shape
    assert (degrade(x) * y).sum().item() == pytest.approx((x * back).sum().item(), abs=1e-10)


@given(scales, kernels, sizes, sizes, st.floats(0, 1))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_keeps_constants(scale, kernel, h, w, value):
    small = Degradation(scale, kernel)(torch.full((1, 3, scale * h, scale * w), value))
    assert small.shape == (1, 3, h, w)
    torch.testing.assert_close(small, torch.full_like(small, value))


@given(scales, kernels)
@settings(derandomize=True, deadline=None, max_examples=100)
def test_weights_are_symmetric_and_sum_to_one(scale, kernel):
    weights = square(kernel, scale)
    torch.testing.assert_close(weights, weights.flip(0, 1), atol=1e-15, rtol=0)
    assert weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert len(weights) >= scale
    assert len(weights) % 2 == scale % 2


@pytest.mark.parametrize("kernel", [Lanczos2(), Bicubic()])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_windows_reach_two_low_resolution_pixels(scale, kernel):
    assert len(kernel.taps(scale)) == {2: 8, 3: 11, 4: 16}[scale]


def test_lanczos2_of_scale_2_by_hand():
    def lanczos2(t):
        return math.sin(math.pi * t) * math.sin(math.pi * t / 2) / (math.pi**2 * t**2 / 2)

    half = [lanczos2(t) for t in (0.25, 0.75, 1.25, 1.75)]
    expected = [value / (2 * sum(half)) for value in half]
    assert Lanczos2().taps(2)[4:].tolist() == pytest.approx(expected, abs=1e-12)


def test_bicubic_of_scale_2_is_that_of_matlab():
    # imresize(x, 0.5): weights in 1/256 of its own documentation's cubic, a = -0.5
    expected = [-0.0117187, -0.0351562, 0.1132812, 0.4335938]
    assert Bicubic().taps(2)[:4].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_the_antialiased_one_of_torch(scale):
    image = random(1, 2, 9 * scale, 8 * scale)
    theirs = torch.nn.functional.interpolate(
        image, scale_factor=1 / scale, mode="bicubic", antialias=True, align_corners=False
    )
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(Degradation(scale, Bicubic())(image)[inside], theirs[inside])


def test_gaussian_by_hand():
    taps = Gaussian(0.5).taps(2)
    weights = [math.exp(-((t / 0.5) ** 2) / 2) for t in (-1.5, -0.5, 0.5, 1.5)]
    assert taps.tolist() == pytest.approx([weight / sum(weights) for weight in weights])
    assert Gaussian(1e-3).taps(2).tolist() == [0.5, 0.5]
    assert Gaussian(1e-3).taps(3).tolist() == [0, 1, 0]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("sigma_px", [0.8, 1.2, 3.3])
def test_gaussian_has_its_sigma_and_reaches_four_of_it(scale, sigma_px):
    taps = Gaussian(sigma_px).taps(scale)
    t = torch.arange(len(taps)) - (len(taps) - 1) / 2
    assert (taps * t**2).sum().sqrt().item() == pytest.approx(sigma_px, rel=2e-3)
    assert len(taps) / 2 >= 4 * sigma_px
    assert len(taps) / 2 < max(4 * sigma_px, scale / 2) + 1


@given(scales, sigmas, st.floats(-360, 360))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_equal_sigmas_are_a_gaussian(scale, sigma_px, angle_deg):
    round_one = AnisotropicGaussian(sigma_px, sigma_px, angle_deg)
    torch.testing.assert_close(square(round_one, scale), square(Gaussian(sigma_px), scale))
    image = random(1, 2, 5 * scale, 6 * scale)
    torch.testing.assert_close(
        Degradation(scale, round_one)(image), Degradation(scale, Gaussian(sigma_px))(image)
    )


@given(scales, sigmas, sigmas, st.floats(-180, 180))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_turned_by_90_degrees_is_turned_back_across(scale, along, across, angle_deg):
    turned = square(AnisotropicGaussian(along, across, angle_deg + 90), scale)
    torch.testing.assert_close(turned, square(AnisotropicGaussian(across, along, angle_deg), scale))


@given(scales, sigmas, sigmas)
@settings(derandomize=True, deadline=None, max_examples=50)
def test_turned_by_90_degrees_is_transposed(scale, along, across):
    lying, standing = (square(AnisotropicGaussian(along, across, a), scale) for a in (0, 90))
    torch.testing.assert_close(standing, lying.T)


def test_angle_goes_from_x_to_y():
    weights = square(AnisotropicGaussian(2.0, 0.5, 30), 2)
    y, x = torch.meshgrid(*[torch.arange(len(weights)) - (len(weights) - 1) / 2] * 2, indexing="ij")
    spread = 0.5 * torch.atan2(2 * (weights * x * y).sum(), (weights * (x**2 - y**2)).sum())
    assert math.degrees(spread) == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_weights_of_a_pixel_are_those_of_the_kernel(scale, kernel):
    pixel = torch.zeros(1, 1, 13, 13, dtype=torch.float64)
    pixel[..., 6, 7] = 1
    weights = Degradation(scale, kernel).adjoint(pixel)[0, 0]
    expected = square(kernel, scale)
    margin = (len(expected) - scale) // 2
    top, left = 6 * scale - margin, 7 * scale - margin
    window = weights[top : top + len(expected), left : left + len(expected)]
    torch.testing.assert_close(window, expected)
    assert weights.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("kernel", KERNELS)
def test_scale_1_is_the_identity(kernel):
    x = random(2, 3, 5, 7)
    assert torch.equal(Degradation(1, kernel)(x), x)
    assert torch.equal(Degradation(1, kernel).adjoint(x), x)
    assert torch.equal(kernel.code(1), torch.ones(8))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", SCALES)
def test_keeps_a_ramp_on_the_grid_of_pixel_centres(scale, kernel):
    rows = torch.arange(14.0 * scale, dtype=torch.float64)[:, None]
    columns = torch.arange(13.0 * scale, dtype=torch.float64)
    small = Degradation(scale, kernel)((rows - 2 * columns)[None, None])[0, 0]
    rows = (torch.arange(14)[:, None] + 0.5) * scale - 0.5
    columns = (torch.arange(13) + 0.5) * scale - 0.5
    inside = slice(4, -4)
    expected = (rows - 2 * columns).double()[inside, inside]
    torch.testing.assert_close(small[inside, inside], expected)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", SCALES)
def test_borders_are_replicated(scale, kernel):
    image = random(1, 1, 6 * scale, 6 * scale)
    framed = torch.nn.functional.pad(image, (4 * scale,) * 4, mode="replicate")
    degrade = Degradation(scale, kernel)
    torch.testing.assert_close(degrade(image), degrade(framed)[..., 4:-4, 4:-4])


@pytest.mark.parametrize("scale", SCALES)
def test_undoes_enlarging_where_the_image_is_smooth(scale, texture, blur):
    smooth = blur(texture(32, 33), 4.0)
    change = Degradation(scale, Lanczos2())(enlarge(smooth, scale)) - smooth
    assert change.abs().max() < 0.02 * (smooth.max() - smooth.min())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_removes_what_the_low_resolution_cannot_hold(scale):
    stripes = (torch.arange(16 * scale) % 2).double().expand(1, 1, 16 * scale, -1)
    small = Degradation(scale, Lanczos2())(stripes)[..., 2:-2]
    torch.testing.assert_close(small, torch.full_like(small, 0.5), atol=0.02, rtol=0)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_code_is_the_fourier_sum_of_the_weights(scale, kernel):
    weights = square(kernel, scale).tolist()
    middle = (len(weights) - 1) / 2
    expected = [
        sum(
            weight * math.cos(2 * math.pi * (fx * (column - middle) + fy * (row - middle)))
            for row, line in enumerate(weights)
            for column, weight in enumerate(line)
        )
        for frequency in (1 / (4 * scale), 1 / (2 * scale))
        for fx, fy in (
            (frequency * math.cos(math.radians(angle)), frequency * math.sin(math.radians(angle)))
            for angle in (0, 45, 90, 135)
        )
    ]
    assert kernel.code(scale).dtype == torch.float32
    assert kernel.code(scale).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_response_is_the_gain_of_a_plane_wave(kernel):
    scale, fx, fy = 2, 0.07, -0.11
    y, x = torch.meshgrid(torch.arange(64.0).double(), torch.arange(60.0).double(), indexing="ij")
    small = Degradation(scale, kernel)((2 * torch.pi * (fx * x + fy * y)).cos()[None, None])[0, 0]
    y, x = (plane[::2, ::2] + 0.5 for plane in (y, x))  # the centres of the pixels of the result
    gain = kernel.response(scale, torch.tensor(fx), torch.tensor(fy))
    wave = gain * (2 * torch.pi * (fx * x + fy * y)).cos()
    torch.testing.assert_close(small[6:-6, 6:-6], wave[6:-6, 6:-6])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_response_of_a_gaussian_is_a_gaussian(scale):
    fx, fy = torch.tensor([0.0, 0.05, 0.1]), torch.tensor([0.0, 0.1, 0.0])
    expected = torch.exp(-2 * (math.pi * 1.5) ** 2 * (fx**2 + fy**2)).double()
    torch.testing.assert_close(
        Gaussian(1.5).response(scale, fx, fy), expected, atol=1e-3, rtol=0, check_dtype=False
    )


@pytest.mark.parametrize(
    ("kernel", "text"),
    [
        (Lanczos2(), "lanczos2"),
        (Bicubic(), "bicubic"),
        (Gaussian(1.2), "sigma=1.2"),
        (Gaussian(2.0), "sigma=2"),
        (AnisotropicGaussian(1.2, 0.8, 30.0), "sigma=1.2x0.8@30"),
    ],
)
def test_text_is_that_of_the_command_line(kernel, text):
    assert str(kernel) == text


@pytest.mark.parametrize("scale", [0, 5, -1])
def test_other_scales_are_refused(scale):
    with pytest.raises(ConfigError, match=f"^scale must be 1, 2, 3 or 4, got {scale}$"):
        Degradation(scale, Lanczos2())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(0), "kernel.sigma_px must be > 0 and <= 16.0, got 0"),
        (lambda: Gaussian(-1.5), "kernel.sigma_px must be > 0 and <= 16.0, got -1.5"),
        (lambda: Gaussian(math.nan), "kernel.sigma_px must be > 0 and <= 16.0, got nan"),
        (
            lambda: AnisotropicGaussian(1, 17),
            "kernel.sigma_across_px must be > 0 and <= 16.0, got 17",
        ),
        (
            lambda: AnisotropicGaussian(1, 1, math.inf),
            "kernel.angle_deg must be a finite number, got inf",
        ),
    ],
)
def test_fields_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError) as raised:
        make()
    assert str(raised.value) == message


@dataclass(frozen=True)
class Weights(Kernel):
    """Somebody's own kernel."""

    values: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)

    def taps(self, scale):
        return torch.tensor(self.values, dtype=torch.float64)


def test_own_kernels_have_response_and_code():
    box = Weights((0.5, 0.5))
    image = random(1, 1, 6, 8)
    torch.testing.assert_close(Degradation(2, box)(image), torch.nn.functional.avg_pool2d(image, 2))
    expected = [math.cos(math.pi / 4 / 2), math.cos(math.pi / 2 / 2)]
    assert box.code(2)[[0, 4]].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((1.0,), r"must be \(k,\) or \(k, k\) with k = 2, 4, \.\.\. at scale 2, got \(1,\)"),
        ((0.2, 0.6, 0.2), r"with k = 2, 4, \.\.\. at scale 2, got \(3,\)"),
        ((0.4, 0.6), "must be symmetric with sum 1"),
        ((0.4, 0.4), "must be symmetric with sum 1"),
    ],
)
def test_own_kernels_are_checked(values, message):
    with pytest.raises(ConfigError, match=message):
        Degradation(2, Weights(values))
