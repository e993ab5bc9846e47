"""Sending a run to a Ray cluster as a Ray Job: its driver runs there, this machine may go away.

The job is the same command on the other side, with the settings spelled out. It takes no secrets
along: they come from the cluster's own environment, or from the role of its machines.
"""

import asyncio
import json
import logging
import os
import re
import secrets
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from urllib.parse import urlsplit

import aiohttp
import requests
from ray.dashboard.modules.job.pydantic_models import JobDetails
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from dfp_batch.config.run_config import RunConfig, run_config
from dfp_batch.engine.cluster import TOKEN_HINT, authentication, has_token, variable
from dfp_batch.engine.driver import Submission
from dfp_batch.engine.retry import Retry
from dfp_batch.errors import ConfigError, RunStoppedError
from dfp_batch.io import urls

logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.ERROR)  # tells of every socket
# Where things are, never who we are: what a job may take along.
SHIPPED_VARIABLES = (
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "GOOGLE_CLOUD_PROJECT",
    "STORAGE_EMULATOR_HOST",
)
STOP_S = 60  # for a driver to write its rows after `ray job stop`; Ray itself gives 3
_ANSWER_S = 10.0
_START_S = 60.0
_STARTING = "No available agent"  # Ray's own words, after it has waited for 10 s
_POLL_S = 1.0
_EXIT_CODES = {0, 2, 3, 4, 5}
_STOPPED = 4
_NOT_ARGUMENTS = {"manifest_url", "output_url", "config", "address", "cut"}


@dataclass(frozen=True)
class Job:
    """A run that was handed over.

    Attributes:
        job_id: Ray's submission id.
        address: URL of the cluster's Jobs API.
        with_token: Whether the commands need to send one.
    """

    job_id: str
    address: str
    with_token: bool

    @property
    def follow_command(self) -> str:
        """Shell command that shows what the driver says."""
        return f"{self._ray_job('logs --follow')} {self.job_id}"

    @property
    def stop_command(self) -> str:
        """Shell command that stops the run; the same submission goes on later."""
        return f"{self._ray_job('stop')} {self.job_id}"

    def _ray_job(self, verb: str) -> str:
        mode = "RAY_AUTH_MODE=token " if self.with_token else ""  # else Ray would not look for it
        return f"{mode}ray job {verb} --address {self.address}"


def check_reachable(url: str) -> bool:
    """Refuse what the machines of a cluster cannot read.

    Returns:
        False for a path, which must be on a file system that all machines share.

    Raises:
        ConfigError: A relative path, or the memory of this process.
    """
    absolute = urls.absolute_url(url)
    if absolute.startswith("memory://"):
        raise ConfigError(f"{url}: the cluster cannot read the memory of this process")
    if "://" in absolute:
        return True
    if not os.path.isabs(url.removeprefix("file://")):
        raise ConfigError(
            f"{url} is a path on this machine; a cluster needs a URL like s3://bucket/{url}, or an "
            "absolute path on a file system that all of its machines share"
        )
    return False


def send(task: Submission | Retry) -> Job:
    """Hand a run to the cluster at ``task.address``.

    Raises:
        ConfigError: No cluster answers, or it refuses us.
    """
    address = str(task.address).rstrip("/")
    with _client(address) as client:
        job_id = _submitted(client, task)
    return Job(job_id, address, has_token())


def _submitted(client: JobSubmissionClient, task: Submission | Retry) -> str:
    """Id of the job; a cluster that has just been started answers before it takes jobs."""
    submission_id = _job_id(task.output_url)
    until = time.monotonic() + _START_S
    while True:
        try:
            client.submit_job(
                entrypoint=entrypoint(task),
                submission_id=submission_id,
                runtime_env={"env_vars": shipped_environment()},
                metadata={"run": task.output_url},
            )
            return submission_id
        except RuntimeError as error:
            if _STARTING not in str(error) or time.monotonic() > until:
                raise
        time.sleep(_POLL_S)


