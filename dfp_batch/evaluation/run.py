"""The front door: ``evaluate(items, methods, output)`` scores every method on every item.

::

    OUTPUT/evaluation.json           what was evaluated, with what, on what
    OUTPUT/parts/<item>.x<s>.parquet rows of an item, as soon as it is finished
    OUTPUT/items.parquet  .csv       a row per item, scale and method; all parts, once it ends
    OUTPUT/summary.parquet .csv .md  written last
    OUTPUT/images/x<s>/<method>/<item>.png   with ``images``: what was scored
    OUTPUT/sources/x<s>/<item>_A.png ...     with ``images``: what the methods got

The same call again goes on: rows that are ok are kept, what is missing or failed is computed.
"""

import logging
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import torch

from dfp_batch.core.degradation import SCALES
from dfp_batch.engine import processes
from dfp_batch.errors import ConfigError, RunStoppedError
from dfp_batch.evaluation import summary, tables, work
from dfp_batch.evaluation.items import ItemSet
from dfp_batch.evaluation.methods import External, Method, describe_method
from dfp_batch.evaluation.store import Evaluation, Store
from dfp_batch.evaluation.work import Row, Task
from dfp_batch.io import storage, urls
from dfp_batch.runs.status import Counts


def _no_one_watches(_counts: Counts) -> None:
    pass


@dataclass(frozen=True)
class Options:
    """How to evaluate, apart from what.

    Attributes:
        versus: Method that the others are compared with, item by item; None is the first one.
        images: Also write sources and results.
        workers: Processes; None is one per CPU, or one in all where there is a GPU. One works in
            this process. A script that asks for more needs ``if __name__ == "__main__":``.
        on_progress: Called with the counts of items (each at each scale).
        apart: Every method of an item is work of its own, which counts as an item: a row is kept as
            soon as it is there. For methods that take minutes.
    """

    versus: str | None = None
    images: bool = False
    workers: int | None = None
    on_progress: Callable[[Counts], None] = _no_one_watches
    apart: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers must be >= 1, got {self.workers}")


def evaluate(
    items: ItemSet,
    methods: Mapping[str, Method],
    output: str,
    scales: Sequence[int] = (1, 2),
    options: Options | None = None,
) -> Evaluation:
    """Score every method on every item at every scale.

    Args:
        items: ``item_set(...)``, ``Scenes`` or ``Archive``.
        methods: Compositions of any parts, whatever their scale, and results of others, by name.
        output: Folder, path or URL: empty, or of the same evaluation.
        scales: Of 1, 2, 3 and 4.
        options: How.

    Raises:
        ConfigError: if there is nothing to score, or the folder holds another evaluation.
        RunStoppedError: if a worker died; what was finished is there.
        StorageError: if the folder cannot be written.
    """
    options = options or Options()
    scales = list(dict.fromkeys(scales))
    _check(methods, scales, options)
    url = urls.absolute_url(output)
    tasks = _tasks(items, methods, scales, url if options.images else None)
    order = [(task.item.name, task.item.scale, name) for task in tasks for name in methods]
    if options.apart:
        tasks = [part for task in tasks for part in task.apart()]
    store = Store.open(url, _identity(items, methods, scales, options), order)
    try:
        _score(tasks, store, options)
    finally:
        store.put_together()
    return _summed_up(store, list(methods), options.versus or next(iter(methods)))


def _summed_up(store: Store, methods: Sequence[str], versus: str) -> Evaluation:
    """Write what all rows say together."""
    rows = store.ordered()
    statistics = summary.summarise(rows, methods, versus)
    report = partial(tables.markdown, rows=rows, summary=statistics)
    store.finish(statistics, summary.SCHEMA, report)
    return Evaluation(store.url, rows, statistics)


def split_scales(text: str) -> list[int]:
    """Whole numbers between commas.

    Raises:
        ConfigError: if there is anything else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigError(f"scales must be like 1,2, got {text!r}")
    return [int(part) for part in parts]


def _check(methods: Mapping[str, Method], scales: Sequence[int], options: Options) -> None:
    """Refuse what cannot be done before anything runs."""
    if not methods:
        raise ConfigError("no method to evaluate; give at least one")
    if not scales or not set(scales) <= set(SCALES):
        given = ", ".join(map(str, scales)) or "none"
        raise ConfigError(f"scales must be 1, 2, 3 or 4, got {given}")
    if options.versus is not None and options.versus not in methods:
        raise ConfigError(f"versus must be one of {', '.join(methods)}, got {options.versus!r}")
    for name, method in methods.items():
        if isinstance(method, External) and not any(storage.list_folder(method.url)):
            raise ConfigError(f"{name}: {method.url} holds nothing, expected a folder of results")


def _tasks(
    items: ItemSet, methods: Mapping[str, Method], scales: Sequence[int], images_url: str | None
) -> list[Task]:
    tasks = [Task(items.label, item, methods, images_url) for item in items.items(scales)]
    if not tasks:
        raise ConfigError(f"{items.label} holds no item, there is nothing to evaluate")
    return tasks


def _identity(
    items: ItemSet, methods: Mapping[str, Method], scales: Sequence[int], options: Options
) -> dict[str, Any]:
    """What tells one evaluation from another; the method of comparison does not."""
    return {
        **items.describe(),
        "scales": scales,
        "methods": {name: describe_method(method) for name, method in methods.items()},
        "images": options.images,
    }


def _score(tasks: Sequence[Task], store: Store, options: Options) -> None:
    """Run what is missing; rows are written as they come."""
    pending = list(filter(None, (_pending(task, store) for task in tasks)))
    counts = Counts(total=len(tasks), ok=len(tasks) - len(pending))
    workers = min(options.workers or _default_workers(), len(pending))
    results = _in_this_process(pending) if workers <= 1 else _in_pool(pending, workers, store.url)
    options.on_progress(counts)
    with closing(results):
        for running, rows in results:
            store.add(rows)
            if all(row["status"] == "ok" for row in rows):
                counts.ok += 1
            else:
                counts.failed += 1
            counts.running = running
            options.on_progress(counts)


def _pending(task: Task, store: Store) -> Task | None:
    """The task with the methods that have no row yet, or None."""
    item = task.item
    missing = {
        name: method
        for name, method in task.methods.items()
        if (item.name, item.scale, name) not in store.rows
    }
    return replace(task, methods=missing) if missing else None


def _default_workers() -> int:
    return 1 if torch.cuda.is_available() else os.cpu_count() or 1


# Rows of finished tasks, each with the number of tasks still running.
_Results = Generator[tuple[int, list[Row]]]


def _in_this_process(tasks: Sequence[Task]) -> _Results:
    threads = torch.get_num_threads(), cv2.getNumThreads()
    processes.use_one_thread()
    try:
        for task in tasks:
            yield 0, work.run(task)
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def _in_pool(tasks: Sequence[Task], workers: int, url: str) -> _Results:
    def died(held: Sequence[Task]) -> RunStoppedError:
        return RunStoppedError(
            "a worker process died, out of memory perhaps, while working on "
            f"{', '.join(task.what for task in held)}; what was finished is in {url}, and the same "
            "command goes on from here"
        )

    level = logging.getLogger("dfp_batch").getEffectiveLevel()
    with processes.fresh(workers, _start_worker, level) as pool:
        yield from processes.results(pool, workers, work.run, tasks, died)


def _start_worker(log_level: int) -> None:
    logging.getLogger("dfp_batch").setLevel(log_level)
    processes.use_one_thread()
