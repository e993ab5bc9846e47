"""Actors that hold a share of a GPU each; as many as there is work for, and fairly many.

Other runs on the cluster are seen by their pulse boards. Where there are more runs than slots, each
gives its actors back after a while, at the end of a pair; whoever waits longest is next.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from dfp_batch.engine.attempt import Job, perform
from dfp_batch.engine.executor import Work
from dfp_batch.engine.nodes import Nodes
from dfp_batch.engine.pulse import Handle, Heart
from dfp_batch.engine.stages import Report

IDLE_S = 30.0
TURN_S = 60.0
_FREE_MEMORY_S = 60.0


class FusionWorker:
    """Holds a share of a GPU, and optimises one pair at a time.

    Args:
        share: Of the memory of the GPU; a whole one if >= 1.
    """

    def __init__(self, share: float) -> None:
        torch.set_num_threads(1)
        if 0 < share < 1 and torch.cuda.is_available():
            _await_memory(share)
            torch.cuda.set_per_process_memory_fraction(share)

    def node(self) -> str:
        """Where it runs; answered once it does."""
        return str(ray.get_runtime_context().get_node_id())

    def run(self, work: Work, job: Job, heart: Heart, *values: object) -> tuple[Report, Any]:
        """One stage of one pair."""
        with heart:
            return perform(work, job, values, heart)


def _await_memory(share: float) -> None:
    """Wait until the device has it free: a dead predecessor may still hold it."""
    deadline = time.monotonic() + _FREE_MEMORY_S
    while time.monotonic() < deadline:
        free, total = torch.cuda.mem_get_info()
        if free >= share * total:
            return
        time.sleep(1)


RemoteFusionWorker = ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=1, num_cpus=0)(
    FusionWorker
)


@dataclass
class _Worker:
    actor: Handle
    ready: "ray.ObjectRef[str]"
    since: float
    node: str | None = None
    idle_since: float | None = None


@dataclass
class GpuPool:
    """The GPU workers of one run.

    Args:
        nodes: Of the cluster.
        runs: Counts the runs on this cluster, this one among them.
    """

    nodes: Nodes
    runs: Callable[[], int]
    _workers: list[_Worker] = field(default_factory=list)

    def starting(self) -> list[Handle]:
        """References that are ready when a worker is."""
        return [worker.ready for worker in self._workers if worker.node is None]

    def take(self) -> Handle | None:
        """A worker that has nothing to do, or None."""
        for worker in self._workers:
            if worker.idle_since is not None and worker.node not in self.nodes.draining:
                worker.idle_since = None
                return worker.actor
        return None

    def give_back(self, actor: Handle, healthy: bool) -> None:
        """Take a worker back after its stage; a broken one is ended."""
        worker = self._of(actor)
        if worker is None:
            return
        if healthy and not self._is_over(worker):
            worker.idle_since = time.monotonic()
        else:
            self.end(actor)

    def end(self, actor: Handle) -> None:
        """End a worker, whatever it does."""
        self._workers = [worker for worker in self._workers if worker.actor != actor]
        ray.kill(actor)

    def adapt(self, wanted: int) -> None:
        """Start and end workers: ``wanted`` stages run or wait."""
        for worker in list(self._workers):
            self._look_at(worker)
        for _ in range(len(self._workers), min(wanted, self._most())):
            self._start()
        if not wanted:
            for worker in list(self._workers):
                idle_s = time.monotonic() - (worker.idle_since or worker.since)
                if idle_s > IDLE_S:
                    self.end(worker.actor)

    def close(self) -> None:
        """End all of them."""
        for worker in list(self._workers):
            self.end(worker.actor)

    def _start(self) -> None:
        share = self.nodes.gpus_per_pair
        actor = RemoteFusionWorker.options(num_gpus=share).remote(share)
        self._workers.append(_Worker(actor, actor.node.remote(), time.monotonic()))

    def _look_at(self, worker: _Worker) -> None:
        """Notice that a worker has begun, or died, or has had its turn."""
        now = time.monotonic()
        if worker.node is None and _is_ready(worker.ready):
            try:
                worker.node = ray.get(worker.ready)
                worker.since = worker.idle_since = now
            except RayError:  # died before it began
                self.end(worker.actor)
        elif worker.idle_since is not None and self._is_over(worker):
            self.end(worker.actor)

    def _is_over(self, worker: _Worker) -> bool:
        """Whether a worker between two pairs should go: its node does, or it is another's turn."""
        if worker.node in self.nodes.draining or len(self._workers) > self._most():
            return True
        crowded = self.runs() > self.nodes.gpu_slots
        return crowded and time.monotonic() - worker.since > TURN_S

    def _most(self) -> int:
        return max(1, self.nodes.gpu_slots // max(1, self.runs()))

    def _of(self, actor: Handle) -> _Worker | None:
        return next((worker for worker in self._workers if worker.actor == actor), None)


def _is_ready(ref: Handle) -> bool:
    ready: Iterable[Handle]
    ready, _ = ray.wait([ref], timeout=0, fetch_local=False)
    return bool(ready)
