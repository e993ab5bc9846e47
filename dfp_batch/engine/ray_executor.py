"""The executor on Ray Core: every stage a task, or on a GPU an actor's; nothing retried by Ray.

Without a GPU nothing is held between stages: a task takes one CPU while it runs, Ray shares the
CPUs among all runs and starts nodes for what waits. A GPU belongs to an actor, since a process
cannot give back the memory of a device. Why so: docs/decisions/0004-cpu-slots.md.

Ray's own retries are off everywhere: the scheduler knows every pair and decides.
"""

import math
import time
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import ray
from ray.exceptions import (
    ActorUnavailableError,
    GetTimeoutError,
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dfp_batch.config.run_config import RunConfig
from dfp_batch.engine import stages
from dfp_batch.engine.attempt import Job, perform_all
from dfp_batch.engine.executor import Completion, Work
from dfp_batch.engine.gpu_pool import FALSE_STARTS, GpuPool, is_ready
from dfp_batch.engine.meters import Meters
from dfp_batch.engine.nodes import Nodes
from dfp_batch.engine.processes import use_one_thread
from dfp_batch.engine.progress import FRESH_S, PATIENCE, Patience, Pulse
from dfp_batch.engine.pulse import Handle, Heart, PulseBoard
from dfp_batch.engine.stages import Failure, Report, Stage
from dfp_batch.engine.task_memory import TaskMemory
from dfp_batch.engine.telemetry import Figures
from dfp_batch.errors import ExecutorLostError, WorkerLostError
from dfp_batch.io import credentials

NAMESPACE = "dfp-batch"
_STORE_SHARE = 0.4
_LOOK_EVERY_S = 1.0
COUNT_RUNS_EVERY_S = 10.0
_ANSWER_S = 5.0
_BRIEF_S = 2.0
_NODE_DIED = "its node has died"


@ray.remote(num_returns=2, max_retries=0, retry_exceptions=False, num_cpus=1, max_calls=1000)
def _run(work: Work, job: Job, heart: Heart, *values: object) -> tuple[list[Report], Any]:
    use_one_thread()
    with heart:
        return perform_all(work, job, values, heart)


@dataclass
class _Running:
    """A stage that Ray was given; ``key`` tells it from others of the same attempt."""

    work: Work
    key: int
    reports: "ray.ObjectRef[Any]"
    value: "ray.ObjectRef[Any]"
    started_at: float
    worker: Handle = None


@dataclass
class _Board:
    """The pulse board, and what was last read from it."""

    actor: Handle
    pulses: Mapping[int, Pulse] = field(default_factory=dict)
    reading: Handle = None
    asked_at: float = 0.0
    read_at: float = 0.0
    ended: list[int] = field(default_factory=list)


class RayExecutor:
    """Runs stages on the connected Ray cluster; ``close`` ends what it has started.

    Args:
        run: What to compute.
        run_url: Run directory.
        gpus_per_pair: As in ``Nodes``.
        patience: With processes that do not answer.

    Raises:
        ConfigError: if the cluster cannot do it.
    """

    def __init__(
        self,
        run: RunConfig,
        run_url: str,
        gpus_per_pair: float | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self._patience = patience
        self._nodes = Nodes(gpus_per_pair)
        accelerator = self._nodes.accelerator
        self._job = ray.put(Job(run, run_url, accelerator, credentials.uses_no_credentials()))
        self._board = _Board(_new_board())
        self._pool = GpuPool(self._nodes, self._count_runs)
        self._keys = count(1)
        self._memory = TaskMemory()
        self._meters = Meters()
        self._is_brief = False
        self._running: dict[int, _Running] = {}
        self._values: dict[int, dict[Stage, Any]] = {}
        self._ahead: dict[int, deque[Report]] = {}  # of stages that were run with an earlier one
        self._queue: deque[Work] = deque()  # for a GPU
        self._ended: list[Completion] = []
        self._false_starts: Counter[int] = Counter()
        self._runs, self._counted_at = 1, -math.inf

    def capacity(self, stage: Stage) -> int:
        """Slots of GPUs for reconstruct where there are any, CPUs for everything else.

        Of pairs that take moments as many wait as are in work: to hear of an end and to send the
        next one takes time.
        """
        if stage is Stage.RECONSTRUCT and self._nodes.uses_gpus:
            return self._nodes.gpu_slots
        return self._nodes.cpus * (2 if self._is_brief else 1)

    @property
    def memory_bytes(self) -> int:
        """Share of the cluster's object store that waiting pairs may fill."""
        return int(_STORE_SHARE * self._nodes.store_bytes)

    def explain(self) -> str:
        """What the cluster has, for a message to people."""
        return self._nodes.explain()

    def start(self, work: Work) -> None:
        """Begin a stage as a task, or on a GPU worker as soon as one is free."""
        self._forget(work.number)
        if self._ahead.get(work.number):
            self._ended.append(Completion(work.number, self._ahead[work.number].popleft()))
            return
        if work.stage is Stage.RECONSTRUCT and self._nodes.uses_gpus:
            self._queue.append(work)
            self._feed_workers()
            return
        cpus = max(1, int(self._nodes.largest_cpus * max(0, work.relief - 1) / 2))
        memory = self._memory.needed_bytes(work.stage, self._nodes.memory_beside(cpus))
        self._submit(work, _run.options(name=_name(work), num_cpus=cpus, memory=memory), None)

    def wait(self, timeout_s: float) -> list[Completion]:
        """Reports of the stages that have ended; a death is reported like any other failure."""
        self._nodes.refresh()
        self._look_at_board()
        if self._nodes.uses_gpus:
            self._pool.adapt(*self._wanted_workers())
            self._feed_workers()
        ended, self._ended = self._ended, []
        by_ref = {running.reports: running for running in self._running.values()}
        watched = [*by_ref, *self._pool.starting()]
        if not watched:
            time.sleep(0 if ended else timeout_s)  # only a backoff is left to wait for
            return ended
        timeout_s = 0 if ended else timeout_s
        ray.wait(watched, num_returns=1, timeout=timeout_s, fetch_local=False)
        refs = list(by_ref)
        ready, _ = (
            ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
            if refs
            else ([], [])
        )
        completions = (self._complete(by_ref[ref]) for ref in ready)
        return ended + [completion for completion in completions if completion is not None]

    def pulses(self) -> Mapping[int, Pulse]:
        """Of the stages that have begun, at most a few seconds old; else nobody is judged by it."""
        if time.monotonic() - self._board.read_at > FRESH_S:
            return {}
        pulses = self._board.pulses
        return {
            number: pulses[running.key]
            for number, running in self._running.items()
            if running.key in pulses
        }

    def cancel(self, number: int) -> None:
        """Ask a stage to end with its next sign of life."""
        running = self._running.get(number)
        if running is not None:
            self._board.actor.ask_to_end.remote(running.key)

    def kill(self, number: int) -> None:
        """End the process of a stage, or take it out of the queue."""
        running = self._running.get(number)
        self._false_starts[number] = FALSE_STARTS  # it is not to go back
        if running is None:
            self._unqueue(number)
        elif running.worker is not None:
            self._pool.end(running.worker)
        else:
            ray.cancel(running.reports, force=True)

    def drop(self, number: int) -> None:
        """Forget an attempt and let go of its values."""
        self._forget(number)
        self._unqueue(number)
        self._ended = [completion for completion in self._ended if completion.number != number]
        self._values.pop(number, None)
        self._ahead.pop(number, None)
        self._false_starts.pop(number, None)

    def show(self, figures: Figures) -> None:
        """As metrics of Ray."""
        workers = {"cpu": self._nodes.cpus, "gpu": self._pool.living}
        self._meters.show(figures, workers)

    def close(self) -> None:
        """End what still runs."""
        for number in list(self._running):
            self.kill(number)
        self._pool.close()
        ray.kill(self._board.actor)

    # GPU workers

    def _needs_whole(self, work: Work) -> bool:
        """Whether a share of a GPU was too little, also with the smallest tiles."""
        return work.relief > 1 and self._nodes.gpus_per_pair < 1

    def _wanted_workers(self) -> tuple[int, int]:
        """Stages for a share of a GPU, and those for a whole one."""
        running = [one.work for one in self._running.values() if one.worker is not None]
        works = [*self._queue, *running]
        whole = sum(map(self._needs_whole, works))
        return len(works) - whole, whole

    def _feed_workers(self) -> None:
        for work in list(self._queue):
            worker = self._pool.take(self._needs_whole(work))
            if worker is not None:
                self._queue.remove(work)
                call = worker.run.options(num_returns=2, name=_name(work))
                self._submit(work, call, worker)

    def _unqueue(self, number: int) -> None:
        for work in [work for work in self._queue if work.number == number]:
            self._queue.remove(work)
            failure = Failure("transient", "WorkerLostError", f"{work.stage}: no worker was free")
            self._ended.append(
                Completion(number, Report(work.stage, time.time(), 0.0, {}, failure))
            )

    # Tasks

    def _submit(self, work: Work, call: Handle, worker: Handle) -> None:
        key = next(self._keys)
        order = [Stage.PREPARE, Stage.RECONSTRUCT]
        held = self._values.setdefault(work.number, {})
        values = [held[stage] for stage in order[: list(Stage).index(work.stage)]]
        heart = Heart(self._board.actor, key, self._patience)
        reports, value = call.remote(work, self._job, heart, *values)
        self._running[work.number] = _Running(work, key, reports, value, time.time(), worker)

    def _forget(self, number: int) -> None:
        running = self._running.pop(number, None)
        if running is None:
            return
        self._board.ended.append(running.key)
        if running.worker is not None:
            self._pool.end(running.worker)

    def _complete(self, running: _Running) -> Completion | None:
        """What came of a stage; None if its worker was dead before, and it waits for another."""
        work = running.work
        try:
            reports: list[Report] = ray.get(running.reports, timeout=_ANSWER_S)
            # A worker in which something broke is replaced: a CUDA error, say, stays for ever.
            failure = reports[-1].failure
            healthy = failure is None or failure.category != "crash"
        except LocalRayletDiedError as error:
            raise ExecutorLostError("stopped: the driver's Ray node has died") from error
        except RayError as error:
            began = self._has_begun(running.key)
            if running.worker is not None and not began and self._goes_back(work):
                self._forget(work.number)
                self._queue.appendleft(work)
                return None
            failure = as_failure(error, work.stage, began)
            seconds = time.time() - running.started_at
            reports, healthy = [Report(work.stage, running.started_at, seconds, {}, failure)], False
        seconds = sum(one.seconds for one in reports)
        self._is_brief = len(reports) == len(Stage) and seconds < _BRIEF_S
        if running.worker is None:
            self._memory.note(reports)
        report, *ahead = reports
        self._ahead[work.number] = deque(ahead)
        if reports[-1].failure is None:
            self._values[work.number][reports[-1].stage] = running.value
        worker, running.worker = running.worker, None
        self._forget(work.number)
        if worker is not None:
            self._pool.give_back(worker, healthy)
        return Completion(work.number, report)

    def _goes_back(self, work: Work) -> bool:
        """Whether a stage that did not begin is given to another worker; not for ever."""
        self._false_starts[work.number] += 1
        return self._false_starts[work.number] < FALSE_STARTS

    # The pulse board

    def _look_at_board(self) -> None:
        board, now = self._board, time.monotonic()
        if board.reading is not None and is_ready(board.reading):
            with suppress(RayError):  # it comes back with nothing, and hears the next beats
                board.pulses, board.read_at = ray.get(board.reading), now
            board.reading = None
        if board.reading is not None and now - board.asked_at > self._patience.silence_s:
            ray.kill(board.actor, no_restart=False)  # frozen
            board.reading = None
        if board.reading is None and now - board.asked_at >= _LOOK_EVERY_S:
            board.asked_at = now
            ended, board.ended = board.ended, []
            board.reading = board.actor.read.remote(ended)

    def _has_begun(self, key: int) -> bool:
        """Whether a stage was under way; if nobody knows, its pair is not blamed."""
        if key in self._board.pulses:
            return True
        with suppress(RayError, GetTimeoutError):
            return bool(ray.get(self._board.actor.has_begun.remote(key), timeout=_ANSWER_S))
        return False

    def _count_runs(self) -> int:
        now = time.monotonic()
        if now - self._counted_at > COUNT_RUNS_EVERY_S:
            self._counted_at = now
            actors = ray.util.list_named_actors(all_namespaces=True)
            self._runs = max(1, sum(actor["namespace"] == NAMESPACE for actor in actors))
        return self._runs


def _new_board() -> Handle:
    """A board beside the driver, by which other runs can tell that this one is here."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_restarts": -1,
        "scheduling_strategy": here,
        "namespace": NAMESPACE,
        "name": f"run-{uuid.uuid4().hex}",
    }
    return ray.remote(PulseBoard).options(**options).remote()


def _name(work: Work) -> str:
    return f"{work.stage} {work.pair.pair_id}"


def as_failure(error: RayError, stage: Stage, began: bool) -> Failure:
    """Category of what Ray says about a stage that gave no report of its own.

    Args:
        error: What Ray says.
        stage: Which stage.
        began: Whether it was under way; a process that dies before is not the pair's fault.
    """
    name = type(error).__name__
    reason = " ".join(str(error).split())
    if isinstance(error, OutOfMemoryError):
        return Failure("resource", name, f"{stage}: Ray ended the process for its memory: {reason}")
    node_died = isinstance(error, RayActorError) and _NODE_DIED in reason  # Ray has no type for it
    if node_died or isinstance(error, NodeDiedError | ObjectLostError | ActorUnavailableError):
        return Failure("transient", name, f"{stage}: a node or an object was lost: {reason}")
    if isinstance(error, RayActorError | WorkerCrashedError):
        if not began:
            return Failure("transient", name, f"{stage}: the process died before: {reason}")
        return stages.as_failure(WorkerLostError(f"{stage}: the process died: {reason}"))
    if isinstance(error, RayTaskError):
        return Failure("fatal", name, f"{stage}: cannot run here: {reason}")
    return Failure("transient", name, f"{stage}: {reason}")
