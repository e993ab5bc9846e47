"""The contract of every kernel, and of the degradation that it makes."""

import pytest
import torch
from implementations import every

from dfp_batch.core.degradation import Degradation

every_kernel = every("kernel")
scales = pytest.mark.parametrize("scale", [2, 3, 4])


def known(part):
    if part.is_estimated:
        pytest.skip("it stands for one that is estimated")
    return part


@every_kernel
@scales
def test_taps_are_symmetric_with_sum_1_and_even_for_an_even_scale(part, scale):
    taps = known(part).taps(scale)
    assert taps.dtype == torch.float64
    assert taps.shape in ((len(taps),), (len(taps), len(taps)))
    assert (len(taps) - scale) % 2 == 0
    torch.testing.assert_close(taps.sum(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(taps, taps.flip(tuple(range(taps.ndim))))


@every_kernel
@scales
def test_the_adjoint_is_exact(part, scale):
    degrade, generator = Degradation(scale, known(part)), torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 7 * scale, 5 * scale, generator=generator, dtype=torch.float64)
    y = torch.randn(1, 2, 7, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close((degrade(x) * y).sum(), (x * degrade.adjoint(y)).sum())


@every_kernel
@scales
def test_a_constant_stays_what_it_is(part, scale):
    flat = torch.full((1, 1, 6 * scale, 7 * scale), 0.3)
    torch.testing.assert_close(Degradation(scale, known(part))(flat), torch.full((1, 1, 6, 7), 0.3))


@every_kernel
def test_its_code_is_its_response_and_its_name_is_short(part):
    code = known(part).code(2)
    assert code.shape == (8,)
    assert (code <= 1.2).all()
    assert len(str(part)) < 40
