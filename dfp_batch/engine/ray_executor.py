"""The executor on Ray Core: CPU tasks, one actor per accelerator share, nothing retried by Ray.

Ray's own retries are off everywhere: the scheduler knows every pair and decides.
"""

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.actor import ActorHandle
from ray.exceptions import (
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from dfp_batch.config import RunConfig
from dfp_batch.engine import stages
from dfp_batch.engine.optimise import Optimised, optimise
from dfp_batch.engine.prepare import Prepared, prepare
from dfp_batch.engine.publish import publish
from dfp_batch.engine.scheduler import Completion, Item
from dfp_batch.engine.stages import Failure, Report, Stage
from dfp_batch.errors import ConfigError, WorkerLostError
from dfp_batch.manifest import Pair
from dfp_batch.method.pipeline import FusionConfig

_STORE_SHARE = 0.4
TASK_CPUS = 0.5
_TASK_OPTIONS = {"max_retries": 0, "retry_exceptions": False, "num_cpus": TASK_CPUS}


@ray.remote(num_returns=2, max_calls=100, **_TASK_OPTIONS)
def _prepare(pair: Pair, run: RunConfig) -> tuple[Report, Prepared | None]:
    return stages.run_stage(Stage.PREPARE, pair.pair_id, lambda: prepare(pair, run))


@ray.remote(num_returns=2, max_calls=100, **_TASK_OPTIONS)
def _publish(
    pair: Pair, prepared: Prepared, optimised: Optimised, run: RunConfig, run_url: str
) -> tuple[Report, None]:
    return stages.run_stage(
        Stage.PUBLISH,
        pair.pair_id,
        lambda: publish(pair, prepared, optimised, run, run_url),
    )


class FusionWorker:
    """Holds an accelerator, or one CPU thread, and optimises one pair at a time."""

    def __init__(self, config: FusionConfig, gpu_share: float) -> None:
        torch.set_num_threads(1)
        if 0 < gpu_share < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(gpu_share)
        self._config = config

    def optimise(self, pair_id: str, prepared: Prepared) -> tuple[Report, Optimised | None]:
        """The optimise stage of one pair."""
        return stages.run_stage(Stage.OPTIMISE, pair_id, lambda: optimise(prepared, self._config))


_RemoteFusionWorker = ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=1)(
    FusionWorker
)


@dataclass(frozen=True)
class Slots:
    """How a cluster is shared out; why so: docs/decisions/0004-cpu-slots.md.

    Attributes:
        workers: Fusion workers at most.
        cpus_per_worker: Ray CPUs that each reserves.
        gpus_per_worker: Ray GPUs that each reserves; 0 computes on the CPU.
        tasks: CPU tasks of one stage at a time, each reserving ``TASK_CPUS``.
    """

    workers: int
    cpus_per_worker: float
    gpus_per_worker: float
    tasks: int

    @classmethod
    def plan(cls, cpus: int, gpus: float, gpus_per_pair: float) -> "Slots":
        """Share out the GPUs, or without any the CPUs; half of the CPUs are left to the tasks.

        Raises:
            ConfigError: if there is no CPU, or a pair asks for more than the GPUs there are.
        """
        if cpus < 1:
            raise ConfigError(f"the cluster must have at least 1 CPU, it has {cpus}")
        if gpus > 0 and not 0 < gpus_per_pair <= gpus:
            raise ConfigError(f"--gpus-per-pair must be in (0, {gpus:g}], got {gpus_per_pair:g}")
        workers = int(gpus / gpus_per_pair + 1e-9) if gpus > 0 else cpus
        reserved = TASK_CPUS * min(1.0, cpus / workers)
        tasks = int((cpus - workers * reserved) / TASK_CPUS)
        return cls(workers, reserved, gpus_per_pair if gpus > 0 else 0, tasks)


@dataclass
class _Running:
    item: Item
    stage: Stage
    value: "ray.ObjectRef[Any]"
    started_at: float
    worker: ActorHandle | None = None


