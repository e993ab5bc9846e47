"""The contract of every reconstruction."""

import pytest
import torch
from implementations import every

from dfp_batch.core.contracts import Reconstruction
from dfp_batch.core.degradation import SCALES, Degradation
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from method_parts import compute

every_reconstruction = every("reconstruction")


@every_reconstruction
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 2])
def test_the_image_has_the_exact_size_and_range(part, count, channels, scale, texture):
    sources = torch.cat([texture(17, 22, channels, seed=seed) for seed in range(count)])
    before = sources.clone()
    decision = torch.full((count, 1, 17, 22), 1 / count)
    solution = part(sources, decision, Degradation(scale, Lanczos2()), compute())
    assert solution.image.shape == (1, channels, 17 * scale, 22 * scale)
    assert solution.image.dtype == torch.float32
    assert not solution.image.requires_grad
    assert ((solution.image >= 0) & (solution.image <= 1)).all()
    assert solution.losses.ndim == 1
    assert solution.losses.isfinite().all()
    assert solution.stop_reason in ("iterations", "plateau", "skipped")
    assert torch.equal(sources, before)


@every_reconstruction
def test_the_same_seed_gives_the_same_image(part, texture):
    low, ones = texture(20, 24), torch.ones(1, 1, 20, 24)
    degrade = Degradation(2, Gaussian(1.0))
    first, second = (part(low, ones, degrade, compute(3)).image for _ in range(2))
    assert torch.equal(first, second)


@every_reconstruction
def test_it_says_who_stands_in_for_it_in_the_self_check(part):
    assert isinstance(part.checked_by, Reconstruction)
    assert part.checked_by.iterations == 0 or part.checked_by is part


@every_reconstruction
def test_it_reads_and_moves_no_global_state(part, texture):
    before = torch.get_rng_state()
    part(texture(20, 24), torch.ones(1, 1, 20, 24), Degradation(2, Lanczos2()), compute())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
