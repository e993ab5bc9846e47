"""What a stage says while it runs, and how it hears that it should end.

This module is light: the process that listens to all stages needs nothing else.
"""

from dataclasses import dataclass
from typing import Protocol

FRESH_S = 5.0  # how old the news of a running stage may be
FIRST_LIMIT_S = 1800.0  # until the size of the pair is known: opening the files


@dataclass(frozen=True)
class Patience:
    """How long to wait for a process that should answer.

    Attributes:
        silence_s: Without a sign of life, after which it counts as frozen.
        grace_s: Between asking it to end, ending it, and giving it up.
        beat_s: Between two signs of life.
    """

    silence_s: float = 30.0
    grace_s: float = 10.0
    beat_s: float = 5.0


PATIENCE = Patience()


@dataclass(frozen=True)
class Pulse:
    """What a running stage last said of itself, by the clock of the driver's machine.

    Attributes:
        began_at: Seconds since the epoch of Unix.
        beaten_at: Likewise, of the last sign of life.
        limit_s: How long it may take in all, as reckoned from the size of the pair.
    """

    began_at: float
    beaten_at: float
    limit_s: float


class Progress(Protocol):
    """The way from a running stage to the one who waits for it."""

    def expect(self, limit_s: float) -> None:
        """Say how long the stage may take in all, once the size of the pair is known."""
        ...

    def check(self) -> None:
        """Come here now and then, and before anything is written.

        Raises:
            PairTimeoutError: if the stage should end: it has been given up.
        """
        ...


class Unwatched:
    """Nobody waits."""

    def expect(self, limit_s: float) -> None:
        """Nobody hears it."""

    def check(self) -> None:
        """Nobody asks to end."""


UNWATCHED = Unwatched()
