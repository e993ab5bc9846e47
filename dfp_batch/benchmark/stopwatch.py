"""Seconds and calls of every step, by wrapping the steps while an item is fused."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from functools import wraps
from typing import Any

from dfp_batch.alignment.stack import Stack
from dfp_batch.alignment.stack_alignment import StackAlignment
from dfp_batch.config.registry import name_of
from dfp_batch.core.part import Part
from dfp_batch.engine import prepare, single
from dfp_batch.engine.frames import Frames
from dfp_batch.io import storage
from dfp_batch.pipeline import steps
from dfp_batch.pipeline.composition import FusionConfig

DECODE = "decode"
_READ = "bytes"
_ROWS = "in_rows"
# What is no part of a composition: where it stands, and what it is called.
_PLACES: tuple[tuple[object, str, str], ...] = (
    (Frames, "decoded", DECODE),
    (Stack, "draft", "warp"),
    (Stack, "grey", "warp"),
    (Stack, "preview", "warp"),
    (Stack, "full_quality", "warp"),
    (Stack, "rows", "warp"),
    (prepare, "align_stack", "register"),
    (StackAlignment, "with_spots", "spots"),
    (steps, "cross_scale_gain_db", "self-check"),
    (single, "finished_frame", "encode"),
    (single, "encoded", "encode"),
    (single, "encode_indices", "encode"),
)


class Stopwatch:
    """What was done while it ran.

    Attributes:
        seconds: Of processor time by step, without that of the steps within it.
        calls: By step.
        read_bytes: Of files that were read whole.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self.read_bytes = 0
        self._within = [0.0]

    @contextmanager
    def running(self, config: FusionConfig) -> Iterator[None]:
        """Watch the steps of a composition."""
        parts = {type(part) for part in _parts(config)}
        places = [*_PLACES, *((kind, "__call__", name_of(kind)) for kind in parts)]
        makers = [kind for kind in parts if _ROWS in vars(kind)]
        places += [(kind, _ROWS, name_of(kind)) for kind in makers]
        with ExitStack() as ending:
            for owner, name, step in places:
                before = getattr(owner, name)
                wrap = self._timed_each if name == _ROWS else self._timed
                setattr(owner, name, wrap(before, step))
                ending.callback(setattr, owner, name, before)
            read = storage.read_bytes
            storage.read_bytes = self._counted(read)
            ending.callback(setattr, storage, "read_bytes", read)
            yield

    def _timed_each(
        self, function: Callable[..., Iterator[Any]], step: str
    ) -> Callable[..., Iterator[Any]]:
        """Of what makes one thing after the other."""

        @wraps(function)
        def timed(*arguments: Any, **options: Any) -> Iterator[Any]:  # noqa: ANN401 - of any function
            made = function(*arguments, **options)
            following = self._timed(lambda: next(made, None), step)
            while (one := following()) is not None:
                yield one

        return timed

    def _timed(self, function: Callable[..., Any], step: str) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - of any function
            self._within.append(0.0)
            start = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                taken = time.process_time() - start
                inner = self._within.pop()
                self._within[-1] += taken
                self.seconds[step] += taken - inner
                self.calls[step] += 1

        return timed

    def _counted(self, read: Callable[..., bytes]) -> Callable[..., bytes]:
        @wraps(read)
        def counted(*arguments: Any, **options: Any) -> bytes:  # noqa: ANN401
            data = read(*arguments, **options)
            self.read_bytes += len(data)
            return data

        return counted


def _parts(part: object) -> Iterator[Part]:
    """All parts of a composition that are called, with those within them."""
    for field in fields(part):  # type: ignore[arg-type]
        inner = getattr(part, field.name)
        if isinstance(inner, Part):
            if callable(inner):
                yield inner
            yield from _parts(inner)
