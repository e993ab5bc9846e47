import math

import pytest
import torch

from dfp_batch.core.contracts import Compute, Reconstruction, Solution
from dfp_batch.core.degradation import Degradation
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.steps import Merged, Workplace, reconstruct
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.self_check import cross_scale_gain_db
from dfp_batch.synthetic import procedural_image
from method_parts import both

FLOOR, BICUBIC = BackProjection(), BackProjection(steps=0)
CPU = torch.device("cpu")


def compute():
    return Compute(torch.Generator().manual_seed(0))


class Black(Reconstruction):
    """A reconstruction that fails."""

    def __call__(self, sources, decision, degrade, compute):
        h, w = (degrade.scale * side for side in sources.shape[-2:])
        black = sources.new_zeros(1, sources.shape[1], h, w)
        return Solution(black, sources.new_zeros(2), "plateau")


@pytest.fixture(scope="module")
def truth():
    return torch.from_numpy(procedural_image(450, 0))[None]


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_blind_gain_has_the_sign_of_the_true_one(scale, channels, truth, psnr_db):
    degrade, image = Degradation(scale, Lanczos2()), truth[:, :channels]
    low = degrade(image).clamp(0, 1)
    ones = torch.ones_like(low[:, :1])
    better, worse = (
        psnr_db(both(part(low, ones, degrade, compute()))[0], image) for part in (FLOOR, BICUBIC)
    )
    gain_db = cross_scale_gain_db(FLOOR, BICUBIC, low, degrade, compute())
    assert better > worse
    assert 0.2 < gain_db < 6
    back = cross_scale_gain_db(BICUBIC, FLOOR, low, degrade, compute())
    assert back == pytest.approx(-gain_db)
    assert cross_scale_gain_db(FLOOR, FLOOR, low, degrade, compute()) == 0


@pytest.mark.parametrize("size", [(95, 200), (200, 95)])
def test_what_is_too_small_cannot_be_judged(size):
    low = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    assert math.isnan(
        cross_scale_gain_db(FLOOR, BICUBIC, low, Degradation(2, Lanczos2()), compute())
    )


def test_of_a_large_item_the_parts_with_detail_are_looked_at(truth):
    """All is flat but for two corners, where one reconstruction is black."""
    low = torch.full((1, 1, 500, 700), 0.5)
    low[..., :150, 540:], low[..., 340:, :150] = (
        truth[:, :1, :150, :160],
        truth[:, :1, 150:310, :150],
    )
    seen = []

    class Seen(Black):
        def __call__(self, sources, decision, degrade, compute):
            seen.append(sources)
            return super().__call__(sources, decision, degrade, compute)

    degrade = Degradation(2, Lanczos2())
    assert cross_scale_gain_db(Seen(), FLOOR, low, degrade, compute()) < -10
    assert [tuple(one.shape[-2:]) for one in seen] == [(96, 96)] * 2
    assert all(one.std() > 0.05 for one in seen)


def test_at_scale_1_there_is_nothing_to_judge(truth):
    assert math.isnan(
        cross_scale_gain_db(FLOOR, BICUBIC, truth, Degradation(1, Lanczos2()), compute())
    )


def test_a_black_image_is_judged_as_well():
    low = torch.zeros(1, 1, 96, 96)
    assert cross_scale_gain_db(FLOOR, BICUBIC, low, Degradation(2, Lanczos2()), compute()) == 0


@pytest.mark.parametrize(("policy", "replaced"), [("best-of", True), ("always", False)])
def test_what_is_worse_than_the_floor_is_replaced(policy, replaced, truth):
    low = Degradation(2, Gaussian(0.7))(truth).clamp(0, 1)
    merged = Merged.of_one(low)
    config = FusionConfig(
        reconstruction=Black(), kernel=Gaussian(0.7), policy=policy, precision="fp32"
    )
    image, found = reconstruct(merged, config, Workplace(CPU))
    floor, _ = both(FLOOR(low, merged.weights, Degradation(2, Gaussian(0.7)), compute()))
    assert torch.equal(image, floor[0]) is replaced
    assert (found.blind_gain_db < 0) is replaced
    assert found.stop_reason == ("iterations" if replaced else "plateau")
    _, kept = reconstruct(merged, FusionConfig(reconstruction=FLOOR, policy=policy), Workplace(CPU))
    assert kept.stop_reason == "iterations"
