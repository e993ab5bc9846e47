"""How much memory tasks ask Ray for: as much as the last ones of their kind took.

So no more of them run on a node than its memory holds, whatever the composition and the pairs.
The first ones ask for nothing, since nothing is known of them.
"""

from collections import defaultdict, deque
from collections.abc import Sequence

from dfp_batch.engine.stages import Report, Stage

_LAST = 64  # tasks, of which the largest counts
_STEP = 256 * 2**20  # bytes: tasks that ask for other resources wait in another queue of Ray


class TaskMemory:
    """Peaks of the last tasks, by the stage that they began with."""

    def __init__(self) -> None:
        self._peaks: defaultdict[Stage, deque[int]] = defaultdict(lambda: deque(maxlen=_LAST))

    def note(self, reports: Sequence[Report]) -> None:
        """What one task took, by the reports of all stages that it ran."""
        peaks = [report.facts.get("peak_rss_bytes") or 0 for report in reports]
        if max(peaks) > 0:
            self._peaks[reports[0].stage].append(max(peaks))

    def needed_bytes(self, stage: Stage, most_bytes: float) -> int:
        """For a task that begins with this stage.

        Args:
            stage: Which one.
            most_bytes: That a node with the CPUs for it has: who asks for more waits for ever.
        """
        peak = max(self._peaks[stage], default=0)
        return min(-(-peak // _STEP) * _STEP, int(most_bytes))
