"""What processes make beside a training: the examples to learn from, and batches ahead of steps.

The result depends neither on how many there are nor on which of them made what.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from dfp_batch.engine.processes import fresh, use_one_thread
from dfp_batch.training.checkpoints import Session

Random = np.random.Generator
Drawn = TypeVar("Drawn")


def examples(
    make: Callable[[tuple[int, int]], NDArray[Any]], count: int, seed: int, processes: int = 1
) -> NDArray[Any]:
    """Examples in the order of their numbers, (count, ...).

    Args:
        make: Makes the one of a seed (seed, number); several processes pickle it.
        count: How many.
        seed: Of all randomness.
        processes: That make them; 1 is this one.
    """
    seeds = [(seed, number) for number in range(count)]
    if processes <= 1:
        return np.stack([make(each) for each in seeds])
    with fresh(processes) as pool:
        return np.stack(list(pool.map(make, seeds, chunksize=8)))


@lru_cache(maxsize=2)
def opened(path: Path) -> NDArray[Any]:
    """The array in a file, which all processes share."""
    return np.asarray(np.load(path, mmap_mode="r"))


def drawn_ahead(
    draw: Callable[[Random], Drawn], seed: int, steps: range, session: Session
) -> Iterable[Drawn]:
    """The batches of some steps, in their order.

    Every step has a generator of its own: there is nothing to restore after an interruption.

    Args:
        draw: Makes a batch of tensors; several processes pickle it.
        seed: Of all randomness.
        steps: Their numbers.
        session: Its processes draw ahead, unless it has only one; for a GPU the batches lie in
            memory that it reads without waiting.
    """
    several = session.processes > 1 and len(steps) > 0
    return DataLoader(
        _Steps(draw, seed, steps),
        batch_size=None,
        num_workers=session.processes if several else 0,
        multiprocessing_context="spawn" if several else None,
        worker_init_fn=_start if several else None,
        pin_memory=torch.device(session.device).type == "cuda",
        generator=torch.Generator(),  # which only seeds what the processes do not use
    )


def _start(_: int) -> None:
    use_one_thread()


@dataclass(frozen=True)
class _Steps(Dataset[Drawn], Generic[Drawn]):
    """The batch of every step."""

    draw: Callable[[Random], Drawn]
    seed: int
    steps: range

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Drawn:
        return self.draw(np.random.default_rng((self.seed, self.steps[index])))
