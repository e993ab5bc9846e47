"""Small scenes with exact truth."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch


def _blur(images, sigma_px):
    planes = images.reshape(-1, *images.shape[-2:]).numpy()
    blurred = [cv2.GaussianBlur(p, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT) for p in planes]
    return torch.from_numpy(np.stack(blurred)).reshape(images.shape)


def _texture(h, w, channels=3, seed=0):
    noise = torch.randn(1, channels, h, w, generator=torch.Generator().manual_seed(seed))
    coarse = _blur(noise, 3.0)
    fine = _blur(noise, 0.8)
    mixed = coarse / coarse.std() + fine / fine.std()
    return (0.5 + 0.15 * mixed).clamp(0.02, 0.98)


@pytest.fixture(scope="session")
def blur():
    """Gaussian blur of (N, C, h, w): ``blur(images, sigma_px)``."""
    return _blur


@pytest.fixture(scope="session")
def texture():
    """Random texture (1, C, h, w) in [0, 1]: ``texture(h, w, channels=3, seed=0)``."""
    return _texture


@pytest.fixture(scope="session")
def psnr_db():
    """PSNR of two images in [0, 1]: ``psnr_db(image, truth)``."""
    return lambda image, truth: float(-10 * (image - truth).square().mean().log10())


@pytest.fixture(scope="session")
def scene():
    """Truth (1, 3, 64, 64) and two sources, sharp left and right of the middle."""
    truth = _texture(64, 64)
    blurred = _blur(truth, 2.0)
    left = torch.zeros(1, 1, 64, 64)
    left[..., :32] = 1
    sources = torch.cat([left * truth + (1 - left) * blurred, left * blurred + (1 - left) * truth])
    return SimpleNamespace(truth=truth, sources=sources, decision=torch.cat([left, 1 - left]))


@pytest.fixture(scope="session")
def stack():
    """Sources, each sharp in its own vertical band: ``stack(count, channels, h, w)``."""

    def make(count, channels, h, w):
        truth = _texture(h, w, channels)
        bands = torch.arange(w) * count // w
        in_focus = (bands == torch.arange(count)[:, None]).view(count, 1, 1, w)
        return torch.where(in_focus, truth, _blur(truth, 1.5))

    return make
