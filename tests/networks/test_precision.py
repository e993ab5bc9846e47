from itertools import chain

import pytest
import torch

from dfp_batch.errors import ConfigError
from dfp_batch.networks.int8 import is_exact
from dfp_batch.networks.precision import (
    CLEARLY_FASTER,
    Formats,
    Speedups,
    number_formats,
    speedups,
    speedups_of,
)
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.fusion import fuse

CPU = torch.device("cpu")
BARELY = CLEARLY_FASTER - 0.01


def never(_device):
    pytest.fail("nothing was to be measured")


@pytest.mark.parametrize(
    ("bf16", "int8", "expected"),
    [
        (0.25, 0.0, "float32"),
        (1.0, 0.0, "float32"),
        (BARELY, BARELY, "float32"),
        (CLEARLY_FASTER, 0.0, "bfloat16"),
        (8.0, 9.0, "bfloat16"),
        (8.0, 8.0 * CLEARLY_FASTER, "int8"),
        (0.25, CLEARLY_FASTER, "int8"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_auto_is_what_is_clearly_the_fastest(device, bf16, int8, expected):
    asked = []
    measure = lambda where: asked.append(where) or Speedups(bf16, int8)  # noqa: E731
    formats = number_formats("auto", torch.device(device), measure)
    assert str(formats) == expected
    assert formats.dtype == (torch.bfloat16 if bf16 >= CLEARLY_FASTER else torch.float32)
    assert asked == [torch.device(device)]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_nothing_is_measured_where_the_precision_is_given(device):
    assert number_formats("fp32", torch.device(device), never) == Formats(torch.float32, False)
    assert number_formats("bf16", torch.device(device), never) == Formats(torch.bfloat16, False)


def test_int8_is_taken_where_it_is_wanted_and_can_be():
    slow = lambda _: Speedups(1.0, 0.5)  # noqa: E731
    assert number_formats("int8", CPU, slow) == Formats(torch.float32, True)
    with pytest.raises(ConfigError, match="precision int8 needs a CPU with VNNI instructions"):
        number_formats("int8", CPU, lambda _: Speedups(1.0))


def seconds(*durations):
    """A clock that is read at start and end of pieces of work of these durations."""
    readings = chain.from_iterable((100.0, 100.0 + duration) for duration in durations)
    return lambda: next(readings)


def test_the_speedups_are_medians_over_rounds_of_one_after_the_other():
    calls = []
    clock = seconds(3, 1, 6, 3, 1.5, 6, 60, 1, 6, 3, 1, 6, 3, 30, 0.3)  # 3, 2, 60, 3, 0.1
    works = [lambda name=name: calls.append(name) for name in ("fp32", "bf16", "int8")]
    assert speedups_of(works[0], works[1:], clock) == [3, 0.5]
    assert calls == ["fp32", "bf16", "int8"] * 6  # the first are not timed


def test_the_measurement_is_made_once_and_leaves_everything_as_it_was():
    speedups.cache_clear()
    is_exact.cache_clear()
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.autocast("cpu", torch.bfloat16):
        first = speedups(CPU)
        assert torch.is_autocast_enabled("cpu")
    assert first.bf16 > 0
    assert speedups(CPU) == first
    assert speedups.cache_info().misses == 1
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_a_whole_fusion_measures_only_for_auto(scene):
    speedups.cache_clear()
    for precision, count in (("fp32", 0), ("bf16", 0), ("auto", 1), ("auto", 1)):
        fuse(scene.sources, FusionConfig.preset("classical", precision=precision), "cpu")
        assert speedups.cache_info().misses == count
