"""Joining a Ray cluster, or starting Ray here: who may, on which ports, and what is left behind.

Ray that we start listens on the loopback interface only, and lives in a directory of its own that
goes when it goes. Ray that we join is asked first, in one call, whether it answers and takes our
token: Ray itself would try for a minute and log every attempt.
"""

import fcntl
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import grpc
import ray
from ray._private import ray_constants, services
from ray._private.grpc_utils import init_grpc_channel
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.core.generated.gcs_service_pb2 import CheckAliveRequest
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
from ray.exceptions import AuthenticationError

from dfp_batch.errors import ConfigError

TOKEN_HINT = (
    "print it on the head node with `ray get-auth-token`, and put it into RAY_AUTH_TOKEN or "
    "~/.ray/auth_token here"
)
_ANSWER_S = 10.0
_AUTH_MODE = "RAY_AUTH_MODE"
# Ray ends a worker that has been idle for a second, if there are more than CPUs; the next one needs
# many seconds to start. Two runs that share a node would wait for that most of the time.
_IDLE_WORKERS, _IDLE_WORKERS_MS = "RAY_idle_worker_killing_time_threshold_ms", "60000"
_TOKEN_FILE = Path(".ray", "auth_token")
_PREFIX = "dfp-ray-"
_LOCK = "lock"
_CONTENT = "r"
_LONGEST_FOLDER = 39  # of 107 bytes for the path of a socket; Ray itself takes up to 68


@dataclass
class Connection:
    """A Ray cluster in use; ``close`` leaves it, and ends it if we started it.

    Attributes:
        url: Of the dashboard, or "" where there is none.
        started: Whether Ray runs only for us.
    """

    url: str = ""
    started: bool = False
    _ending: ExitStack = field(default_factory=ExitStack, repr=False)

    def close(self) -> None:
        """Leave the cluster; a second call does nothing."""
        self._ending.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def takes_jobs(address: str | None) -> bool:
    """Whether an address is that of a cluster's Jobs API."""
    return (address or "").startswith(("http://", "https://"))


def connect(address: str | None) -> Connection:
    """Join the cluster at ``address`` or RAY_ADDRESS; without either start Ray on this machine.

    A process that is connected already stays as it is, also when the connection is closed.

    Args:
        address: ``HOST:PORT`` of the head, on a machine of the cluster; ``auto`` for the Ray that
            runs here; None or ``local`` for one of our own.

    Raises:
        ConfigError: No cluster answers, it refuses us, or Ray cannot start here.
    """
    if ray.is_initialized():
        return Connection()
    target = address or os.environ.get("RAY_ADDRESS") or "local"
    with ExitStack() as ending:
        url = _start(ending) if target == "local" else _join(_resolved(target), ending)
        return Connection(url, target == "local", ending.pop_all())


@contextmanager
def authentication(mode: str) -> Iterator[None]:
    """What Ray in this process does about tokens, as RAY_AUTH_MODE says it: token or disabled.

    Both sides of a cluster must do the same, since each connects to the other.
    """
    try:
        with variable(_AUTH_MODE, mode):
            Config.initialize("")
            yield
    finally:
        Config.initialize("")


def has_token() -> bool:
    """Whether there is one in RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token.

    Raises:
        ConfigError: RAY_AUTH_TOKEN_PATH names a file that cannot be read, or is empty.
    """
    loader = AuthenticationTokenLoader.instance()
    loader.reset_cache()
    try:
        return bool(loader.has_token(ignore_auth_mode=True))
    except AuthenticationError as error:
        raise ConfigError(str(error.message)) from error


@contextmanager
def private_ray() -> Iterator[str]:
    """What Ray that is started meanwhile needs so as to be for this user only.

    It listens on the loopback interface, asks for a token, and everything temporary goes to a
    folder that is removed afterwards.

    Yields:
        That folder, for Ray's ``_temp_dir``.

    Raises:
        ConfigError: There is no token and none can be made.
    """
    _remove_leftovers()
    mode = os.environ.get(_AUTH_MODE, "token")
    if mode == "token" and not has_token():
        _make_token()
    idle_ms = os.environ.get(_IDLE_WORKERS, _IDLE_WORKERS_MS)
    workers = variable(_IDLE_WORKERS, idle_ms)
    with authentication(mode), workers, _private_folder() as folder, _loopback():
        yield folder


def _start(ending: ExitStack) -> str:
    """Ray for us alone."""
    folder = ending.enter_context(private_ray())
    ending.callback(ray.shutdown)
    with variable("TMPDIR", folder):  # for what Ray's own processes and the workers leave
        context = ray.init(
            "local",
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            logging_level=logging.ERROR,
            log_to_driver=False,
            _temp_dir=folder,
        )
    return f"http://{context.dashboard_url}" if context.dashboard_url else ""


