"""Telling somebody that a session of a run has ended: one JSON, sent by POST to a URL.

It is told whatever the end: well, with failed pairs, stopped, or refused before anything ran. That
nobody takes it is said and changes nothing. The body holds counts, the URL of the run and the
message of an error; never a secret. Its members are in docs/night.md.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

import dfp_batch
from dfp_batch.errors import ConfigError, DfpError, ManifestError, RunHeldError
from dfp_batch.runs.status import RunStatus

SCHEMA_VERSION = 1
TRIES = 4
ANSWER_S = 5.0
PAUSE_S = 1.0  # before the second try; twice as long before every further one
_BUSY = 429
_SERVER_ERROR = 500
_ENDS: tuple[tuple[type[Exception], str], ...] = (
    (ConfigError, "refused"),
    (ManifestError, "refused"),
    (RunHeldError, "held"),
    (DfpError, "stopped"),
    (Exception, "crashed"),
)

Status = TypeVar("Status", bound=RunStatus | None)


def check_url(url: str) -> str:
    """A URL that can be told.

    Raises:
        ConfigError: if it is none of http, or holds a password: a Ray Job shows its options.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"--notify must be a URL of http or https, got {url!r}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"--notify must be a URL of http or https, got {url!r}")
    if "@" in parts.netloc:
        raise ConfigError(
            f"--notify must not hold a password, got one for {parts.hostname}; a Ray Job shows it"
        )
    return url


def telling(
    work: Callable[[], Status], url: str | None, run_url: str, noted: Callable[[str], None]
) -> Status:
    """Do the work of a session and tell how it ended.

    Args:
        work: The session.
        url: Whom to tell; None is nobody.
        run_url: Run directory.
        noted: Called with a line of text if nobody takes it.

    Returns:
        What the work gives.
    """
    if url is None:
        return work()
    began_at = time.time()
    try:
        status = work()
    except Exception as error:
        post(url, body(run_url, began_at, status_of(run_url), error), noted)
        raise
    post(url, body(run_url, began_at, status or status_of(run_url), None), noted)
    return status


def status_of(run_url: str) -> RunStatus | None:
    """How the run stands, if that can be read."""
    try:
        return RunStatus.read(run_url)
    except DfpError:
        return None


def body(
    run_url: str, began_at: float, status: RunStatus | None, error: Exception | None
) -> dict[str, Any]:
    """What is sent.

    Args:
        run_url: Run directory.
        began_at: Seconds since the epoch of Unix.
        status: How the run stands; None if there is none.
        error: What has ended it before its time, if something has.
    """
    now = time.time()
    names = ("total", "ok", "failed", "quarantined", "pending", "by_category")
    return {
        "event": "session_ended",
        "schema_version": SCHEMA_VERSION,
        "run": run_url,
        "outcome": _outcome(status, error),
        "message": " ".join(str(error).split()) if error else None,
        "pairs": {name: getattr(status, name) for name in names} if status else None,
        "began_at": _utc(began_at),
        "ended_at": _utc(now),
        "seconds": round(now - began_at, 3),
        "dfp_batch_version": dfp_batch.__version__,
    }


def _outcome(status: RunStatus | None, error: Exception | None) -> str:
    if error is not None:
        return next(word for kind, word in _ENDS if isinstance(error, kind))
    return "failures" if status and (status.failed or status.quarantined) else "done"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def post(url: str, content: dict[str, Any], noted: Callable[[str], None]) -> None:
    """Send it, a few times if need be; whoever does not take it is named without the path.

    The path of such a URL is often the secret of a chat service.
    """
    problem = ""
    for number in range(TRIES):
        time.sleep(PAUSE_S * 2 ** (number - 1) if number else 0)
        problem, again = _try(url, content)
        if not again:
            break
    if problem:
        parts = urlsplit(url)
        noted(f"{parts.scheme}://{parts.hostname} was not told of the end: {problem}")


def _try(url: str, content: dict[str, Any]) -> tuple[str, bool]:
    """What is wrong, or "", and whether another try may help."""
    try:
        answer = requests.post(url, json=content, timeout=ANSWER_S, allow_redirects=False)
    except requests.RequestException as error:  # its text holds the path
        return type(error).__name__, True
    if answer.ok and not answer.is_redirect:
        return "", False
    again = answer.status_code == _BUSY or answer.status_code >= _SERVER_ERROR
    return f"HTTP {answer.status_code}", again
