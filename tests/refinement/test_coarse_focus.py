"""The least blurred source where none is in focus."""

import cv2
import numpy as np
import torch

from dfp_batch.core.decision import certainty, confidence, winners
from dfp_batch.core.sources import InMemory, Reduced
from dfp_batch.focus.multi_scale_laplacian import MultiScaleLaplacian
from dfp_batch.refinement.coarse_focus import CoarseFocus
from dfp_batch.synthetic.procedural import procedural_image
from method_parts import OneByOne, compute

SIDE_PX = 160
BLURS_PX = (7.0, 5.0, 9.0)  # of the sources of ``blurred``: the second one is the least blurred


def blurred(noise=0.004):
    """Sources (3, 3, 160, 160) of one picture, none of them in focus."""
    random = np.random.default_rng(0)
    picture = procedural_image(SIDE_PX, 1).transpose(1, 2, 0)
    planes = [cv2.GaussianBlur(picture, (0, 0), sigma_px) for sigma_px in BLURS_PX]
    noisy = [plane + noise * random.standard_normal(plane.shape) for plane in planes]
    return torch.from_numpy(np.stack(noisy).clip(0, 1).transpose(0, 3, 1, 2)).float()


def share_of_second(decision):
    return float((winners(decision) == 1).float().mean())


def test_the_least_blurred_source_wins_where_fine_detail_says_nothing():
    sources = InMemory(blurred())
    measured = MultiScaleLaplacian()(sources)
    assert share_of_second(measured) < 0.6
    assert float(certainty(confidence(measured)[0], 4).mean()) < 0.2
    assert share_of_second(CoarseFocus()(sources, measured, compute())) > 0.9


def test_where_the_decision_is_certain_it_stays_and_no_source_is_looked_at(texture):
    sources = OneByOne(torch.cat([texture(40, 48, seed=seed) for seed in range(2)]))
    decision = torch.zeros(2, 1, 40, 48)
    decision[1] = 1
    refined = CoarseFocus()(sources, decision.clone(), compute())
    assert torch.equal(refined, decision)
    assert not sources.asked


def test_what_stands_in_for_a_source_is_no_detail_of_it():
    """The step at the rim of what a source shows would win everything along it."""
    images = blurred()
    covered = torch.zeros(1, SIDE_PX, SIDE_PX)
    covered[..., 60:, :] = 1
    images[2, :, :60] = images[0, :, :60] + 0.1
    measured = torch.full((3, 1, SIDE_PX, SIDE_PX), 1 / 3)
    partial = Reduced(images, (None, None, covered))
    whole = Reduced(images, (None, None, None))
    near = (slice(60, 66), slice(None))
    known, unknown = (
        winners(CoarseFocus()(sources, measured.clone(), compute()))[near] == 2
        for sources in (partial, whole)
    )
    assert not known.any()
    assert unknown.float().mean() > 0.5
