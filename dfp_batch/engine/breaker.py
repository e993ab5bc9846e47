"""When to stop a run that is only burning money."""

from dataclasses import dataclass

from dfp_batch.engine.stages import Failure


@dataclass
class Breaker:
    """Counts the pairs that end in this session and had not failed in an earlier one.

    Bad input is the archive's own matter and says nothing about the next pair: it never opens the
    breaker. Nor does what failed before, or the same command would not get beyond it.

    Attributes:
        max_failure_rate: Of these pairs, looked at from ``AFTER`` pairs on.
    """

    max_failure_rate: float = 0.2
    finished: int = 0
    failed: int = 0
    alike: int = 0
    last: tuple[str, str] | None = None

    AFTER = 50
    ALIKE = 20

    def note(self, failure: Failure | None) -> str | None:
        """Count one pair, and say why to stop, if so: too many failed, or in a row alike."""
        ours = failure if failure and failure.category != "input" else None
        self.finished += 1
        self.failed += ours is not None
        kind = (ours.category, ours.error_type) if ours else None
        self.alike = 1 + self.alike * (kind == self.last) if kind else 0
        self.last = kind
        if self.finished >= self.AFTER and self.failed > self.max_failure_rate * self.finished:
            return (
                f"stopped: {self.failed} of {self.finished} pairs failed, bad input not counted, "
                f"more than {self.max_failure_rate:.0%}; see the last errors, or raise "
                "--max-failure-rate"
            )
        if ours and self.alike >= self.ALIKE:
            return (
                f"stopped: {self.alike} pairs in a row failed alike; the last with "
                f"{ours.error_type} ({ours.category}): {ours.message}"
            )
        return None
