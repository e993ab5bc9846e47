import pytest
import torch

from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import enlarge
from dfp_batch.degradation.kernels import AnisotropicGaussian, Bicubic, Gaussian, Lanczos2
from dfp_batch.reconstruction.back_projection import project_back
from dfp_batch.training.projection import matrices_of, projected


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("steps", [0, 1, 10])
def test_it_is_the_back_projection_of_every_kernel(scale, steps):
    kernels = [
        Lanczos2(),
        Bicubic(),
        Gaussian(0.3 * scale),
        AnisotropicGaussian(0.4 * scale, 0.7 * scale, 30),
    ]
    low = images(8, 1, 11, 11)
    ours = projected(low, matrices_of(kernels, scale, 11), scale, steps)
    assert ours.shape == (8, 1, 11 * scale, 11 * scale)
    for number, kernel in enumerate(kernels):
        pieces = slice(2 * number, 2 * number + 2)
        start = enlarge(low[pieces], scale)
        theirs = project_back(start, low[pieces], Degradation(scale, kernel), steps)[0]
        torch.testing.assert_close(ours[pieces], theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_what_is_left_of_the_longest_kernel_is_small(scale):
    kernel = AnisotropicGaussian(0.25 * scale, 0.9 * scale, 45)
    low = images(2, 1, 20, 20)
    ours = projected(low, matrices_of([kernel], scale, 20), scale, 10)
    theirs = project_back(enlarge(low, scale), low, Degradation(scale, kernel), 10)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


def test_matrices_have_one_shape_whatever_the_kernel():
    shapes = {matrices_of([kernel], 4, 12).shape for kernel in (Lanczos2(), Gaussian(3.6))}
    assert shapes == {(1, 2, 16, 12, 12)}
