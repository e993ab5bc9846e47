"""How fast pairs are done, and how long the rest takes: by pixels, since pairs differ in size."""

from collections import deque
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

WINDOW_S = 1800.0  # what was longer ago says little of now
MEGA = 1e6


@dataclass(frozen=True)
class Pace:
    """What ended in the last half hour of a session.

    Attributes:
        pairs: Well or not.
        pixels: Of their results; a pair that failed has none.
        seconds: From its beginning to the last of these ends.
    """

    pairs: int
    pixels: int
    seconds: float

    @property
    def pairs_per_minute(self) -> float | None:
        """None before the first pair."""
        return self.pairs / self.seconds * 60 if self.seconds > 0 and self.pairs else None

    @property
    def megapixels_per_second(self) -> float | None:
        """Of results; None before the first one."""
        return self.pixels / MEGA / self.seconds if self.seconds > 0 and self.pixels else None

    def remaining_s(self, pending: int, mean_pixels: float) -> float | None:
        """How long the pending pairs take.

        Args:
            pending: Their number.
            mean_pixels: Of a pair of this run, those that failed among them.

        Returns:
            Seconds; None where nothing is known, or nothing is left.
        """
        if not pending or not self.pairs or self.seconds <= 0:
            return None
        if not self.pixels or not mean_pixels:
            return pending * self.seconds / self.pairs
        return pending * mean_pixels * self.seconds / self.pixels


class RecentEnds:
    """The pairs that a driver has seen end, of which it forgets all but the last half hour.

    Args:
        began_at: Of the session; seconds since the epoch of Unix.
    """

    def __init__(self, began_at: float) -> None:
        self._began_at = self._last_at = began_at
        self._ends: deque[tuple[float, int]] = deque()
        self._pixels = 0

    def note(self, ended_at: float, pixels: int) -> None:
        """One more, later than those before."""
        self._last_at = ended_at
        self._ends.append((ended_at, pixels))
        self._pixels += pixels
        while self._ends[0][0] <= ended_at - WINDOW_S:
            self._pixels -= self._ends.popleft()[1]

    @property
    def pace(self) -> Pace:
        """As of the last one."""
        seconds = min(WINDOW_S, self._last_at - self._began_at)
        return Pace(len(self._ends), self._pixels, seconds)


def pixels_of(rows: pa.Table) -> pa.ChunkedArray:
    """Pixels of the result of every row, 0 without one."""
    width, height = (pc.cast(rows[name], pa.int64()) for name in ("width_px", "height_px"))
    return pc.fill_null(pc.multiply(width, height), 0)


def pace_of(rows: pa.Table) -> Pace:
    """The pace of one session.

    Args:
        rows: Of it, with times and sizes, one per pair.
    """
    if not rows.num_rows:
        return Pace(0, 0, 0.0)
    times = pc.cast(rows["finished_at"], pa.int64())  # microseconds
    last = pc.max(times).as_py()
    began = pc.min(pc.cast(rows["started_at"], pa.int64())).as_py()
    recent = rows.filter(pc.greater(times, last - int(WINDOW_S * MEGA)))
    pixels = pc.sum(pixels_of(recent)).as_py()
    return Pace(recent.num_rows, pixels, min(WINDOW_S, (last - began) / MEGA))
