"""Decisions of many weights are kept in half the memory."""

import pytest
import torch

from dfp_batch.core import decision as decisions
from dfp_batch.core.decision import confidence, decided, kept_in, total, weighted, winners
from dfp_batch.core.sources import InMemory
from dfp_batch.focus.multi_scale_laplacian import MultiScaleLaplacian
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.steps import Workplace, merge
from dfp_batch.refinement.confidence_voting import ConfidenceVoting
from dfp_batch.refinement.near_first import NearFirst
from dfp_batch.refinement.potts import Potts
from dfp_batch.synthetic import SceneSet, SceneSpec
from method_parts import compute

CPU = Workplace(torch.device("cpu"))


@pytest.fixture(scope="module")
def sources():
    """Four frames of 96 px."""
    spec = SceneSpec(frames=4, layers=4, defocus_px=3.0, shift_px=1.0)
    return torch.from_numpy(SceneSet("procedural", spec, 1, 96, 1).scene(0).sources)


@pytest.fixture
def halved(monkeypatch):
    """Few weights are many."""

    def use():
        monkeypatch.setattr(decisions, "_LARGE", 0)

    return use


def test_only_many_weights_on_a_cpu_are_halved():
    many, cpu = 24 * 12_000_000, torch.device("cpu")
    assert kept_in(many, cpu) == torch.float16
    assert kept_in(many, torch.device("cuda")) == torch.float32
    assert kept_in(10 * 3_100_000, cpu) == torch.float32


@pytest.mark.parametrize("preset", ["fast", "classical"])
def test_presets_make_the_same_image_of_halved_weights(preset, sources, halved, psnr_db):
    config = FusionConfig.preset(preset, scale=1)
    exact = merge(InMemory(sources), config, CPU)
    halved()
    found = merge(InMemory(sources), config, CPU)
    assert exact.decision.dtype == torch.float32
    assert found.decision.dtype == torch.float16
    assert found.sources.dtype == found.confidence.dtype == torch.float32
    assert (winners(found.decision) == winners(exact.decision)).float().mean() > 0.999
    assert psnr_db(found.sources, exact.sources) > 60


@pytest.mark.parametrize("near", ["first", "last", "auto"])
def test_what_is_near_is_told_of_halved_weights_as_well(near, sources, halved):
    config = FusionConfig.preset("classical", scale=1)
    refinement = NearFirst(ConfidenceVoting(), near)
    exact = refinement(InMemory(sources), config.focus(InMemory(sources)), compute())
    halved()
    measured = config.focus(InMemory(sources))
    assert measured.dtype == torch.float16
    found = refinement(InMemory(sources), measured, compute())
    assert (winners(found) == winners(exact)).float().mean() > 0.999


def test_halved_weights_sum_to_one(sources, halved):
    halved()
    measured = MultiScaleLaplacian()(InMemory(sources))
    assert measured.dtype == torch.float16
    whole = total(measured)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(whole, torch.ones_like(whole), atol=2e-3, rtol=0)


def test_potts_at_full_size_is_the_same_of_halved_weights(sources, halved):
    potts = Potts(largest_px=1 << 30)
    exact = potts(InMemory(sources), MultiScaleLaplacian()(InMemory(sources)), compute())
    halved()
    found = potts(InMemory(sources), MultiScaleLaplacian()(InMemory(sources)), compute())
    assert found.dtype == torch.float16
    assert (winners(found) == winners(exact)).float().mean() > 0.998


def test_a_halved_decision_is_as_sure_as_is_said(halved):
    halved()
    labels, sure = torch.tensor([[0, 1, 2]]), torch.tensor([[0.0, 0.5, 1.0]])
    decision = decided(labels, sure, 3)
    assert decision.dtype == torch.float16
    torch.testing.assert_close(confidence(decision)[0, 0], sure, atol=2e-3, rtol=0)
    assert winners(decision)[0, 1:].tolist() == [1, 2]


def test_a_single_source_is_given_back_as_it_is(sources):
    assert weighted(sources[:1], torch.ones(1, 1, 96, 96)) is not None
    assert weighted(sources[:1], torch.ones(1, 1, 96, 96)).data_ptr() == sources.data_ptr()
    even = torch.full((4, 1, 96, 96), 0.25)
    torch.testing.assert_close(weighted(sources, even)[0], sources.mean(0))