class RayExecutor:
    """Runs stages on the connected Ray cluster.

    Args:
        run: What to compute.
        run_url: Run directory, for publish.
        slots: How the cluster is shared out.
    """

    def __init__(self, run: RunConfig, run_url: str, slots: Slots) -> None:
        self._run = ray.put(run)
        self._fusion = ray.put(run.fusion)
        self._run_url = run_url
        self._slots = slots
        store_bytes = ray.cluster_resources().get("object_store_memory", 0)
        self._memory_bytes = int(_STORE_SHARE * store_bytes)
        self._idle: deque[ActorHandle] = deque()
        self._running: dict[ray.ObjectRef[Any], _Running] = {}

    def capacity(self, stage: Stage) -> int:
        """Workers for optimise, tasks for the others."""
        return self._slots.workers if stage is Stage.OPTIMISE else self._slots.tasks

    @property
    def memory_bytes(self) -> int:
        """Share of the cluster's object store that waiting pairs may fill."""
        return self._memory_bytes

    def start(self, stage: Stage, item: Item) -> None:
        """Begin a stage as a task or on an idle worker; a missing worker is created."""
        worker = None
        pair, handles = item.pair, item.handles
        name = {"name": f"{stage} {pair.pair_id}"}
        if stage is Stage.PREPARE:
            refs = _prepare.options(**name).remote(pair, self._run)
        elif stage is Stage.PUBLISH:
            values = (handles[Stage.PREPARE], handles[Stage.OPTIMISE])
            refs = _publish.options(**name).remote(pair, *values, self._run, self._run_url)
        else:
            worker = self._idle.pop() if self._idle else self._new_worker()
            call = worker.optimise.options(num_returns=2, **name)
            refs = call.remote(pair.pair_id, handles[Stage.PREPARE])
        report, value = refs
        self._running[report] = _Running(item, stage, value, time.time(), worker)

    def wait(self, timeout_s: float) -> list[Completion]:
        """Reports of the stages that have ended; a death is reported like any other failure."""
        if not self._running:
            time.sleep(timeout_s)  # only a backoff is left to wait for
            return []
        refs = list(self._running)
        ray.wait(refs, num_returns=1, timeout=timeout_s, fetch_local=False)
        ended, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        return [self._complete(ref) for ref in ended]

    def close(self) -> None:
        """End the workers this executor made."""
        busy = [running.worker for running in self._running.values() if running.worker]
        for worker in (*self._idle, *busy):
            ray.kill(worker)

    def _new_worker(self) -> ActorHandle:
        slots = self._slots
        resources = {"num_cpus": slots.cpus_per_worker, "num_gpus": slots.gpus_per_worker}
        return _RemoteFusionWorker.options(**resources).remote(self._fusion, slots.gpus_per_worker)

    def _complete(self, ref: "ray.ObjectRef[Any]") -> Completion:
        running = self._running.pop(ref)
        try:
            report: Report = ray.get(ref)
            # A worker in which something broke is replaced: a CUDA error, say, stays for ever.
            healthy = report.failure is None or report.failure.category != "crash"
        except RayError as error:
            seconds = time.time() - running.started_at
            failure = as_failure(error, running.stage)
            report = Report(running.stage, running.started_at, seconds, {}, failure)
            healthy = False
        if running.worker is not None:
            self._release(running.worker, healthy)
        return Completion(running.item, report, running.value)

    def _release(self, worker: ActorHandle, healthy: bool) -> None:
        if healthy:
            self._idle.append(worker)
        else:
            ray.kill(worker)


def as_failure(error: RayError, stage: Stage) -> Failure:
    """Category of what Ray says about a stage that gave no report of its own."""
    name = type(error).__name__
    reason = " ".join(str(error).split())
    if isinstance(error, OutOfMemoryError):
        return Failure("resource", name, f"{stage}: Ray ended the process for its memory: {reason}")
    if isinstance(error, NodeDiedError | ObjectLostError | ActorUnavailableError):
        return Failure("transient", name, f"{stage}: a node or an object was lost: {reason}")
    if isinstance(error, RayActorError | WorkerCrashedError):
        return stages.as_failure(WorkerLostError(f"{stage}: the process died: {reason}"))
    if isinstance(error, RayTaskError):
        return Failure("fatal", name, f"{stage}: cannot run here: {reason}")
    return Failure("transient", name, f"{stage}: {reason}")
