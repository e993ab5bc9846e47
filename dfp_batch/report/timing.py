"""When a run worked: hours, and finished items over time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MOST_BINS = 60
_STAGES = ("t_prepare_s", "t_reconstruct_s", "t_publish_s")
_HOUR_S = 3600.0
_MICROSECONDS = 1e6


@dataclass(frozen=True)
class Bin:
    """Attempts that ended in one stretch of time.

    Attributes:
        session: Number of the session, from 1.
        starts_at: ISO 8601.
        minutes: Length.
        ok: That ended with a result.
        failed: That ended without.
    """

    session: int
    starts_at: str
    minutes: float
    ok: int
    failed: int


def hours_on_the_clock(attempts: pa.Table) -> float:
    """From the first start to the last end of every session, summed."""
    spans = [(ends.max() - starts.min()) for _, starts, ends, _ in _sessions(attempts)]
    return sum(map(float, spans)) / _HOUR_S


def task_hours(attempts: pa.Table) -> float:
    """That the stages of all attempts have taken; those that failed say nothing."""
    return sum(pc.sum(attempts[name]).as_py() or 0.0 for name in _STAGES) / _HOUR_S


def throughput(attempts: pa.Table) -> list[Bin]:
    """Ends of attempts over working time: sessions one after the other, at most 60 bins in all."""
    sessions = list(_sessions(attempts))
    length = sum(float(ends.max() - starts.min()) for _, starts, ends, _ in sessions)
    width = max(1.0, length / max(1, MOST_BINS - len(sessions)))
    return [
        one for number, session in enumerate(sessions, 1) for one in _bins(number, session, width)
    ]


_Session = tuple[int, NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]


def _sessions(attempts: pa.Table) -> Iterator[_Session]:
    """Epoch, starts, ends (seconds since that of Unix) and outcomes of what a session has tried."""
    tried = attempts.filter(
        pc.and_(pc.not_equal(attempts["status"], "requeued"), pc.is_valid(attempts["finished_at"]))
    )
    starts, ends = (
        tried[name].cast(pa.int64()).to_numpy() / _MICROSECONDS
        for name in ("started_at", "finished_at")
    )
    ok = pc.equal(tried["status"], "ok").to_numpy()
    epochs = tried["epoch"].to_numpy()
    for epoch in np.unique(epochs):
        own = epochs == epoch
        yield int(epoch), starts[own], ends[own], ok[own]


def _bins(number: int, session: _Session, width_s: float) -> Iterator[Bin]:
    _, starts, ends, ok = session
    first = float(starts.min())
    place = ((ends - first) / width_s).astype(int)
    count = int(place.max()) + 1
    good, bad = np.bincount(place[ok], minlength=count), np.bincount(place[~ok], minlength=count)
    for index in range(count):
        at = np.datetime64(int(first + index * width_s), "s")
        yield Bin(number, f"{at}Z", width_s / 60, int(good[index]), int(bad[index]))