def _join(target: str, ending: ExitStack) -> str:
    if _is_loopback(target):
        ending.enter_context(_loopback())
    ending.enter_context(authentication(_mode_of(target)))
    if not services.find_node_ids():
        raise ConfigError(
            f"this machine is not a node of the Ray cluster at {target}, so a driver cannot run "
            "here; send the run to the cluster with --address http://HEAD:8265"
        )
    ending.callback(ray.shutdown)
    try:
        context = ray.init(target, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, AuthenticationError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise ConfigError(f"cannot join the Ray cluster at {target}: {reason}") from error
    return f"http://{context.dashboard_url}" if context.dashboard_url else ""


def _resolved(target: str) -> str:
    """``HOST:PORT`` of what the user named."""
    if target == "auto":
        try:
            return str(services.get_ray_address_from_environment("auto", None))
        except ConnectionError as error:
            raise ConfigError(
                "no Ray runs on this machine; start it with `ray start --head`, or leave "
                "--address out"
            ) from error
    host, _, port = target.rpartition(":")
    if not host or "/" in target or not port.isdigit():
        raise ConfigError(
            "--address must be HOST:PORT of a Ray head, on a machine of its cluster, or "
            f"http://HEAD:8265 to send the run there, got {target!r}"
        )
    return target


def _mode_of(target: str) -> str:
    """Whether the cluster asks for a token; if so, ours is tried.

    Raises:
        ConfigError: It does not answer, or refuses us.
    """
    with authentication("disabled"):
        mode = "disabled" if _is_let_in(target) else "token"
    given = os.environ.get(_AUTH_MODE, mode)
    if given != mode:
        asks = "a token" if mode == "token" else "no token"
        raise ConfigError(
            f"the Ray cluster at {target} asks for {asks}, and {_AUTH_MODE} is {given} here"
        )
    if mode == "token":
        _try_token(target)
    return mode


def _try_token(target: str) -> None:
    if not has_token():
        raise ConfigError(f"the Ray cluster at {target} needs a token; {TOKEN_HINT}")
    with authentication("token"):
        if not _is_let_in(target):
            raise ConfigError(
                f"the Ray cluster at {target} refuses the token that was found here; {TOKEN_HINT}"
            )


def _is_let_in(target: str) -> bool:
    """One call with one answer."""
    try:
        with init_grpc_channel(target) as channel:
            stub = NodeInfoGcsServiceStub(channel)
            version = stub.CheckAlive(CheckAliveRequest(), timeout=_ANSWER_S).ray_version
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return False
        raise ConfigError(f"no Ray cluster answers at {target}: {error.details()}") from error
    if version != ray.__version__:
        raise ConfigError(
            f"the cluster at {target} runs Ray {version}, this machine has {ray.__version__}; "
            "both must be the same"
        )
    return True


def _make_token() -> None:
    """A token that only this user can read; Ray would let everybody."""
    path = Path.home() / _TOKEN_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass  # another run was faster; or it is empty, which Ray tells about
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot write Ray's token: {error.strerror}; set RAY_AUTH_TOKEN to a secret"
        ) from error


@contextmanager
def _loopback() -> Iterator[None]:
    """Keep Ray on 127.0.0.1, in this process and in those it starts.

    Ray replaces a loopback address by that of the network, also where it is told one. It leaves it
    where clusters are switched off, which it does by itself on desktops, for their firewalls; it
    looks at the variable once, when it is imported.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    try:
        ray_constants.ENABLE_RAY_CLUSTER = False
        with variable(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, "0"):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """A variable of the environment, for this process and those it starts meanwhile."""
    before = os.environ.get(name)
    try:
        os.environ[name] = value
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def _is_loopback(target: str) -> bool:
    return target.rpartition(":")[0] in {"127.0.0.1", "localhost", "[::1]"}


@contextmanager
def _private_folder() -> Iterator[str]:
    """A folder for Ray's sockets, logs and spilt objects that is gone afterwards.

    Beside it lies a file that stays locked for as long as this process lives: the next one removes
    what a dead one left behind, and nothing else. A process id would be used again, and be another
    one's in a container that shares the temporary directory.
    """
    folder, lock = _locked_folder()
    try:
        yield str(folder / _CONTENT)
    finally:
        _remove(folder, lock)


def _locked_folder() -> tuple[Path, int]:
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_temporary_directory()))
    lock = _lock(folder)
    if lock is None:  # another run takes it for a leftover
        return _locked_folder()
    (folder / _CONTENT).mkdir()
    return folder, lock


def _temporary_directory() -> str:
    """The usual one, or /tmp where that is too long for the names of sockets."""
    folder = tempfile.gettempdir()
    longest = _LONGEST_FOLDER - len(f"/{_PREFIX}01234567/{_CONTENT}")
    return folder if len(os.fsencode(folder)) <= longest else "/tmp"


def _remove_leftovers() -> None:
    for folder in Path(_temporary_directory()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # gone meanwhile
            ours = not folder.is_symlink() and folder.stat().st_uid == os.getuid()
            if ours and (folder / _LOCK).is_file() and (lock := _lock(folder)) is not None:
                _remove(folder, lock)


def _lock(folder: Path) -> int | None:
    """Descriptor of the locked file; None if another process holds it."""
    descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder / _CONTENT, ignore_errors=True)
    if not (folder / _CONTENT).exists():  # else something still writes there: the next run's turn
        shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
