import math

import numpy as np
import pytest
import torch

from dfp_batch.core.degradation import Degradation
from dfp_batch.degradation.blur_features import features
from dfp_batch.degradation.kernel_estimation import (
    EstimatedKernel,
    KernelEstimate,
    combine,
    estimate_kernel,
    known_kernel,
)
from dfp_batch.degradation.kernels import Bicubic, Gaussian, Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.networks import weights
from dfp_batch.networks.blur_network import BlurNetwork
from dfp_batch.networks.weights import save_blur
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.fusion import fuse
from dfp_batch.synthetic import procedural_image


@pytest.fixture(scope="module")
def scenes():
    return [torch.from_numpy(procedural_image(256, seed))[None] for seed in range(4)]


def blurred(scene, kernel, scale=2, noise=0.0):
    low = Degradation(scale, kernel)(scene)
    generator = torch.Generator().manual_seed(0)
    return (low + noise * torch.randn(low.shape, generator=generator)).clamp(0, 1)


def test_more_blur_gives_more_sigma(scenes):
    for scene in scenes:
        found = [
            estimate_kernel(blurred(scene, Gaussian(sigma)), 2).sigma_px
            for sigma in (0.5, 0.9, 1.3, 1.8)
        ]
        assert found == sorted(found)
        assert found[0] < 0.8
        assert found[-1] > 1.3


@pytest.mark.parametrize("kernel", [Lanczos2(), Bicubic(), Gaussian(0.4)])
def test_what_is_sharp_is_left_to_lanczos2(kernel, scenes):
    for scene in scenes:
        assert estimate_kernel(blurred(scene, kernel), 2).kernel == Lanczos2()


@pytest.mark.parametrize("sigma", [1.5, 1.8])
def test_a_soft_image_is_restored_better(sigma, scenes, psnr_db):
    config = FusionConfig.preset("classical", scale=2)
    gains = []
    for scene in scenes:
        low = blurred(scene, Gaussian(sigma))[0].expand(2, -1, -1, -1).contiguous()
        usual, found = (
            fuse(low, FusionConfig.preset("classical", scale=2, kernel=kernel), "cpu")
            for kernel in (config.kernel, EstimatedKernel())
        )
        assert isinstance(found.kernel.kernel, Gaussian)
        assert found.kernel.kernel.sigma_px <= found.kernel.sigma_px + 0.01
        gains.append(psnr_db(found.fused, scene[0]) - psnr_db(usual.fused, scene[0]))
    assert min(gains) > 0.5


@pytest.mark.parametrize("size", [(16, 16), (31, 200), (200, 31)])
def test_small_images_tell_nothing(size):
    low = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    found = estimate_kernel(low, 2)
    assert found.kernel == Lanczos2()
    assert math.isnan(found.sigma_px)
    assert found.error_px == math.inf


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_image_tells_nothing(value):
    assert estimate_kernel(torch.full((1, 1, 64, 64), value), 3).kernel == Lanczos2()


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_noise_is_not_taken_for_sharpness_that_can_be_undone(noise):
    low = torch.full((1, 1, 96, 96), 0.5)
    low = low + noise * torch.randn(low.shape, generator=torch.Generator().manual_seed(0))
    assert estimate_kernel(low, 2).kernel == Lanczos2()


def test_it_is_the_luma_that_counts(scenes):
    grey = blurred(scenes[0], Gaussian(1.0)).mean(1, keepdim=True)
    one, three = (estimate_kernel(low, 2) for low in (grey, grey.expand(-1, 3, -1, -1)))
    assert one.sigma_px == pytest.approx(three.sigma_px, abs=1e-3)


def test_sigma_is_in_pixels_of_the_result(scenes):
    low = blurred(scenes[0], Gaussian(1.0))
    two, four = (estimate_kernel(low, scale) for scale in (2, 4))
    assert four.sigma_px == pytest.approx(2 * two.sigma_px)
    assert four.error_px == pytest.approx(2 * two.error_px)


@pytest.mark.parametrize("size", [(32, 32), (33, 70), (700, 900)])
def test_features_are_finite_and_of_one_length(size):
    plane = np.random.default_rng(0).random(size, np.float32)
    assert features(plane).shape == (41,)
    assert np.isfinite(features(plane)).all()


def test_features_do_not_depend_on_brightness():
    plane = np.random.default_rng(0).random((80, 90), np.float32) / 2
    np.testing.assert_allclose(features(plane), features(plane + 0.3), atol=1e-2)


def test_an_archive_has_the_kernel_of_most_of_its_items():
    def one(sigma_px, error_px=0.1):
        return KernelEstimate(Gaussian(1.0), sigma_px, error_px)

    unknown = KernelEstimate(Lanczos2(), math.nan, math.inf)
    found = combine([one(1.2), one(1.3), one(1.25), one(4.0, 2.0), unknown], 2)
    assert found.sigma_px == 1.25
    assert found.error_px == pytest.approx(0.05)
    assert found.kernel == Gaussian(1.18)
    assert combine([unknown], 2).kernel == Lanczos2()
    assert combine([], 2).error_px == math.inf


def test_a_kernel_that_is_known_is_not_estimated(scenes):
    low = blurred(scenes[0], Gaussian(1.8))
    assert known_kernel(Gaussian(0.7), low, 2).kernel == Gaussian(0.7)
    assert known_kernel(EstimatedKernel(), low, 1).kernel == Lanczos2()
    assert known_kernel(EstimatedKernel(), low, 2) == estimate_kernel(low, 2)


def test_auto_is_no_kernel_of_its_own():
    assert str(EstimatedKernel()) == "auto-item"
    message = "kernel auto-item stands for one that is estimated from merged sources"
    with pytest.raises(ConfigError, match=f"^{message}$"):
        Degradation(2, EstimatedKernel())(torch.zeros(1, 1, 8, 8))


def test_weights_of_something_else_are_refused(tmp_path):
    path = tmp_path / "blur.safetensors"
    save_blur(path, BlurNetwork())
    weights.load_blur.cache_clear()
    assert isinstance(weights.load_blur(path), BlurNetwork)
    path.write_bytes(b"nothing")
    weights.load_blur.cache_clear()
    with pytest.raises(ConfigError, match=r"must be weights written by train_blur\.py"):
        weights.load_blur(path)
    weights.load_blur.cache_clear()
