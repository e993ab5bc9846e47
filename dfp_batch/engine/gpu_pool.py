"""Actors that hold a share of a GPU each; as many as there is work for, and fairly many.

Other runs on the cluster are seen by their pulse boards. Where there are more runs than slots, each
gives its actors back after a while, at the end of a pair; whoever waits longest is next.

A pair for which a share was too little gets a worker of its own with a whole GPU. Until it has one,
the workers of one GPU go as they end their pairs, and no other takes their place. Where other runs
hold every GPU all the same, the run goes on with shares, and tries again later.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from dfp_batch.engine.attempt import Job, perform
from dfp_batch.engine.executor import Work
from dfp_batch.engine.nodes import Nodes
from dfp_batch.engine.processes import use_one_thread
from dfp_batch.engine.pulse import Handle, Heart
from dfp_batch.engine.stages import Report
from dfp_batch.errors import ExecutorLostError

FALSE_STARTS = 3  # of workers, one after the other
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
_FREE_MEMORY_S = 60.0
_STAND_BACK_S = 2.0  # Ray does not always serve first who asked first
_WHOLE_PAUSES = 5  # as long as the wait for a whole GPU, before the next
_CONTEXT_BYTES = 700 * 2**20  # what CUDA takes in every process, besides what torch allocates
_DRIVER = Path("/dev/nvidiactl")

Place = tuple[str, tuple[str, ...]]  # a node and its devices


class FusionWorker:
    """Holds a share of a GPU, and reconstructs one pair at a time.

    Args:
        share: Of the memory of the GPU; a whole one if >= 1.

    Raises:
        RuntimeError: if there is a GPU that cannot be used: a CPU in its place would take for ever.
    """

    def __init__(self, share: float) -> None:
        use_one_thread()
        if torch.cuda.is_available():
            if share < 1:
                _keep_to(share)
        elif _DRIVER.exists() and ray.get_gpu_ids():
            raise RuntimeError(f"torch {torch.__version__} cannot use the GPU of this node")

    def place(self) -> Place:
        """Where it runs; answered once it does."""
        node = str(ray.get_runtime_context().get_node_id())
        return node, tuple(map(str, ray.get_gpu_ids()))

    def run(self, work: Work, job: Job, heart: Heart, *values: object) -> tuple[list[Report], Any]:
        """One stage of one pair."""
        with heart:
            report, value = perform(work, job, values, heart)
        return [report], value


def _keep_to(share: float) -> None:
    """Allocate no more than a share, its context included, and wait until that is free.

    A dead predecessor may still hold it.
    """
    free, total = torch.cuda.mem_get_info()
    own = max(share * total - _CONTEXT_BYTES, share * total / 2)
    torch.cuda.set_per_process_memory_fraction(own / total)
    deadline = time.monotonic() + _FREE_MEMORY_S
    while free < own and time.monotonic() < deadline:
        time.sleep(1)
        free, _ = torch.cuda.mem_get_info()


RemoteFusionWorker = ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=1, num_cpus=0)(
    FusionWorker
)


@dataclass(eq=False)
class _Worker:
    """An actor, for one pair if it has a whole GPU where others share; ``place`` once it runs."""

    actor: Handle
    ready: "ray.ObjectRef[Place]"
    since: float
    is_whole: bool
    place: Place | None = None
    idle_since: float | None = None


@dataclass
class FalseStarts:
    """Workers that died before they began, one after the other; each makes the next wait longer.

    A node on which none begins must not take the others with it, nor be asked all the time.

    Attributes:
        count: Since one has begun.
        not_before: When the next may be started, by the same clock as ``now``.
    """

    count: int = 0
    not_before: float = -math.inf

    def note(self, now: float) -> None:
        """One more."""
        self.not_before = now + min(LONGEST_PAUSE_S, PAUSE_S * 2**self.count)
        self.count += 1

    def forget(self) -> None:
        """One has begun."""
        self.count, self.not_before = 0, -math.inf


@dataclass
class GpuPool:
    """The GPU workers of one run.

    Args:
        nodes: Of the cluster.
        runs: Counts the runs on this cluster, this one among them.
        idle_s: How long a worker may have nothing to do.
        turn_s: How long it may be kept where others wait for it.
        whole_s: How long the run stands still for a whole GPU that others hold.
    """

    nodes: Nodes
    runs: Callable[[], int]
    idle_s: float = 30.0
    turn_s: float = 60.0
    whole_s: float = 60.0
    _workers: list[_Worker] = field(default_factory=list)
    _false_starts: FalseStarts = field(default_factory=FalseStarts)
    _ended_at: float = -math.inf
    _still_since: float | None = None
    _whole_not_before: float = -math.inf

    @property
    def living(self) -> int:
        """Workers that have their GPU."""
        return sum(worker.place is not None for worker in self._workers)

    def starting(self) -> list[Handle]:
        """References that are ready when a worker is."""
        return [worker.ready for worker in self._workers if worker.place is None]

    def take(self, whole: bool) -> Handle | None:
        """A worker that has nothing to do, with a share or a whole GPU, or None."""
        for worker in self._workers:
            fits = worker.is_whole == whole and not self._leaves(worker)
            if worker.idle_since is not None and fits:
                worker.idle_since = None
                return worker.actor
        return None

    def give_back(self, actor: Handle, healthy: bool) -> None:
        """Take a worker back after its stage; a broken one is ended."""
        worker = next((worker for worker in self._workers if worker.actor == actor), None)
        if worker is None:
            return
        if healthy and not worker.is_whole and not self._is_over(worker):
            worker.idle_since = time.monotonic()
        else:
            self.end(actor)

    def end(self, actor: Handle) -> None:
        """End a worker, whatever it does."""
        self._workers = [worker for worker in self._workers if worker.actor != actor]
        self._ended_at = time.monotonic()
        ray.kill(actor)

    def adapt(self, wanted: int, whole: int) -> None:
        """Start and end workers.

        Args:
            wanted: Stages that run or wait, for a share.
            whole: Those for a whole GPU, of which one is done at a time.

        Raises:
            ExecutorLostError: if workers die as they start, and none lives.
        """
        for worker in list(self._workers):
            self._look_at(worker)
        self._stop_waiting(wanted)
        if time.monotonic() >= self._false_starts.not_before:
            self._grow(wanted, whole)
        for worker in list(self._workers):
            if self._is_unused(worker, wanted + whole):
                self.end(worker.actor)

    def _grow(self, wanted: int, whole: int) -> None:
        is_due = time.monotonic() >= self._whole_not_before
        if whole and is_due and not any(worker.is_whole for worker in self._workers):
            self._start(1.0, is_whole=True)
        if self._awaited() is None and not self._stands_back():
            for _ in range(self._sharing(), min(wanted, self._most())):
                self._start(self.nodes.gpus_per_pair, is_whole=False)

    def _stands_back(self) -> bool:
        """Whether others may be waiting for the place of a worker that has just ended."""
        return self._is_crowded() and time.monotonic() - self._ended_at < _STAND_BACK_S

    def _is_crowded(self) -> bool:
        return self.runs() > self.nodes.gpu_slots

    def _stop_waiting(self, wanted: int) -> None:
        """Go on with shares where a whole GPU does not come although none of ours is in the way."""
        awaited, now = self._awaited(), time.monotonic()
        if awaited is None or self._sharing() or not wanted:
            self._still_since = None
        elif self._still_since is None:
            self._still_since = now
        elif now - self._still_since > self.whole_s:
            self.end(awaited.actor)
            self._still_since, self._whole_not_before = None, now + _WHOLE_PAUSES * self.whole_s

    def close(self) -> None:
        """End all of them."""
        for worker in list(self._workers):
            self.end(worker.actor)

    def _start(self, gpus: float, is_whole: bool) -> None:
        actor = RemoteFusionWorker.options(num_gpus=gpus).remote(gpus)
        self._workers.append(_Worker(actor, actor.place.remote(), time.monotonic(), is_whole))

    def _look_at(self, worker: _Worker) -> None:
        """Notice that a worker has begun, or died, or has had its turn."""
        if worker.place is None and is_ready(worker.ready):
            self._welcome(worker)
        elif worker.place is None and not worker.is_whole and self._awaited():
            self.end(worker.actor)  # else it might be given what was cleared for another
        elif worker.idle_since is not None and self._is_over(worker):
            self.end(worker.actor)

    def _welcome(self, worker: _Worker) -> None:
        try:
            worker.place = ray.get(worker.ready)
        except RayError as error:  # died before it began
            self.end(worker.actor)
            self._false_starts.note(time.monotonic())
            is_alone = not any(other.place for other in self._workers)
            if is_alone and self._false_starts.count >= FALSE_STARTS:
                reason = " ".join(str(error).split())
                raise ExecutorLostError(f"stopped: GPU workers do not start: {reason}") from error
        else:
            worker.since = worker.idle_since = time.monotonic()
            self._false_starts.forget()

    def _is_over(self, worker: _Worker) -> bool:
        """Whether a worker between two pairs should go: its node does, or it is another's turn."""
        if self._leaves(worker):
            return True
        if worker.is_whole:
            return False
        if self._awaited() and worker.place == self._cleared():
            return True
        has_had_turn = self._is_crowded() and time.monotonic() - worker.since > self.turn_s
        return has_had_turn or self._sharing() > self._most()

    def _is_unused(self, worker: _Worker, wanted: int) -> bool:
        """Whether a worker has had nothing to do, or waits for a GPU without need, for too long."""
        now = time.monotonic()
        if worker.idle_since is not None:
            return now - worker.idle_since > self.idle_s
        needless = worker.place is None and len(self._workers) > wanted
        return needless and now - worker.since > self.idle_s

    def _leaves(self, worker: _Worker) -> bool:
        return worker.place is not None and worker.place[0] in self.nodes.draining

    def _awaited(self) -> _Worker | None:
        """A worker for a whole GPU that has none yet."""
        waiting = (worker for worker in self._workers if worker.is_whole and worker.place is None)
        return next(waiting, None)

    def _cleared(self) -> Place | None:
        """The GPU that is cleared for it."""
        places = (worker.place for worker in self._workers if not worker.is_whole and worker.place)
        return next(places, None)

    def _sharing(self) -> int:
        return sum(not worker.is_whole for worker in self._workers)

    def _most(self) -> int:
        """This run's part of the slots, rounded up: what is too much waits."""
        return max(1, -(-self.nodes.gpu_slots // max(1, self.runs())))


def is_ready(ref: Handle) -> bool:
    """Whether there is something to get."""
    ready: Iterable[Handle]
    ready, _ = ray.wait([ref], timeout=0, fetch_local=False)
    return bool(ready)
