import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from dfp_batch.core.contracts import Compute
from dfp_batch.core.degradation import Degradation
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.errors import ConfigError, DivergedError
from dfp_batch.networks.prior_network import PriorSpec
from dfp_batch.networks.weights import save_prior
from dfp_batch.reconstruction import adapted_prior
from dfp_batch.reconstruction.adapted_prior import AdaptedPrior
from dfp_batch.reconstruction.learned_prior import LearnedPrior
from dfp_batch.synthetic import procedural_image
from method_parts import both

HALF = Degradation(2, Lanczos2())


def compute(on_iteration=lambda *_: None):
    return Compute(torch.Generator().manual_seed(5), torch.float32, on_iteration)


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    """A small one that adds nothing yet."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    spec = PriorSpec(width=8, blocks=1)
    save_prior(path, spec, spec.build(torch.Generator().manual_seed(0)).state_dict())
    return LearnedPrior(str(path))


@pytest.fixture(scope="module")
def truth():
    return torch.from_numpy(procedural_image(160, 1))[None]


@pytest.fixture(scope="module")
def stripes():
    y, x = torch.meshgrid(torch.arange(160), torch.arange(160), indexing="ij")
    return (0.2 + 0.6 * ((x + y // 3) // 9 % 2))[None, None]


@pytest.fixture(autouse=True)
def _only_what_is_plain_counts(monkeypatch):
    """Small items of a test are texture all over and of few blocks: taken for noise and JPEG."""
    monkeypatch.setattr(adapted_prior, "SMALLEST_PX", 16)
    monkeypatch.setattr(adapted_prior, "MOST_NOISE", 0.2)
    monkeypatch.setattr(adapted_prior, "MOST_BLOCKS", 1.5)


def fitted(prior, **changes):
    return AdaptedPrior(
        prior, **{"iterations": 20, "learning_rate": 2e-3, "patch_px": 24} | changes
    )


def run(part, low, degrade=HALF, **options):
    return both(part(low, torch.ones_like(low[:, :1]), degrade, compute(**options)))


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_it_learns_from_the_item_what_its_prior_did_not_know(weight, prior, stripes, psnr_db):
    """Hard edges, of which the item holds many."""
    low = HALF(stripes).clamp(0, 1)
    part = fitted(
        prior, iterations=60, content_weight=weight, joint_gradient_weight=weight, anchor_weight=0.0
    )
    fused, losses = run(part, low)
    assert len(losses) > 10
    assert psnr_db(fused, stripes) > psnr_db(run(prior, low)[0], stripes) + 0.5


@pytest.mark.parametrize("size", [(33, 47), (34, 32)])
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_result_has_the_size_and_the_range(prior, size, scale, channels):
    ramp = torch.linspace(0.1, 0.9, size[0])[:, None] * torch.linspace(0.2, 1, size[1])
    low = ramp.expand(1, channels, *size)
    fused, losses = run(fitted(prior, iterations=2), low, Degradation(scale, Gaussian(1.0)))
    assert fused.shape == (1, channels, scale * size[0], scale * size[1])
    assert 0 <= fused.min() <= fused.max() <= 1
    assert len(losses) == (2 if min(size) // scale >= 16 else 0)


def test_no_iterations_are_the_prior(prior, truth):
    low = HALF(truth).clamp(0, 1)
    fused, losses = run(fitted(prior, iterations=0), low)
    assert torch.equal(fused, run(prior, low)[0])
    assert len(losses) == 0


def test_at_scale_1_the_item_is_left_alone(prior, truth):
    fused, losses = run(fitted(prior), truth, Degradation(1, Lanczos2()))
    assert torch.equal(fused, truth)
    assert len(losses) == 0


def test_the_same_seed_gives_the_same_image(prior, truth):
    low = HALF(truth).clamp(0, 1)
    part = fitted(prior, iterations=3)
    assert torch.equal(run(part, low)[0], run(part, low)[0])


def test_an_anchor_holds_the_weights(prior, stripes):
    low = HALF(stripes).clamp(0, 1)
    before = run(prior, low)[0]
    free, held = (
        (run(fitted(prior, anchor_weight=weight), low)[0] - before).abs().mean()
        for weight in (0.0, 1e4)
    )
    assert held < free / 2


def test_it_stops_when_nothing_is_gained(prior, truth):
    low = HALF(truth).clamp(0, 1)
    _, losses = run(fitted(prior, iterations=200, learning_rate=1e-9), low)
    assert len(losses) == 10


def test_a_jpeg_is_left_to_the_prior(prior, truth):
    low = HALF(truth).clamp(0, 1)
    levels = np.rint(255 * low[0, 0].numpy()).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    blocky = torch.from_numpy(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE) / np.float32(255))
    assert len(run(fitted(prior, iterations=1), low)[1]) == 1
    fused, losses = run(fitted(prior), blocky[None, None])
    assert len(losses) == 0
    assert torch.equal(fused, run(prior, blocky[None, None])[0])


def test_a_noisy_item_is_left_to_the_prior(prior):
    low = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    fused, losses = run(fitted(prior), low)
    assert len(losses) == 0
    assert torch.equal(fused, run(prior, low)[0])


def test_a_fit_that_makes_it_worse_is_not_taken(prior, truth):
    low = HALF(truth).clamp(0, 1)
    fused, _ = run(fitted(prior, iterations=10, learning_rate=10.0), low)
    assert torch.equal(fused, run(prior, low)[0])


def test_what_diverges_is_an_error(prior, truth):
    low = HALF(truth).clamp(0, 1)
    message = "fit: loss is not finite; lower the learning rate or use --precision fp32"
    with pytest.raises(DivergedError, match=f"^{re.escape(message)}$"):
        run(fitted(prior, iterations=10, learning_rate=1e30), low)


def test_every_iteration_is_reported(prior, truth):
    seen = []
    run(
        fitted(prior, iterations=2),
        HALF(truth).clamp(0, 1),
        on_iteration=lambda *progress: seen.append(progress),
    )
    assert [progress for progress in seen if progress[0] == "fit"] == [("fit", 1, 2), ("fit", 2, 2)]


def test_grey_stays_grey(prior, truth):
    grey = HALF(truth).mean(1, keepdim=True).clamp(0, 1).expand(-1, 3, -1, -1)
    fused, _ = run(fitted(prior, iterations=2), grey)
    assert (fused - fused[:, :1]).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": -1}, "reconstruction.iterations must be >= 0, got -1"),
        ({"learning_rate": 0.0}, "reconstruction.learning_rate must be > 0, got 0.0"),
        ({"anchor_weight": -1.0}, "reconstruction.anchor_weight must be >= 0, got -1.0"),
        ({"averaging": 1.0}, "reconstruction.averaging must be >= 0 and < 1, got 1.0"),
        ({"patches": 0}, "reconstruction.patches must be >= 1, got 0"),
    ],
)
def test_a_field_out_of_its_range_is_refused(changes, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        replace(AdaptedPrior(), **changes)
