"""The contract of every reconstruction."""

from dataclasses import dataclass, replace

import pytest
import torch
from implementations import every

from dfp_batch.core.contracts import Reconstruction, Solution
from dfp_batch.core.degradation import SCALES, Degradation
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.reconstruction.back_projection import BackProjection
from method_parts import compute

WHITE = torch.ones(1, 3, 32, 32)

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
def test_its_rows_follow_each_other_and_make_up_the_image(part, texture):
    low, ones, degrade = texture(150, 24), torch.ones(1, 1, 150, 24), Degradation(2, Lanczos2())
    whole = part(low, ones, degrade, compute(3))
    parts = list(part.in_rows(low, ones, degrade, compute(3)))
    assert all(one.image.shape[-2] % 2 == 0 for one in parts)
    joined = Solution.joined(parts)
    assert torch.equal(joined.image, whole.image)
    torch.testing.assert_close(joined.losses, whole.losses)
    assert joined.stop_reason == whole.stop_reason


def test_one_that_inherits_from_another_and_calls_for_something_else_is_asked(texture):
    @dataclass(frozen=True)
    class White(BackProjection):
        def __call__(self, sources, decision, degrade, compute):
            return replace(super().__call__(sources, decision, degrade, compute), image=WHITE)

    [only] = White().in_rows(
        texture(16, 16), torch.ones(1, 1, 16, 16), Degradation(2, Lanczos2()), compute()
    )
    assert only.image is WHITE


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
