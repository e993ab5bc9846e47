"""Which steps run where."""

import pytest

from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.placement import Accelerator, Placement, Step, device_bytes, placement
from dfp_batch.pipeline.presets import PRESETS

SMALL, LARGE = (512, 512, 3), (6000, 8000, 3)
H100 = Accelerator(78 << 30)
LAPTOP = Accelerator(4 << 30)
ON_DEVICE = (Step.WARP, Step.FOCUS, Step.REFINE, Step.MERGE, Step.ENLARGE)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("accelerator", [None, LAPTOP, H100])
@pytest.mark.parametrize(("count", "size"), [(2, SMALL), (200, LARGE)])
def test_every_step_is_placed_once_and_in_order(preset, count, size, accelerator):
    plan = placement(FusionConfig.preset(preset), count, size, accelerator)
    assert (*plan.prepare, *plan.reconstruct) == tuple(Step)
    assert plan.prepare[0] is Step.REGISTER
    assert plan.reconstruct[-1] is Step.ENLARGE


@pytest.mark.parametrize("preset", PRESETS)
def test_beside_a_gpu_everything_from_the_warp_on_runs_on_it(preset):
    plan = placement(FusionConfig.preset(preset), 10, SMALL, H100)
    assert plan.reconstruct == ON_DEVICE
    assert plan.hands_over_frames


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"paper"}))
def test_without_a_gpu_and_beyond_its_memory_frames_are_merged_one_by_one_before(preset):
    config = FusionConfig.preset(preset)
    for count, size, accelerator in ((10, SMALL, None), (200, LARGE, LAPTOP)):
        plan = placement(config, count, size, accelerator)
        assert plan == Placement.after(Step.MERGE)
        assert not plan.hands_over_frames


@pytest.mark.parametrize("accelerator", [None, LAPTOP])
def test_what_fits_a_network_or_wants_all_sources_merges_beside_it(accelerator):
    plan = placement(FusionConfig.preset("paper"), 2, LARGE, accelerator)
    assert plan.reconstruct == ON_DEVICE


def test_more_pixels_frames_and_scale_take_more_memory():
    fast, paper = FusionConfig.preset("fast", scale=1), FusionConfig.preset("paper", scale=1)
    assert device_bytes(fast, 2, SMALL) < device_bytes(fast, 20, SMALL)
    assert device_bytes(fast, 2, SMALL) < device_bytes(fast, 2, LARGE)
    assert device_bytes(fast, 2, SMALL) < device_bytes(
        FusionConfig.preset("fast", scale=4), 2, SMALL
    )
    assert device_bytes(fast, 20, SMALL) < device_bytes(paper, 20, SMALL)
