"""The first signal asks the driver to stop, the second one ends it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from dfp_batch.errors import RunStoppedError

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Signals:
    """Name of the signal that asked the driver to stop, or ""."""

    name: str = ""

    def ask(self, number: int, _: FrameType | None) -> None:
        """Handle the signal."""
        self.name = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)  # the second one ends the process at once

    def check(self) -> None:
        """Stop if asked to.

        Raises:
            RunStoppedError: if so.
        """
        if self.name:
            raise RunStoppedError(f"stopped by {self.name}; the same command goes on from here")


@contextmanager
def stop_signals() -> Iterator[Signals]:
    """The first SIGINT or SIGTERM asks the driver to stop; only the main thread is told of them."""
    asked = Signals()
    numbers = _STOP_SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, asked.ask) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
