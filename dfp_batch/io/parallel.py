"""Many questions to a store at once: each costs little but the time for its answer."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

THREADS = 16
LOOK_EVERY_S = 1.0

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def in_parallel(
    work: Callable[[Item], Answer],
    items: Iterable[Item],
    meanwhile: Callable[[], None] = lambda: None,
    threads: int = THREADS,
) -> Iterator[Answer]:
    """Apply ``work`` in threads; the answers come in the order of the items.

    Args:
        work: Called in a thread of its own; the first exception ends it all.
        items: Taken as they are needed, so that any number of them fits.
        meanwhile: Called about once a second while nothing comes, in the thread of the caller.
        threads: How many.
    """
    pool = ThreadPoolExecutor(threads)
    running: deque[Future[Answer]] = deque()

    def first() -> Answer:
        while not wait([running[0]], LOOK_EVERY_S).done:
            meanwhile()
        return running.popleft().result()

    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) > 2 * threads:
                yield first()
        while running:
            yield first()
    finally:
        pool.shutdown(cancel_futures=True)
