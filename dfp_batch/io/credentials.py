"""Which buckets this process opens with credentials, and which as anybody may."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dfp_batch.io.urls import bucket_of, protocol_and_path

_ANONYMOUS: dict[str, dict[str, Any]] = {
    "s3": {"anon": True},
    "gs": {"token": "anon"},
    "gcs": {"token": "anon"},
    "az": {"anon": True},
    "abfs": {"anon": True},
}


@dataclass
class _Access:
    """Which buckets this process opens with credentials; None is all."""

    with_credentials: frozenset[str] | None = None


_ACCESS = _Access()


def use_no_credentials(but: Iterable[str] | None) -> None:
    """From now on open buckets as anybody may, in this process.

    Args:
        but: Buckets that are opened with the credentials that drivers find, as ``bucket_of`` names
            them; None is every bucket again.
    """
    _ACCESS.with_credentials = None if but is None else frozenset(but)


def uses_no_credentials() -> bool:
    """Whether this process opens some buckets as anybody may."""
    return _ACCESS.with_credentials is not None


def credential_options(url: str) -> dict[str, Any]:
    """What the driver of a URL is told; nothing where it looks for credentials itself."""
    known = _ACCESS.with_credentials
    if known is None or bucket_of(url) in known:
        return {}
    return _ANONYMOUS.get(protocol_and_path(url)[0], {})
