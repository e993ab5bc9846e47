from itertools import chain

import pytest
import torch

from dfp_batch.networks.precision import CLEARLY_FASTER, bf16_speedup, compute_dtype, speedup
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.fusion import fuse

CPU = torch.device("cpu")


def never(_device):
    pytest.fail("nothing was to be measured")


@pytest.mark.parametrize(
    ("faster", "expected"),
    [
        (0.25, torch.float32),
        (1.0, torch.float32),
        (CLEARLY_FASTER - 0.01, torch.float32),
        (CLEARLY_FASTER, torch.bfloat16),
        (8.0, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_auto_is_bf16_where_it_is_clearly_faster(device, faster, expected):
    asked = []
    measure = lambda where: asked.append(where) or faster  # noqa: E731
    assert compute_dtype("auto", torch.device(device), measure) is expected
    assert asked == [torch.device(device)]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_nothing_is_measured_where_the_precision_is_given(device):
    assert compute_dtype("fp32", torch.device(device), never) is torch.float32
    assert compute_dtype("bf16", torch.device(device), never) is torch.bfloat16


def seconds(*durations):
    """A clock that is read at start and end of pieces of work of these durations."""
    readings = chain.from_iterable((100.0, 100.0 + duration) for duration in durations)
    return lambda: next(readings)


def test_the_speedup_is_the_median_over_rounds_of_one_after_the_other():
    calls = []
    clock = seconds(3, 1, 3, 1.5, 60, 1, 3, 1, 3, 30)  # ratios 3, 2, 60, 3, 0.1
    assert speedup(lambda: calls.append("fp32"), lambda: calls.append("bf16"), clock) == 3
    assert calls == ["fp32", "bf16"] * 6  # the first are not timed


def test_the_measurement_is_made_once_and_leaves_everything_as_it_was():
    bf16_speedup.cache_clear()
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.autocast("cpu", torch.bfloat16):
        first = bf16_speedup(CPU)
        assert torch.is_autocast_enabled("cpu")
    assert first > 0
    assert bf16_speedup(CPU) == first
    assert bf16_speedup.cache_info().misses == 1
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_a_whole_fusion_measures_only_for_auto(scene):
    bf16_speedup.cache_clear()
    for precision, count in (("fp32", 0), ("bf16", 0), ("auto", 1), ("auto", 1)):
        fuse(scene.sources, FusionConfig.preset("classical", precision=precision), "cpu")
        assert bf16_speedup.cache_info().misses == count
