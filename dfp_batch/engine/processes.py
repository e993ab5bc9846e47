"""Work in processes of its own on this machine, each with one thread.

They start fresh: a fork would take over locks of torch's threads, and what was done here before.
"""

import multiprocessing
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

import cv2
import torch

Task = TypeVar("Task")
Result = TypeVar("Result")


def use_one_thread() -> None:
    """Processes run beside each other; what they measure is the time of one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def fresh(
    count: int, start: Callable[..., None] = use_one_thread, *arguments: object
) -> ProcessPoolExecutor:
    """Processes that are started when they are needed.

    Args:
        count: At most so many.
        start: Called first in each of them; by default ``use_one_thread``.
        arguments: For ``start``.
    """
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), start, arguments)


def results(
    pool: ProcessPoolExecutor,
    count: int,
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    died: Callable[[Sequence[Task]], Exception],
) -> Generator[tuple[int, Result]]:
    """Do tasks, no more at a time than there are processes: so it is known what a dead one held.

    Args:
        pool: Of ``count`` processes.
        count: How many.
        work: Done with each task.
        tasks: Taken as processes become free.
        died: Makes the error of the tasks that were in work when a process died.

    Yields:
        How many tasks are still in work, and the result of one, as they come.

    Raises:
        Exception: what ``work`` raised, or what ``died`` made.
    """
    waiting = iter(tasks)
    running: dict[Future[Result], Task] = {}
    try:
        while True:
            for task in islice(waiting, count - len(running)):
                running[pool.submit(work, task)] = task
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(finished, key=lambda future: future.exception() is not None):
                result = future.result()
                del running[future]
                yield len(running), result
    except BrokenProcessPool as error:
        raise died(list(running.values())) from error
