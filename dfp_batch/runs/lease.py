"""The lease of a run: one driver at a time, and a dead one does not lock it.

Every session owns one file, ``RUN/lease/<epoch>.json``, its generation. Whoever creates the highest
one drives the run, and the store lets exactly one create it. Only its creator writes it again; none
is ever deleted. Why: docs/decisions/0002-lease.md.
"""

import json
import os
import re
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import psutil

from dfp_batch.errors import ObjectMissingError, RunHeldError
from dfp_batch.io import storage, urls

STALE_S = 300.0
ACKNOWLEDGE_S = 5.0  # how long a takeover waits for the last rows of the displaced driver
_LOOK_EVERY_S = 0.1
_GENERATION = re.compile(r"([0-9]{6,9})\.json")


class UnderWay(NamedTuple):
    """A stage of a pair that had begun by a heartbeat.

    Attributes:
        stage: Name of it.
        pair_id: Of the manifest.
        since: When it was given to a process; seconds since the epoch of Unix.
    """

    stage: str
    pair_id: str
    since: float


@dataclass(frozen=True)
class Lease:
    """Who drives a run, and when it last said so.

    Attributes:
        token: Unique to this session of this driver.
        epoch: Number of this session, from 1; no two sessions of a run have the same.
        host: Name, boot and process space of the machine, so that a process id means something.
        pid: Of the driver.
        pid_started_at: Start of that process, since process ids are used again.
        heartbeat_at: Seconds since the epoch of Unix.
        running: Pairs in flight at the heartbeat.
        released: The session is over and all its rows are written.
        under_way: Some of the stages that had begun by then, the oldest first.
    """

    token: str
    epoch: int
    host: str
    pid: int
    pid_started_at: float
    heartbeat_at: float
    running: int = 0
    released: bool = False
    under_way: tuple[UnderWay, ...] = ()

    @classmethod
    def mine(cls, epoch: int, now: float) -> "Lease":
        """A new lease of this process."""
        started = psutil.Process().create_time()
        return cls(uuid.uuid4().hex, epoch, _host(), os.getpid(), started, now)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Lease":
        """Read JSON; members of a later version are dropped.

        Raises:
            ValueError: if it is no lease.
        """
        try:
            content = json.loads(data)
            return cls(
                str(content["token"]),
                int(content["epoch"]),
                str(content["host"]),
                int(content["pid"]),
                float(content["pid_started_at"]),
                float(content["heartbeat_at"]),
                int(content.get("running", 0)),
                bool(content.get("released", False)),
                tuple(
                    UnderWay(str(stage), str(pair_id), float(since))
                    for stage, pair_id, since in content.get("under_way", ())
                ),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"is not a lease: {error!r}") from error

    def to_bytes(self) -> bytes:
        """JSON."""
        return json.dumps(asdict(self), indent=1).encode()

    @property
    def driver(self) -> str:
        """Process and machine, for people."""
        return f"process {self.pid} on {self.host.partition(' ')[0]}"

    def is_live(self, now: float) -> bool:
        """False once released or stale, or at once when its process on this machine is gone."""
        if self.released or not now - self.heartbeat_at <= STALE_S:
            return False
        return self.host != _host() or _is_running(self.pid, self.pid_started_at)

    def displaced(self, run_url: str) -> bool:
        """Say whether another driver has taken the run over."""
        return _last_epoch(run_url) > self.epoch

    def beat(
        self, run_url: str, now: float, running: int, under_way: Sequence[UnderWay] = ()
    ) -> "Lease":
        """Say that this driver is alive, and what it does.

        Raises:
            RunHeldError: if another driver has taken the run over.
        """
        if self.displaced(run_url):
            raise RunHeldError(f"{run_url}: another driver has taken this run over")
        beaten = replace(self, heartbeat_at=now, running=running, under_way=tuple(under_way))
        return self._rewritten(run_url, beaten)

    def release(self, run_url: str) -> "Lease":
        """Give the run back; also how a displaced driver says that all its rows are written."""
        return self._rewritten(run_url, replace(self, running=0, released=True, under_way=()))

    @staticmethod
    def _rewritten(run_url: str, lease: "Lease") -> "Lease":
        storage.write_bytes(_file(run_url, lease.epoch), lease.to_bytes())
        return lease


