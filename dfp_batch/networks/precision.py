"""In which number format the convolutions run: bfloat16 where a measurement finds it faster.

What a processor says of itself does not tell: instructions for bfloat16 may bring much or nothing.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

from dfp_batch.core.contracts import Compute, Precision
from dfp_batch.core.degradation import CODE_LENGTH
from dfp_batch.networks.prior_network import PriorSpec

CLEARLY_FASTER = 1.2  # below that noise would decide, and workers of one kind would differ
_ROUNDS = 5
_SCALE = 2
_ACCELERATOR_PX = 768  # a tile of the prior: with 320 an H200 waits for its host in both formats
_CPU_PX = 64  # for the sake of time, which grows with the pixels; the ratio hardly does


def speedup(
    plain: Callable[[], object],
    other: Callable[[], object],
    clock: Callable[[], float],
) -> float:
    """How many times faster than one piece of work another is: median of five rounds.

    In every round one runs after the other, so that whatever else is running meets both. Each runs
    once before.

    Args:
        plain: One.
        other: The other.
        clock: Gives seconds.
    """
    plain()
    other()
    return statistics.median(
        _seconds(plain, clock) / _seconds(other, clock) for _ in range(_ROUNDS)
    )


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


@lru_cache
def bf16_speedup(device: torch.device) -> float:
    """How many times faster bfloat16 is than float32 on a device.

    It takes some tens of milliseconds, once per process and device: a block of the learned prior
    with head and tail. The global random state is neither read nor moved, and threads are as many
    as before.
    """
    side = _CPU_PX if device.type == "cpu" else _ACCELERATOR_PX
    generator = torch.Generator(device).manual_seed(0)
    network = PriorSpec(blocks=1).build(generator)
    low, projected = (
        torch.rand(1, 1, size, size, generator=generator, device=device)
        for size in (side, _SCALE * side)
    )
    code = low.new_zeros(1, CODE_LENGTH)

    def run(dtype: torch.dtype) -> None:
        with torch.no_grad(), Compute(generator, dtype).autocast():
            network(low, projected, code)[..., :1, :1].cpu()  # waits for the device

    with _clock(device) as clock:
        return speedup(lambda: run(torch.float32), lambda: run(torch.bfloat16), clock)


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


def compute_dtype(
    precision: Precision,
    device: torch.device,
    measure: Callable[[torch.device], float] = bf16_speedup,
) -> torch.dtype:
    """Number format of the convolutions.

    Args:
        precision: "fp32", "bf16", or "auto": bfloat16 where it is at least 1.2 times faster.
        device: Where they run.
        measure: Tells how many times faster bfloat16 is there; only asked for "auto".
    """
    if precision == "auto":
        precision = "bf16" if measure(device) >= CLEARLY_FASTER else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32
