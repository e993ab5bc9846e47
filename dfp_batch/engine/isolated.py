"""The Ray executor in a process of its own, so that nothing Ray does can stop the driver.

Ray ends a process that has lost its cluster, and some of its calls never return. The driver, which
holds the rows, is another process: it hears from this one once a second, or ends it and goes on to
write down what it knows. Started as ``python -m dfp_batch.engine.isolated FD``.
"""

import logging
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any

from dfp_batch.config.run_config import RunConfig
from dfp_batch.engine.executor import Completion, Executor, Work
from dfp_batch.engine.progress import FRESH_S, PATIENCE, Patience, Pulse
from dfp_batch.engine.stages import Stage
from dfp_batch.engine.telemetry import Figures
from dfp_batch.errors import DfpError, ExecutorLostError, RunStoppedError
from dfp_batch.runs import access

log = logging.getLogger(__name__)

START_S = 180.0
_PYTHON_ERROR = re.compile(r"[\w.]+: \w")  # and no line of Ray's own log
STILL_S = 40.0
# A worker is kept for ten seconds of stages, not for half a second, before another run has its
# turn: on clusters that end idle ones soon each turn costs a start (docs/decisions/0022).
_PATIENT_RAY = {"RAY_worker_lease_timeout_milliseconds": "10000"}
_CLOSE_S = 8.0
_TICK_S = 1.0
_WAIT_S = 0.05


@dataclass(frozen=True)
class Cluster:
    """Where and what to run.

    Attributes:
        run: What to compute.
        run_url: Run directory.
        address: Of a Ray cluster; None starts Ray on this machine.
        gpus_per_pair: As in ``engine.nodes.Nodes``.
        patience: With processes that do not answer.
        anonymous: Whether sources are read without credentials.
    """

    run: RunConfig
    run_url: str
    address: str | None = None
    gpus_per_pair: float | None = None
    patience: Patience = PATIENCE
    anonymous: bool = False


@dataclass(frozen=True)
class _Tick:
    """What the process with Ray says about once a second, or whenever something has ended."""

    completions: list[Completion]
    pulses: Mapping[int, Pulse]
    capacities: Mapping[Stage, int]
    memory_bytes: int
    explanation: str


@dataclass(frozen=True)
class _Connected:
    url: str


class IsolatedExecutor:
    """An ``Executor`` whose Ray lives in another process; a context that ends it.

    Args:
        cluster: Where and what to run.
        asked: Says who asks to stop, or nothing; heard while Ray starts.

    Attributes:
        dashboard_url: Or "" where there is none.

    Raises:
        ConfigError: if no cluster answers, or it cannot do it.
        RunStoppedError: if asked to stop.
        ExecutorLostError: if Ray does not start.
    """

    def __init__(self, cluster: Cluster, asked: Callable[[], str] = lambda: "") -> None:
        self._asked = asked
        self._pipe, theirs = Pipe()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by ``close``
        with theirs:
            self._process = _launch(theirs, self._log)
        self._tick = _Tick([], {}, dict.fromkeys(Stage, 1), 0, "")
        self._heard_at = time.monotonic()
        try:
            self._pipe.send((sys.path, cluster))
            self.dashboard_url: str = self._receive(START_S).url
            self._tick = self._receive(START_S)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "IsolatedExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def capacity(self, stage: Stage) -> int:
        """As last heard."""
        return self._tick.capacities[stage]

    @property
    def memory_bytes(self) -> int:
        """As last heard."""
        return self._tick.memory_bytes

    def explain(self) -> str:
        """As last heard."""
        return self._tick.explanation

    def pulses(self) -> Mapping[int, Pulse]:
        """As last heard; nothing if that is long ago."""
        is_fresh = time.monotonic() - self._heard_at < FRESH_S
        return self._tick.pulses if is_fresh else {}

    def start(self, work: Work) -> None:
        """As ``Executor.start``."""
        self._send("start", work)

    def cancel(self, number: int) -> None:
        """As ``Executor.cancel``."""
        self._send("cancel", number)

    def kill(self, number: int) -> None:
        """As ``Executor.kill``."""
        self._send("kill", number)

    def drop(self, number: int) -> None:
        """As ``Executor.drop``."""
        self._send("drop", number)

    def show(self, figures: Figures) -> None:
        """As ``Executor.show``."""
        self._send("show", figures)

    def wait(self, timeout_s: float) -> list[Completion]:
        """As ``Executor.wait``."""
        completions: list[Completion] = []
        deadline = time.monotonic() + timeout_s
        while not completions and (left_s := deadline - time.monotonic()) > 0:
            if self._pipe.poll(left_s):
                self._tick = self._receive(0)
                completions += self._tick.completions
        while self._pipe.poll(0):
            self._tick = self._receive(0)
            completions += self._tick.completions
        if time.monotonic() - self._heard_at > STILL_S:
            raise ExecutorLostError(f"stopped: Ray has not answered for {STILL_S:.0f} s")
        return completions

    def close(self) -> None:
        """End Ray, or what is left of it."""
        try:
            self._pipe.send(("close", None))
            self._process.wait(_CLOSE_S)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._pipe.close()
        self._log.close()

    def _send(self, what: str, argument: object) -> None:
        try:
            self._pipe.send((what, argument))
        except OSError as error:
            raise self._lost() from error

    def _receive(self, timeout_s: float) -> Any:  # noqa: ANN401 - a _Connected, or a _Tick
        deadline = time.monotonic() + timeout_s
        while not self._pipe.poll(_TICK_S if timeout_s else 0):
            if asked := self._asked():
                raise RunStoppedError(f"stopped by {asked}; the same command goes on from here")
            if time.monotonic() > deadline:
                raise ExecutorLostError(f"stopped: Ray did not start within {timeout_s:.0f} s")
        try:
            word = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if isinstance(word, DfpError):
            raise word
        self._heard_at = time.monotonic()
        return word

    def _lost(self) -> ExecutorLostError:
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        said = self._said()
        log.debug("log of the process with Ray: %s", said)
        words = said.splitlines()[-1] if said else ""
        last = f": {words}" if _PYTHON_ERROR.match(words) else ""
        return ExecutorLostError(f"stopped: Ray is gone, its process ended with {how}{last}")

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()