def take_lease(url: str, last_epoch: int, takeover: bool) -> Lease:
    """Become the driver of a run.

    Args:
        url: Run directory.
        last_epoch: The highest epoch that left rows.
        takeover: Take the run even from a driver that seems alive; waits a few seconds for it to
            write its last rows and to release its lease.

    Raises:
        RunHeldError: if another driver is alive, or was faster.
    """
    now = time.time()
    previous = _last_epoch(url)
    newest, older = _file(url, previous), _older(url)
    holders = {file: lease for file in (newest, older) if (lease := _read(file)) is not None}
    living = {file: lease for file, lease in holders.items() if lease.is_live(now)}
    if living and not takeover:
        raise RunHeldError(_refusal(url, next(iter(living.values())), now))
    oldest = holders[older].epoch if older in holders else 0
    mine = Lease.mine(1 + max(last_epoch, previous, oldest), now)
    if not _create(url, mine):
        raise RunHeldError(f"{url}: another driver took this run a moment ago")
    if older in holders:  # its absence tells a driver of that version that it is displaced
        storage.delete(older)
    for file in living:
        _await_release(file)
    return mine


def current_lease(url: str) -> Lease | None:
    """The lease of the last session of a run; None if there was none, or if it was released."""
    lease = _read(_file(url, _last_epoch(url)))
    return None if lease is None or lease.released else lease


def _host() -> str:
    boot = round(psutil.boot_time())
    namespace = Path("/proc/self/ns/pid")
    space = os.readlink(namespace) if namespace.exists() else ""
    return f"{socket.gethostname()} boot {boot} {space}".strip()


def _is_running(pid: int, started_at: float) -> bool:
    try:
        return bool(abs(psutil.Process(pid).create_time() - started_at) < 1)
    except (psutil.NoSuchProcess, ValueError):  # a number that no process can have
        return False


def _file(run_url: str, epoch: int) -> str:
    return urls.join(run_url, "lease", f"{epoch:06d}.json")


def _older(run_url: str) -> str:
    """The only lease of a run, where older versions kept it."""
    return urls.join(run_url, "lease.json")


def _last_epoch(run_url: str) -> int:
    """The highest generation of a run, 0 if there is none."""
    files, _ = storage.list_folder(urls.join(run_url, "lease"))
    return max((int(match[1]) for match in map(_GENERATION.fullmatch, files) if match), default=0)


def _refusal(url: str, holder: Lease, now: float) -> str:
    return (
        f"{url} is driven by {holder.driver}, heartbeat {now - holder.heartbeat_at:.0f} s ago; "
        "wait for it, or take the run with submit --takeover"
    )


def _read(url: str) -> Lease | None:
    """The lease in a file; None if there is none, or if it is damaged.

    Ours are whole or absent, so a damaged one is no driver's that lives: it is like a stale one.
    """
    try:
        return Lease.from_bytes(storage.read_bytes(url))
    except (ObjectMissingError, ValueError):
        return None


def _create(run_url: str, lease: Lease) -> bool:
    url = _file(run_url, lease.epoch)
    if storage.create_bytes(url, lease.to_bytes()):
        return True
    found = _read(url)  # a store may say "exists" to the second try of our own write
    return found is not None and found.token == lease.token


def _await_release(url: str) -> None:
    """Wait until a displaced driver is gone, but not for long: it may hang, or be cut off."""
    deadline = time.monotonic() + ACKNOWLEDGE_S
    while time.monotonic() < deadline:
        holder = _read(url)
        if holder is None or not holder.is_live(time.time()):
            return
        time.sleep(_LOOK_EVERY_S)
