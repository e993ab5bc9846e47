"""Signs of life of running stages, through an actor beside the driver.

The actor holds nothing that matters: without it stages run on, unwatched.
"""

import threading
import time
from collections.abc import Iterable
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from dfp_batch.engine.progress import FIRST_LIMIT_S, Patience, Pulse
from dfp_batch.errors import PairTimeoutError

Handle = Any  # of an actor, or a reference: Ray gives them no type


class PulseBoard:
    """Who runs, since when, and who was asked to end; keys are numbers of the executor."""

    def __init__(self) -> None:
        self._pulses: dict[int, Pulse] = {}
        self._asked: set[int] = set()

    def beat(self, key: int, ran_s: float, limit_s: float) -> bool:
        """Take a sign of life, and say whether the stage should end.

        Args:
            key: Of the stage.
            ran_s: How long it has run.
            limit_s: How long it may.
        """
        now = time.time()
        self._pulses[key] = Pulse(now - ran_s, now, limit_s)
        return key in self._asked

    def ask_to_end(self, key: int) -> None:
        """Let the next sign of life be answered with it."""
        self._asked.add(key)

    def read(self, ended: Iterable[int]) -> dict[int, Pulse]:
        """All that run, after forgetting those that have ended."""
        for key in ended:
            self._pulses.pop(key, None)
            self._asked.discard(key)
        return self._pulses

    def has_begun(self, key: int) -> bool:
        """Whether the stage has ever given a sign of life."""
        return key in self._pulses


class Heart:
    """Progress of one stage: made by the driver, a context in the worker.

    A thread beats. The first beat is answered before the stage begins, so that the death of a
    process before is not counted against the pair.

    Args:
        board: Handle of a ``PulseBoard``.
        key: Of the stage.
        patience: Of the one who waits.
    """

    def __init__(self, board: Handle, key: int, patience: Patience) -> None:
        self._board = board
        self._key = key
        self._patience = patience

    def __enter__(self) -> "Heart":
        self._began = self._ticked = time.monotonic()
        self._limit_s = FIRST_LIMIT_S
        self._asked = False
        self._over = threading.Event()
        self._beat(self._patience.silence_s)  # in a new process the way there takes a while
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def expect(self, limit_s: float) -> None:
        """As ``Progress.expect``; told with the next beat."""
        self._limit_s = limit_s

    def check(self) -> None:
        """As ``Progress.check``.

        A process that was frozen meanwhile has been given up, too, and does not know it.
        """
        silent_s = time.monotonic() - self._ticked
        if self._asked or silent_s > self._patience.silence_s:
            reason = "asked to" if self._asked else f"stood still for {silent_s:.0f} s"
            raise PairTimeoutError(f"ended, since it was {reason}")

    def _run(self) -> None:
        while not self._over.wait(self._patience.beat_s):
            self._beat(self._patience.beat_s)

    def _beat(self, timeout_s: float) -> None:
        now = time.monotonic()
        if (
            now - self._ticked <= self._patience.silence_s
        ):  # else frozen: the state stays what it is
            self._ticked = now
        try:
            beat = self._board.beat.remote(self._key, now - self._began, self._limit_s)
            self._asked = bool(ray.get(beat, timeout=timeout_s)) or self._asked
        except (RayError, GetTimeoutError):
            return  # unwatched until it answers again
