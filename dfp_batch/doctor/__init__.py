"""Whether this machine, and a store, are ready for runs: a table of checks.

What is missing must not keep the others from being looked at: each imports what it needs itself.
"""

import tempfile
from collections.abc import Iterator

from dfp_batch.doctor import machine, ray_here, readers, store
from dfp_batch.doctor.finding import Check, Finding, Place

CHECKS: dict[str, Check] = {
    "Python": machine.python,
    "torch": machine.torch,
    "GPU": machine.gpu,
    "number formats": machine.formats,
    "memory": machine.memory,
    "shared memory": machine.shared_memory,
    "disk": machine.disk,
    **readers.READERS,
    "store": store.store,  # only of a URL
    "Ray": ray_here.ray,
}


def examine(url: str | None) -> Iterator[tuple[str, Finding]]:
    """Look at everything, one thing after the other.

    Args:
        url: Folder for sources or runs, which is looked at as well; None is none.

    Yields:
        The name of what was looked at, and what was found.
    """
    place = Place(url, tempfile.gettempdir())
    for name, check in CHECKS.items():
        if url is not None or name != "store":
            yield name, look(check, place)


def look(check: Check, place: Place) -> Finding:
    """What a check finds; that something cannot be imported is a finding, too."""
    try:
        return check(place)
    except ImportError as error:
        return Finding(
            "problem",
            f"cannot be imported: {error}",
            "install dfp-batch again, into an environment of its own",
        )
