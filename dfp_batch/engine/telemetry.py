"""What a driver tells of its session to those who monitor the cluster: counts, sums and times.

The driver adds up; the process that has Ray (:mod:`dfp_batch.engine.meters`) shows it. Sums begin
at zero with every Ray, since what an earlier one has shown stays with its node; counts of pairs are
those of the run. Lost figures do no harm: the next ones hold all of them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from dfp_batch.engine.stages import Stage
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.pace import RecentEnds
from dfp_batch.runs.status import Counts

EVERY_S = 2.0  # what is not told between two reports of Ray (10 s), Ray forgets


@dataclass(frozen=True)
class Figures:
    """A session at one moment.

    Attributes:
        run: URL of the run directory.
        pairs: Of the run, by state: done, failed, quarantined, running, pending.
        running: Pairs in each stage, those that wait for room among them.
        attempts: Ended, by status and category of the error, or "".
        retries: Attempts that were not the first of their pair.
        stage_ends: Stages that have ended.
        stage_seconds: What they took together.
        output_pixels: Of all results.
        output_bytes: Of their files.
        heartbeat_at: When the driver said this; seconds since the epoch of Unix.
        last_pair_at: When the last pair ended, or the session began.
        ended_at: When the session ended, or None.
        remaining_s: Until the pending pairs are done, if that is known.
    """

    run: str
    pairs: Mapping[str, int]
    running: Mapping[Stage, int]
    attempts: Mapping[tuple[str, str], int]
    retries: int
    stage_ends: Mapping[Stage, int]
    stage_seconds: Mapping[Stage, float]
    output_pixels: int
    output_bytes: int
    heartbeat_at: float
    last_pair_at: float
    ended_at: float | None = None
    remaining_s: float | None = None


@dataclass
class Telemetry:
    """Adds up what happens in a session while one Ray lives.

    Args:
        run: URL of the run directory.
        counts: Of the run, which somebody else keeps.
        began_at: Seconds since the epoch of Unix.
    """

    run: str
    counts: Counts
    began_at: float
    _attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _ends: Counter[Stage] = field(default_factory=Counter)
    _seconds: dict[Stage, float] = field(default_factory=lambda: dict.fromkeys(Stage, 0.0))
    _retries: int = 0
    _pixels: int = 0
    _bytes: int = 0
    _told_at: float = 0.0

    def __post_init__(self) -> None:
        self._recent = RecentEnds(self.began_at)
        self._last_pair_at = self.began_at
        self._ended_before = self._ended

    def note(self, row: PairRecord) -> None:
        """Add an attempt."""
        facts = row.facts
        self._attempts[row.status, row.category or ""] += 1
        self._retries += row.attempt > 1
        for stage in Stage:
            if (seconds := facts.get(f"t_{stage}_s")) is not None:
                self._ends[stage] += 1
                self._seconds[stage] += seconds
        pixels = (facts.get("width_px") or 0) * (facts.get("height_px") or 0)
        self._pixels += pixels
        self._bytes += facts.get("output_bytes") or 0
        self._last_pair_at = row.finished_at
        self._recent.note(row.finished_at, pixels)

    def due(self, now: float, running: Mapping[Stage, int]) -> Figures | None:
        """The figures, every few seconds.

        Args:
            now: Seconds since the epoch of Unix.
            running: Pairs in each stage.
        """
        if now - self._told_at < EVERY_S:
            return None
        self._told_at = now
        return self._figures(now, running)

    def last(self, now: float) -> Figures:
        """The figures of a session that ends now."""
        return self._figures(now, dict.fromkeys(Stage, 0), ended_at=now)

    def _figures(
        self, now: float, running: Mapping[Stage, int], ended_at: float | None = None
    ) -> Figures:
        return Figures(
            self.run,
            self._pairs(),
            dict(running),
            dict(self._attempts),
            self._retries,
            dict(self._ends),
            dict(self._seconds),
            self._pixels,
            self._bytes,
            heartbeat_at=now,
            last_pair_at=self._last_pair_at,
            ended_at=ended_at,
            remaining_s=self._remaining_s(),
        )

    def _pairs(self) -> dict[str, int]:
        counts = self.counts
        states = {
            "done": counts.ok,
            "failed": counts.failed,
            "quarantined": counts.quarantined,
            "running": counts.running,
        }
        return states | {"pending": max(0, counts.total - sum(states.values()))}

    @property
    def _ended(self) -> int:
        return self.counts.ok + self.counts.failed

    def _remaining_s(self) -> float | None:
        """At the pace of the last half hour; pairs are taken to be like those of this session."""
        left = max(0, self.counts.total - self._ended - self.counts.quarantined)
        mean_pixels = self._pixels / max(1, self._ended - self._ended_before)
        return self._recent.pace.remaining_s(left, mean_pixels)
