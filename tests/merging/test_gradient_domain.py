"""Composition in the gradient domain."""

import numpy as np
import pytest
import torch

from dfp_batch.core.decision import one_hot
from dfp_batch.core.sources import InMemory
from dfp_batch.merging.blend import Blend
from dfp_batch.merging.gradient_domain import (
    Equations,
    Gradient,
    GradientDomain,
    divergence_of,
    gradient_of,
    solve,
)
from dfp_batch.merging.seam_pyramid import SeamPyramid
from method_parts import CERTAIN, OneByOne, compute

H, W = 67, 90
MERGE = GradientDomain(Blend())


def halves(h=H, w=W):
    """Decision (2, 1, h, w): the first source on the left."""
    return one_hot((torch.arange(w) >= w // 2).long().expand(h, w), 2)


def flat(*tones, channels=1):
    """One source of every tone."""
    return torch.cat([torch.full((1, channels, H, W), tone) for tone in tones])


def largest_step(image):
    """Between neighbours."""
    return max(float(one.abs().max()) for one in gradient_of(image))


def uncertain(h=H, w=W):
    """Certainty (1, h, w): nowhere."""
    return torch.zeros(1, h, w)


def test_a_step_that_no_source_has_fades_where_nothing_is_in_focus():
    sources = InMemory(flat(0.4, 0.6))
    assert largest_step(Blend()(sources, halves(), CERTAIN, compute())[0]) > 0.19
    merged = MERGE(sources, halves(), uncertain(), compute())[0]
    assert largest_step(merged) < 0.02
    assert 0.4 < float(merged.min()) <= float(merged.max()) < 0.6


def test_where_the_decision_is_certain_the_image_is_that_of_the_base(texture):
    images = torch.cat([texture(H, W, seed=seed) for seed in range(2)])
    for base in (Blend(), SeamPyramid()):
        expected = base(InMemory(images), halves(), CERTAIN, compute())
        merged = GradientDomain(base)(InMemory(images), halves(), torch.ones(1, H, W), compute())
        assert torch.equal(merged, expected)


def test_a_sharp_thing_amid_uncertainty_keeps_its_place_and_its_detail(texture):
    thing = (..., slice(20, 44), slice(30, 60))
    images = flat(0.4, 0.6)
    images[0][thing] = texture(24, 30, 1, seed=3)[0]
    certainty = uncertain()
    certainty[thing] = 1
    expected = Blend()(InMemory(images), halves(), CERTAIN, compute())
    merged = MERGE(InMemory(images), halves(), certainty, compute())
    assert torch.equal(merged[thing], expected[thing])
    assert not torch.equal(merged, expected)


def test_a_border_between_equal_sources_changes_nothing(texture):
    image = texture(H, W)
    merged = MERGE(InMemory(image.expand(2, -1, -1, -1)), halves(), uncertain(), compute())
    torch.testing.assert_close(merged, image, atol=2e-5, rtol=0)


def test_a_smooth_slope_of_both_sources_is_kept():
    slope = torch.linspace(0.2, 0.6, W).expand(1, 1, H, W)
    merged = MERGE(InMemory(torch.cat([slope, slope + 0.1])), halves(), uncertain(), compute())[0]
    steps = gradient_of(merged).across
    assert float(steps.min()) > 0
    assert float(steps.max()) < 0.02


def test_every_channel_on_its_own_and_in_any_order(texture):
    images = torch.cat([0.5 + 0.2 * texture(H, W, seed=seed) for seed in range(2)])
    merged = MERGE(InMemory(images), halves(), uncertain(), compute())
    turned = MERGE(InMemory(images.flip(0)), halves().flip(0), uncertain(), compute())
    torch.testing.assert_close(turned, merged, atol=1e-5, rtol=0)
    for channel in range(3):
        one = InMemory(images[:, channel : channel + 1])
        alone = MERGE(one, halves(), uncertain(), compute())
        torch.testing.assert_close(alone[:, 0], merged[:, channel], atol=1e-5, rtol=0)


def test_without_a_border_in_doubt_no_frame_is_looked_at_twice():
    frames = OneByOne(flat(0.4, 0.6))
    MERGE(frames, halves(), torch.ones(1, H, W), compute())
    assert frames.asked == [0, 1]


@pytest.mark.parametrize("size", [(1, 5), (9, 9), (16, 40), (70, 33)])
def test_the_divergence_is_minus_the_adjoint_of_the_gradient(size):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, *size, generator=generator, dtype=torch.float64)
    field = Gradient(
        *(torch.rand(one.shape, generator=generator, dtype=torch.float64)
          for one in gradient_of(image))
    )  # fmt: skip
    left = sum((a * b).sum() for a, b in zip(gradient_of(image), field, strict=True))
    torch.testing.assert_close(left, -(image * divergence_of(field)).sum())


def equations_of(h, w, seed):
    """Of one channel, of a certain left margin and any wanted gradient."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.full((1, h, w), 1e-4)
    weight[..., : max(1, w // 8)] = 16
    wanted = Gradient(
        *(0.1 * torch.randn(shape, generator=generator) for shape in ((1, h, w - 1), (1, h - 1, w)))
    )
    return Equations(weight, wanted)


@pytest.mark.parametrize("size", [(2, 2), (9, 13), (4, 60), (30, 21)])
def test_the_solution_is_that_of_the_dense_matrix(size):
    h, w = size
    equations = equations_of(h, w, seed=0)
    units = torch.eye(h * w).view(-1, 1, h, w)
    matrix = np.stack([equations.times(unit).numpy().ravel() for unit in units], 1)
    np.testing.assert_allclose(np.diag(matrix), equations.diagonal().numpy().ravel())
    right = -divergence_of(equations.wanted).numpy().ravel()
    expected = np.linalg.solve(matrix.astype(np.float64), right)
    found = solve(equations).numpy().ravel()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_half_the_size_has_nearly_the_same_solution():
    slope = torch.linspace(0, 1, 64).expand(1, 64, 64)
    fine = Equations(torch.full((1, 64, 64), 1e-4), gradient_of(slope.contiguous()))
    halved = solve(fine.halved())
    torch.testing.assert_close(
        halved.diff(dim=2)[:, 8:-8, 4:-4].mean(), 2 * slope.diff(dim=2).mean(), atol=3e-3, rtol=0
    )