def follow(job: Job, write: Callable[[str], None]) -> int:
    """Show what the driver says until it ends.

    Args:
        job: What ``send`` returned.
        write: Called with text as it comes.

    Returns:
        The exit code that the driver's command would have had here.

    Raises:
        RunStoppedError: The driver died, or the connection to the cluster; the job may go on.
    """
    with _client(job.address) as client:
        try:
            asyncio.run(_tail(client, job.job_id, write))
            details = client.get_job_info(job.job_id)
            while not details.status.is_terminal():
                time.sleep(_POLL_S)
                details = client.get_job_info(job.job_id)
        except KeyboardInterrupt:
            raise RunStoppedError(
                f"the run goes on in the cluster; stop it with `{job.stop_command}`"
            ) from None
        except (aiohttp.ClientError, requests.RequestException, RuntimeError) as error:
            raise RunStoppedError(
                f"lost the cluster, the run may go on there; see `{job.follow_command}`: {error}"
            ) from error
    return _exit_code(details)


def entrypoint(task: Submission | Retry) -> str:
    """The command line of the driver in the cluster."""
    words = _submit(task) if isinstance(task, Submission) else ["retry", task.output_url]
    for option in fields(task):
        value = getattr(task, option.name)
        if option.name not in _NOT_ARGUMENTS and value != option.default:
            flag = f"--{option.name.replace('_', '-')}"
            values = value if isinstance(value, tuple) else (value,)
            words += [flag] if value is True else [word for v in values for word in (flag, str(v))]
    # The shell makes room for Python, so that signals reach the driver.
    return f"exec python -m dfp_batch {shlex.join(words)}"


def _submit(submission: Submission) -> list[str]:
    config = submission.config
    words = ["submit", submission.manifest_url, "--output", submission.output_url]
    words += submission.cut.option if submission.cut else ()
    words += ["--preset", config.preset]
    for name, value in _settings(config).items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    return words


def _settings(config: RunConfig) -> dict[str, object]:
    """What differs from the preset, or everything where that alone would not give the same."""
    preset = run_config(config.preset, None, {}).values()
    every = {name: value for name, value in config.values().items() if name != "preset"}
    every = {name: value for name, value in every.items() if value is not None}
    changed = {name: value for name, value in every.items() if preset.get(name) != value}
    same = run_config(config.preset, None, changed).fingerprint == config.fingerprint
    return changed if same else every


def _job_id(run_url: str) -> str:
    """Readable, unique, and fit for a file name."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", run_url.rstrip("/").rpartition("/")[2])
    return f"dfp-{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def shipped_environment() -> dict[str, str]:
    """What the environment here says of places, for the driver in the cluster; never a secret.

    Raises:
        ConfigError: if one of them holds credentials.
    """
    shipped = {name: os.environ[name] for name in SHIPPED_VARIABLES if name in os.environ}
    for name, value in shipped.items():
        if "@" in value:
            raise ConfigError(f"{name} must not hold credentials: the job would show them")
    return {**shipped, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S)}


@contextmanager
def _client(address: str) -> Iterator[JobSubmissionClient]:
    """The Jobs API; all it raises on the way in is one line."""
    _check_answers(address)
    token = has_token()
    try:
        # Ray would prefer RAY_ADDRESS to the argument.
        there = variable("RAY_API_SERVER_ADDRESS", address)
        with there, authentication("token") if token else nullcontext():
            client = JobSubmissionClient(address)
        yield client
    except AuthenticationError as error:
        found = "refuses the token that was found here" if token else "needs a token"
        raise ConfigError(f"the Ray cluster at {address} {found}; {TOKEN_HINT}") from error
    except (ConnectionError, RuntimeError, requests.RequestException) as error:
        raise ConfigError(f"no Ray cluster takes jobs at {address}: {error}") from error


def _check_answers(address: str) -> None:
    """Ray itself would wait for minutes."""
    parts = urlsplit(address)
    try:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        socket.create_connection((parts.hostname or "", port), timeout=_ANSWER_S).close()
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Ray cluster answers at {address}: {error}") from error


async def _tail(client: JobSubmissionClient, job_id: str, write: Callable[[str], None]) -> None:
    async for text in client.tail_job_logs(job_id):
        write(text)


def _exit_code(details: JobDetails) -> int:
    if details.status == JobStatus.STOPPED:
        return _STOPPED
    if details.driver_exit_code in _EXIT_CODES:
        return int(details.driver_exit_code)
    last = (details.message or "no reason known").strip().splitlines()[-1]
    raise RunStoppedError(f"the driver died; the same command goes on from there: {last}")
