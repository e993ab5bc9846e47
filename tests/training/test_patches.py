import numpy as np
import pytest
import torch

from dfp_batch.core.degradation import Degradation
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.reconstruction.learned_prior import initial_enlargement
from dfp_batch.training.patches import (
    Batch,
    batch_of,
    captured,
    draw_from,
    draw_kernels,
    draw_pieces,
    scene_pool,
)


@pytest.fixture(scope="module")
def pool():
    return scene_pool(4, 96, 0)


def generator(seed=0):
    return np.random.default_rng(seed)


def draw_batch(pool, size, side_px, random):
    return batch_of(draw_pieces(pool, size, side_px, random), torch.device("cpu"))


def test_the_pool_is_given_by_its_seed_and_begins_alike_whatever_its_size(pool):
    assert pool.shape == (4, 96, 96)
    assert pool.dtype == np.uint8
    np.testing.assert_array_equal(scene_pool(2, 96, 0), pool[:2])
    assert (scene_pool(1, 96, 1) != pool[:1]).mean() > 0.5


def test_a_batch_has_the_sizes_of_its_scale_and_is_given_by_its_seed(pool):
    scales = set()
    for seed in range(12):
        batch = draw_batch(pool, 8, 16, generator(seed))
        again = draw_batch(pool, 8, 16, generator(seed))
        scale = batch.truth.shape[-1] // 16
        scales.add(scale)
        assert batch.low.shape == (8, 1, 16, 16)
        assert batch.projected.shape == batch.truth.shape == (8, 1, 16 * scale, 16 * scale)
        assert batch.code.shape == (8, 8)
        for name, tensor in vars(batch).items():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, getattr(again, name))
    assert scales == {2, 3, 4}


def test_low_is_the_truth_seen_through_the_kernel(pool):
    """Up to noise, JPEG and an error of the kernel: nearer than to another piece."""
    for seed in range(6):
        batch = draw_batch(pool, 8, 16, generator(seed))
        scale = batch.truth.shape[-1] // 16
        seen = Degradation(scale, Lanczos2())(batch.truth)
        own = (seen - batch.low).abs().mean((1, 2, 3))
        other = (seen - batch.low.roll(1, 0)).abs().mean((1, 2, 3))
        assert (own < other).float().mean() > 0.8


def test_pieces_that_processes_draw_from_a_file_are_those_of_its_scenes(pool, tmp_path):
    np.save(tmp_path / "scenes.npy", pool)
    inline = draw_pieces(pool, 8, 16, generator(1))
    drawn = draw_from(tmp_path / "scenes.npy", 8, 16, generator(1))
    assert all(map(torch.equal, inline, drawn))
    assert {field.dtype for field in (drawn.low, drawn.truth)} == {torch.uint8}


def test_the_enlargement_of_a_batch_is_that_of_its_kernels(pool):
    """They are told by their code; of the pieces the margin is cut off."""
    seeds_with_scales = 8
    for seed in range(seeds_with_scales):
        drawn = draw_pieces(pool, 4, 16, generator(seed))
        scale = drawn.truth.shape[-1] // drawn.low.shape[-1]
        random = generator(seed)
        random.choice(1, p=[1.0])  # where the scale was drawn
        _, believed = draw_kernels(scale, random)
        batch = batch_of(drawn, torch.device("cpu"))
        assert torch.equal(batch.code[0], believed.code(scale))
        enlarged = initial_enlargement(drawn.low[:1] / 255, Degradation(scale, believed))
        inner = (slice(4 * scale, -4 * scale),) * 2
        torch.testing.assert_close(batch.projected[:1], enlarged[..., *inner], atol=1e-5, rtol=0)


def test_there_are_four_kernels_in_a_batch(pool):
    code = draw_batch(pool, 16, 12, generator(3)).code
    assert torch.equal(code[0::4], code[3::4])
    assert len(code.unique(dim=0)) > 1


def test_kernels_come_in_their_shares_and_are_believed_to_be_nearly_what_they_are():
    random = generator()
    drawn = [draw_kernels(2, random) for _ in range(600)]
    kinds = [type(true).__name__ for true, _ in drawn]
    for kind, share in {
        "Lanczos2": 0.35,
        "Bicubic": 0.15,
        "Gaussian": 0.4,
        "AnisotropicGaussian": 0.1,
    }.items():
        assert kinds.count(kind) / 600 == pytest.approx(share, abs=0.06)
    for true, believed in drawn:
        assert type(true) is type(believed)
    errors = [b.sigma_px / t.sigma_px - 1 for t, b in drawn if isinstance(t, Gaussian)]
    assert 0.02 < np.std(errors) < 0.06
    assert all(0.5 <= t.sigma_px <= 1.8 for t, _ in drawn if isinstance(t, Gaussian))


def test_a_camera_gives_8_bits_noise_to_half_and_jpeg_to_a_quarter():
    clean = torch.full((400, 1, 16, 16), 100 / 255)
    clean[..., 5:, :] = 180 / 255
    given = captured(clean, generator())
    levels = 255 * given
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    error = (given - clean).flatten(1)
    untouched = (error.abs().amax(1) < 1e-6).float().mean().item()
    assert untouched == pytest.approx(0.5 * 0.75, abs=0.12)
    assert error.std(1).max() < 0.03


def test_a_batch_can_be_moved():
    batch = Batch(*(torch.zeros(1) for _ in range(4))).to(torch.device("meta"))
    assert all(tensor.is_meta for tensor in vars(batch).values())


def test_the_enlargement_is_made_with_the_kernel(pool):
    truth = torch.from_numpy(pool[:, None] / np.float32(255))
    soft = Degradation(2, Gaussian(1.6))
    low = soft(truth)
    right, wrong = (
        (initial_enlargement(low, degrade) - truth).square().mean()
        for degrade in (soft, Degradation(2, Lanczos2()))
    )
    assert right < wrong
