"""Figures of a session as metrics of Ray, which every node of a cluster offers to Prometheus.

Ray puts ``ray_`` before the names. Times of stages are a sum and a number, not a histogram: Ray
keeps of each value only in which bucket it falls, and makes the sum up.
"""

import logging
from collections.abc import Iterator, Mapping

from ray.util.metrics import Counter, Gauge

from dfp_batch.engine.telemetry import Figures

log = logging.getLogger(__name__)

_Labels = tuple[str, ...]
GAUGES: Mapping[str, tuple[str, _Labels]] = {
    "dfp_batch_pairs": ("Pairs of the run by state.", ("state",)),
    "dfp_batch_running": ("Pairs in each stage, those that wait for room among them.", ("stage",)),
    "dfp_batch_workers": ("CPUs for stages, and processes that hold a GPU.", ("device",)),
    "dfp_batch_heartbeat_timestamp_seconds": ("When the driver was last seen.", ()),
    "dfp_batch_last_pair_timestamp_seconds": ("When a pair last ended, or the session began.", ()),
    "dfp_batch_end_timestamp_seconds": ("When the session ended.", ()),
    "dfp_batch_remaining_seconds": ("Until the pending pairs are done.", ()),
}
COUNTERS: Mapping[str, tuple[str, _Labels]] = {
    "dfp_batch_attempts_total": ("Attempts at pairs that have ended.", ("status", "category")),
    "dfp_batch_retries_total": ("Attempts that were not the first of their pair.", ()),
    "dfp_batch_stages_total": ("Stages that have ended.", ("stage",)),
    "dfp_batch_stage_seconds_total": ("What these took together.", ("stage",)),
    "dfp_batch_output_pixels_total": ("Pixels of results.", ()),
    "dfp_batch_output_bytes_total": ("Bytes of results.", ()),
}
_Value = tuple[str, dict[str, str], float]  # of a metric, with its labels


class Meters:
    """Shows figures; what is wrong with that is nobody's trouble but that of who debugs."""

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        self._shown: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def show(self, figures: Figures, workers: Mapping[str, int]) -> None:
        """Show a session as it is.

        Args:
            figures: Of the session.
            workers: CPUs and GPU workers, by device.
        """
        try:
            for name, labels, value in _gauge_values(figures, workers):
                self._gauge(name).set(value, {"run": figures.run, **labels})
            for name, labels, value in _counter_values(figures):
                self._raise(name, {"run": figures.run, **labels}, value)
        except Exception:
            log.debug("no metrics", exc_info=True)

    @property
    def names(self) -> set[str]:
        """Of what has been shown so far."""
        return {*self._gauges, *self._counters}

    def _gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            text, labels = GAUGES[name]
            self._gauges[name] = Gauge(name, text, ("run", *labels))
        return self._gauges[name]

    def _raise(self, name: str, labels: dict[str, str], value: float) -> None:
        """Let a counter stand at a value, from which it may differ by what has come since."""
        key = (name, frozenset(labels.items()))
        more = value - self._shown.get(key, 0.0)
        if more <= 0:
            return
        if name not in self._counters:
            text, others = COUNTERS[name]
            self._counters[name] = Counter(name, text, ("run", *others))
        self._counters[name].inc(more, labels)
        self._shown[key] = value


def _gauge_values(figures: Figures, workers: Mapping[str, int]) -> Iterator[_Value]:
    for state, count in figures.pairs.items():
        yield "dfp_batch_pairs", {"state": state}, count
    for stage, count in figures.running.items():
        yield "dfp_batch_running", {"stage": str(stage)}, count
    for device, count in workers.items():
        yield "dfp_batch_workers", {"device": device}, count
    yield "dfp_batch_heartbeat_timestamp_seconds", {}, figures.heartbeat_at
    yield "dfp_batch_last_pair_timestamp_seconds", {}, figures.last_pair_at
    if figures.ended_at is not None:
        yield "dfp_batch_end_timestamp_seconds", {}, figures.ended_at
    if figures.remaining_s is not None:
        yield "dfp_batch_remaining_seconds", {}, figures.remaining_s


def _counter_values(figures: Figures) -> Iterator[_Value]:
    for (status, category), count in figures.attempts.items():
        yield "dfp_batch_attempts_total", {"status": status, "category": category}, count
    yield "dfp_batch_retries_total", {}, figures.retries
    for stage, count in figures.stage_ends.items():
        yield "dfp_batch_stages_total", {"stage": str(stage)}, count
        seconds = figures.stage_seconds[stage]
        yield "dfp_batch_stage_seconds_total", {"stage": str(stage)}, seconds
    yield "dfp_batch_output_pixels_total", {}, figures.output_pixels
    yield "dfp_batch_output_bytes_total", {}, figures.output_bytes