def _launch(theirs: Connection, log_file: IO[bytes]) -> "subprocess.Popen[bytes]":
    """In a session of its own: Ctrl-C and signals to the group are the driver's to answer."""
    return subprocess.Popen(
        [sys.executable, "-m", "dfp_batch.engine.isolated", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log_file,
        start_new_session=True,
        env={**_PATIENT_RAY, **os.environ},
    )


# The other process


@dataclass
class _Orders:
    """What the driver says, read in a thread of its own; None once it has hung up."""

    pipe: Connection
    queue: "queue.Queue[tuple[str, Any] | None]" = field(default_factory=queue.Queue)

    def listen(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                self.queue.put(self.pipe.recv())
            except (EOFError, OSError):
                break
        self.queue.put(None)
        time.sleep(_CLOSE_S)  # Ray should have ended by now
        os._exit(1)


def main(descriptor: int) -> None:
    """Serve one driver until it closes or dies."""
    pipe = Connection(descriptor)
    path, cluster = pipe.recv()
    sys.path[:] = path
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        _serve(pipe, cluster)
    except DfpError as error:
        pipe.send(error)


def _serve(pipe: Connection, cluster: Cluster) -> None:
    from dfp_batch.engine.cluster import connect  # noqa: PLC0415 - Ray, only in this process
    from dfp_batch.engine.ray_executor import RayExecutor  # noqa: PLC0415

    orders = _Orders(pipe)
    access.use(cluster.anonymous, cluster.run_url, cluster.run.align_from)
    with connect(cluster.address) as connection:
        executor = RayExecutor(
            cluster.run, cluster.run_url, cluster.gpus_per_pair, cluster.patience
        )
        pipe.send(_Connected(connection.url))
        orders.listen()
        try:
            _obey(pipe, orders, executor)
        finally:
            executor.close()


def _obey(pipe: Connection, orders: _Orders, executor: Executor) -> None:
    said_at = 0.0
    while True:
        while not orders.queue.empty():
            order = orders.queue.get()
            if order is None or order[0] == "close":
                return
            getattr(executor, order[0])(order[1])
        completions = executor.wait(_WAIT_S)
        now = time.monotonic()
        if completions or now - said_at >= _TICK_S:
            said_at = now
            pipe.send(_tick(executor, completions))


def _tick(executor: Executor, completions: list[Completion]) -> _Tick:
    capacities = {stage: executor.capacity(stage) for stage in Stage}
    return _Tick(
        completions,
        executor.pulses(),
        capacities,
        executor.memory_bytes,
        executor.explain(),
    )


if __name__ == "__main__":
    from dfp_batch.engine.isolated import main as serve  # so that classes are pickled by name

    serve(int(sys.argv[1]))
