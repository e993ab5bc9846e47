"""What the scheduler and an executor say to each other: small values that travel between processes.

The scheduler knows pairs, an executor knows processes; a number joins the two. Values between the
stages (pixels) stay with the executor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dfp_batch.engine.progress import Pulse
from dfp_batch.engine.stages import Report, Stage
from dfp_batch.engine.telemetry import Figures
from dfp_batch.runs.manifest import Pair


@dataclass(frozen=True)
class Work:
    """One stage of one attempt at one pair.

    Attributes:
        number: Of the attempt, unique in a session; the same for all of its stages.
        stage: Which one.
        pair: What to do.
        relief: How often memory was short before, 0 to 3: smaller tiles, then fewer neighbours,
            or a whole GPU in place of a share, then more memory.
        adopt: Whether an earlier attempt may have left a whole result that only lost its row.
        compare_floor: Whether the classical floor is made, too, to be compared with.
        at_once: Whether the stages that follow may be run with it. If that fails, they are run one
            by one: then it is known which one ends its process.
        facts: Columns of the row that the stages before have found.
    """

    number: int
    stage: Stage
    pair: Pair
    relief: int = 0
    adopt: bool = False
    compare_floor: bool = True
    at_once: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Completion:
    """A stage of an attempt ended, well or not."""

    number: int
    report: Report


class Executor(Protocol):
    """Runs stages somewhere."""

    def capacity(self, stage: Stage) -> int:
        """How many attempts may be in this stage at once, >= 1; it follows the cluster."""
        ...

    @property
    def memory_bytes(self) -> int:
        """How much the values between the stages may take together."""
        ...

    def explain(self) -> str:
        """What there is and what of it is free, for a message to people."""
        ...

    def start(self, work: Work) -> None:
        """Begin a stage as soon as there is room; its end comes out of ``wait``."""
        ...

    def wait(self, timeout_s: float) -> list[Completion]:
        """What has ended since, after at most about ``timeout_s``.

        Raises:
            ExecutorLostError: if it can run nothing any more; all it held is lost.
        """
        ...

    def pulses(self) -> Mapping[int, Pulse]:
        """Of the attempts whose stage has begun; one that is absent still waits for room."""
        ...

    def cancel(self, number: int) -> None:
        """Ask a stage to end by itself."""
        ...

    def kill(self, number: int) -> None:
        """End the process a stage runs in; the completion that follows may still be a success."""
        ...

    def drop(self, number: int) -> None:
        """Forget an attempt and its values; nothing more is heard of it."""
        ...

    def show(self, figures: Figures) -> None:
        """Show the session to those who monitor the cluster."""
        ...
