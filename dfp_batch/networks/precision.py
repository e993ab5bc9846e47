"""In which number formats convolutions run: the fastest that a measurement finds.

What a processor says of itself does not tell: instructions for bfloat16 may bring much or nothing.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Precision
from dfp_batch.errors import ConfigError
from dfp_batch.networks.int8 import Int8Blocks, is_exact
from dfp_batch.networks.prior_network import PriorSpec

CLEARLY_FASTER = 1.2  # below that noise would decide, and workers of one kind would differ
_ROUNDS = 5
_ACCELERATOR_PX = 768  # a tile of the prior: with 320 an H200 waits for its host in both formats
_CPU_PX = 64  # for the sake of time, which grows with the pixels; the ratio hardly does


class Formats(NamedTuple):
    """Number formats.

    Attributes:
        dtype: Of convolutions and activations.
        int8: Whether networks that are only applied run in whole numbers of 8 bits.
    """

    dtype: torch.dtype
    int8: bool

    def __str__(self) -> str:
        return "int8" if self.int8 else str(self.dtype).removeprefix("torch.")


class Speedups(NamedTuple):
    """How many times faster than float32 a format is; 0 where there is none.

    Attributes:
        bf16: bfloat16.
        int8: Whole numbers of 8 bits.
    """

    bf16: float
    int8: float = 0.0


def speedups_of(
    plain: Callable[[], object],
    others: Sequence[Callable[[], object]],
    clock: Callable[[], float],
) -> list[float]:
    """How many times faster than one piece of work others are: medians of five rounds.

    In every round one runs after the other, so that whatever else is running meets all. Each runs
    once before.

    Args:
        plain: One.
        others: The others.
        clock: Gives seconds.
    """
    works = (plain, *others)
    for work in works:
        work()
    rounds = [[_seconds(work, clock) for work in works] for _ in range(_ROUNDS)]
    return [
        statistics.median(each[0] / each[place] for each in rounds)
        for place in range(1, len(works))
    ]


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


@lru_cache
def speedups(device: torch.device) -> Speedups:
    """How many times faster other formats than float32 are on a device.

    It takes a tenth of a second, once per process and device: a block of the learned prior. The
    global random state is neither read nor moved, and threads are as many as before.
    """
    side_px = _CPU_PX if device.type == "cpu" else _ACCELERATOR_PX
    generator = torch.Generator(device).manual_seed(0)
    network = PriorSpec(blocks=1).build(generator)
    features = torch.rand(
        1, network.width, side_px, side_px, generator=generator, device=device
    ).contiguous(memory_format=torch.channels_last)

    def run(blocks: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
        with torch.no_grad(), Compute(generator, dtype).autocast():
            blocks(features)[..., :1, :1].cpu()  # waits for the device

    others = [partial(run, network.trunk, torch.bfloat16)]
    if device.type == "cpu" and is_exact():
        whole = Int8Blocks(network.trunk, network.ranges)
        others.append(partial(run, whole, torch.float32))
    with _clock(device) as clock:
        bf16, *int8 = speedups_of(partial(run, network.trunk, torch.float32), others, clock)
    return Speedups(bf16, *int8)


@contextmanager
def _clock(device: torch.device) -> Iterator[Callable[[], float]]:
    """Seconds that work has taken: on a CPU those of one thread, which others cannot lengthen.

    By the clock on the wall a busy machine has shown ratios from 0.5 to 7 where 1.6 is true.
    """
    if device.type != "cpu":
        yield time.perf_counter
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield time.thread_time
    finally:
        torch.set_num_threads(threads)


def number_formats(
    precision: Precision,
    device: torch.device,
    measure: Callable[[torch.device], Speedups] = speedups,
) -> Formats:
    """Number formats of the convolutions.

    Args:
        precision: "fp32"; "bf16"; "int8": that, and elsewhere as "auto"; or "auto": bfloat16 where
            it is at least 1.2 times faster, and int8 where it is so once more.
        device: Where they run.
        measure: Tells how many times faster others are there; only asked for "auto" and "int8".

    Raises:
        ConfigError: for "int8" where it is not exact, or on a GPU.
    """
    if precision == "fp32":
        return Formats(torch.float32, int8=False)
    if precision == "bf16":
        return Formats(torch.bfloat16, int8=False)
    found = measure(device)
    if precision == "int8" and not found.int8:
        raise ConfigError(
            f"precision int8 needs a CPU with VNNI instructions, found {device.type} without; use "
            "auto, bf16 or fp32"
        )
    is_bf16 = found.bf16 >= CLEARLY_FASTER
    float_speed = found.bf16 if is_bf16 else 1.0
    is_int8 = precision == "int8" or found.int8 >= CLEARLY_FASTER * float_speed
    return Formats(torch.bfloat16 if is_bf16 else torch.float32, is_int8)
