"""Whether a run would get its Ray: it is started, or joined, as ``submit`` does it."""

import os
import tempfile

from dfp_batch.doctor.finding import Finding, Place
from dfp_batch.doctor.machine import version_of
from dfp_batch.errors import DfpError


def ray(_: Place) -> Finding:
    """Start Ray in a process of its own, or join that of RAY_ADDRESS, and leave it again."""
    from dfp_batch.config.run_config import run_config
    from dfp_batch.engine.isolated import Cluster, IsolatedExecutor

    version, address = version_of("ray"), os.environ.get("RAY_ADDRESS")
    if (address or "").startswith(("http://", "https://")):
        return Finding("ok", f"{version}; RAY_ADDRESS sends runs to {address}, none starts here")
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            IsolatedExecutor(Cluster(run_config(None, None, {}), folder)) as executor,
        ):
            how = f"joined at {address}" if address else "starts here"
            return Finding("ok", f"{version}, {how}: {executor.explain()}")
    except DfpError as error:
        return Finding("problem", f"{version}: {error}", _advice(address))


def _advice(address: str | None) -> str:
    if address:
        return "unset RAY_ADDRESS to start Ray here, or start that cluster"
    return "the log: dfp-batch doctor --debug; without Ray: dfp-batch fuse, for one item"
