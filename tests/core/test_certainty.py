"""How far a decision is to be believed."""

import torch

from dfp_batch.core.decision import certainty

REACH_PX = 16


def beside_detail(columns):
    """Certainty (h, w) where the left ``columns`` of the confidence are 1, the rest is 0."""
    confidence = torch.zeros(1, 64, 128)
    confidence[..., :columns] = 1
    return certainty(confidence, REACH_PX)[0]


def test_detail_is_certain_as_far_as_it_reaches_and_what_is_far_from_it_is_not():
    certain = beside_detail(40)
    assert (certain[:, : 40 + REACH_PX - 8] > 0.99).all()
    assert (certain[:, 40 + REACH_PX + 16 :] < 0.01).all()
    assert (certain.diff(dim=1) <= 1e-6).all()


def test_detail_of_little_contrast_is_as_certain_as_any():
    half = certainty(torch.full((1, 32, 32), 0.6), REACH_PX)
    torch.testing.assert_close(half, torch.ones_like(half))


def test_noise_is_no_detail():
    generator = torch.Generator().manual_seed(0)
    confidence = 0.4 * torch.rand(1, 64, 64, generator=generator)
    assert float(certainty(confidence, REACH_PX).max()) < 0.1
