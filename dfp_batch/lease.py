"""The lease of a run: one driver at a time, and a dead one does not lock it.

Why a dead process frees its lease at once: docs/decisions/0002-lease.md.
"""

import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from dfp_batch import storage
from dfp_batch.errors import RunHeldError

STALE_S = 300.0


@dataclass(frozen=True)
class Lease:
    """Who drives a run, and when it last said so.

    Attributes:
        token: Unique to this session of this driver.
        epoch: Number of this session, from 1.
        host: Name, boot and process space of the machine, so that a process id means something.
        pid: Of the driver.
        pid_started_at: Start of that process, since process ids are used again.
        heartbeat_at: Seconds since the epoch of Unix.
        running: Pairs in flight at the heartbeat.
    """

    token: str
    epoch: int
    host: str
    pid: int
    pid_started_at: float
    heartbeat_at: float
    running: int = 0

    @classmethod
    def mine(cls, epoch: int, now: float) -> "Lease":
        """A new lease of this process."""
        started = psutil.Process().create_time()
        return cls(uuid.uuid4().hex, epoch, _host(), os.getpid(), started, now)

    @classmethod
    def read(cls, run_url: str) -> "Lease | None":
        """The lease of a run, or None if nobody ever took or if it was given back."""
        url = storage.join(run_url, "lease.json")
        return cls(**json.loads(storage.read_bytes(url))) if storage.exists(url) else None

    def to_bytes(self) -> bytes:
        """JSON."""
        return json.dumps(asdict(self), indent=1).encode()

    def is_live(self, now: float) -> bool:
        """False once stale, or at once when its process on this very machine is gone."""
        if now - self.heartbeat_at > STALE_S:
            return False
        return self.host != _host() or _is_running(self.pid, self.pid_started_at)


def _host() -> str:
    boot = round(psutil.boot_time())
    namespace = Path("/proc/self/ns/pid")
    space = os.readlink(namespace) if namespace.exists() else ""
    return f"{socket.gethostname()} boot {boot} {space}".strip()


def _is_running(pid: int, started_at: float) -> bool:
    try:
        return bool(abs(psutil.Process(pid).create_time() - started_at) < 1)
    except psutil.NoSuchProcess:
        return False


def take_lease(url: str, last_epoch: int, takeover: bool) -> Lease:
    """Become the driver of a run.

    Args:
        url: Run directory.
        last_epoch: The highest epoch that left rows.
        takeover: Take the lease even from a driver that seems alive.

    Raises:
        RunHeldError: if another driver is alive, or was faster.
    """
    now = time.time()
    holder = Lease.read(url)
    if holder is not None and holder.is_live(now) and not takeover:
        raise RunHeldError(
            f"{url} is driven by process {holder.pid} on {holder.host.split()[0]}, heartbeat "
            f"{now - holder.heartbeat_at:.0f} s ago; wait for it, or force with --takeover"
        )
    lease = Lease.mine(1 + max(last_epoch, holder.epoch if holder else 0), now)
    target = storage.join(url, "lease.json")
    if holder is not None:
        storage.write_bytes(target, lease.to_bytes())
    else:
        storage.create_bytes(target, lease.to_bytes())
    winner = Lease.read(url)  # a store may say "exists" to the second try of our own write
    if winner is None or winner.token != lease.token:
        raise RunHeldError(f"{url}: another driver took this run a moment ago")
    return lease
