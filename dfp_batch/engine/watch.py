"""What takes too long is asked to end, then ended, then given up. No clock of its own.

That is a stage that gives no sign of life, one that takes longer than it may, and one that was
given to a process that never begins it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dfp_batch.engine.executor import Completion, Executor
from dfp_batch.engine.progress import Patience, Pulse
from dfp_batch.engine.stages import Failure, Report, Stage

LOOK_EVERY_S = 1.0


@dataclass(eq=False)
class Watched:
    """A stage that the executor was given, and how it is being ended, if it is.

    Attributes:
        stage: Which one.
        started_at: When the executor was given it.
        restarts: How often it was given to another process before.
        began: Whether a process has begun it.
        overdue: Why it is being ended, unless it never began.
        asked_at: When it was asked to end.
        killed_at: When its process was ended.
    """

    stage: Stage
    started_at: float
    restarts: int = 0
    began: bool = False
    overdue: Failure | None = None
    asked_at: float = 0.0
    killed_at: float | None = None

    @property
    def in_vain(self) -> bool:
        """It never began, and its process was ended: the pair has no part in that."""
        return self.killed_at is not None and self.overdue is None


class Watch:
    """Knows which stages the executor has, since when, and whether anything moves.

    Args:
        executor: Runs the stages.
        patience: With processes that do not answer.
        clock: Seconds since the epoch of Unix.
    """

    def __init__(self, executor: Executor, patience: Patience, clock: Callable[[], float]) -> None:
        self._executor = executor
        self._patience = patience
        self._clock = clock
        self._stages: dict[int, Watched] = {}
        self._moved_at = self._looked_at = clock()

    @property
    def still_s(self) -> float:
        """How long nothing has begun or ended."""
        return self._clock() - self._moved_at

    @property
    def begun(self) -> int:
        """Stages that are under way."""
        return sum(watched.began for watched in self._stages.values())

    def under_way(self) -> list[tuple[int, Stage, float]]:
        """Numbers and stages that have begun, and when they were started, the oldest first."""
        begun = ((number, one) for number, one in self._stages.items() if one.began)
        return [(number, one.stage, one.started_at) for number, one in begun]

    def start(self, number: int, stage: Stage, restarts: int) -> None:
        """The executor is given a stage of an attempt."""
        self._stages[number] = Watched(stage, self._clock(), restarts)

    def end(self, number: int) -> Watched:
        """A stage has ended, well or not."""
        self._moved_at = self._clock()
        return self._stages.pop(number)

    def look(self) -> list[Completion]:
        """Ask what is late to end, and end what does not; at most once a second.

        Returns:
            The ends of the stages that are given up: nobody else will tell of them.
        """
        now = self._clock()
        if now - self._looked_at < LOOK_EVERY_S:
            return []
        self._looked_at = now
        pulses = self._executor.pulses()
        newest, is_idle = self._note_begun(pulses), self.begun == 0
        given_up = []
        for number, watched in self._stages.items():
            pulse = pulses.get(number)
            if watched.overdue or watched.killed_at:
                given_up += self._press(number, watched, now)
            elif pulse is not None:
                self._hold_to_limits(number, watched, pulse, now)
            elif not watched.began and self._is_stuck(watched, newest[watched.stage], is_idle, now):
                self._kill(number, watched, now)
        return given_up

    def _kill(self, number: int, watched: Watched, now: float) -> None:
        watched.killed_at = now
        self._executor.kill(number)

    def _hold_to_limits(self, number: int, watched: Watched, pulse: Pulse, now: float) -> None:
        silent_s, took_s = now - pulse.beaten_at, now - pulse.began_at
        if silent_s > self._patience.silence_s:  # it would not hear the question either
            text = f"no sign of life for {silent_s:.0f} s"
            self._kill(number, watched, now)
        elif took_s > pulse.limit_s:
            text = f"took longer than the {pulse.limit_s:.0f} s it may for a pair of this size"
            watched.asked_at = now
            self._executor.cancel(number)
        else:
            return
        watched.overdue = Failure("timeout", "PairTimeoutError", f"{watched.stage}: {text}")

    def _note_begun(self, pulses: Mapping[int, Pulse]) -> dict[Stage, float]:
        """When the latest of those stages that have begun was started, by stage."""
        newest = dict.fromkeys(Stage, 0.0)
        for number, pulse in pulses.items():
            watched = self._stages.get(number)
            if watched is None:
                continue
            if not watched.began:
                watched.began = True
                self._moved_at = max(self._moved_at, pulse.began_at)
            newest[watched.stage] = max(newest[watched.stage], watched.started_at)
        return newest

    def _is_stuck(self, watched: Watched, newest: float, is_idle: bool, now: float) -> bool:
        """Whether a stage was given to a process that does not answer, rather than waits for room.

        It is, probably, when others that came later have begun, or when nothing at all moves. If it
        was not, it loses no more than its place.
        """
        patience_s = self._patience.silence_s * 2**watched.restarts
        waited_s = now - watched.started_at
        nothing_moves = is_idle and self.still_s > patience_s
        return waited_s > patience_s and (newest > watched.started_at or nothing_moves)

    def _press(self, number: int, watched: Watched, now: float) -> list[Completion]:
        """After the question the end of the process, and after that the end of patience."""
        if watched.killed_at is None and now - watched.asked_at > self._patience.grace_s:
            self._kill(number, watched, now)
        elif watched.killed_at is not None and now - watched.killed_at > self._patience.grace_s:
            failure = watched.overdue or Failure("transient", "WorkerLostError", "did not begin")
            took_s = now - watched.started_at
            report = Report(watched.stage, watched.started_at, took_s, failure=failure)
            return [Completion(number, report)]
        return []
