"""``dfp_batch.submit``: an archive in one call, as ``dfp-batch submit`` does it on this machine."""

import logging
from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from dfp_batch.config.run_config import run_config
from dfp_batch.engine import driver
from dfp_batch.engine.driver import Observer, Submission
from dfp_batch.engine.intake import run_beside
from dfp_batch.io import urls
from dfp_batch.runs.run import Run
from dfp_batch.runs.status import Counts

log = logging.getLogger(__name__)


def submit(
    source: str | PathLike[str],
    output: str | PathLike[str] | None = None,
    preset: str | None = None,
    scale: int | None = None,
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    observer: Observer | None = None,
) -> Run:
    """Fuse and enlarge every pair of a manifest or a folder; the same call again resumes.

    It uses the Ray that this process has joined (``ray.init``), else that of RAY_ADDRESS, else it
    starts one for itself. Pairs that fail do not stop it: ``run.failures()`` says why they did.

    Args:
        source: Parquet manifest, or folder of photographs: path or URL.
        output: Run directory; None is ``<manifest>-x<scale>/`` beside the manifest, or
            ``manifest-x<scale>/`` in the folder.
        preset: None is the default one.
        scale: 1, 2, 3 or 4; None is 2.
        settings: By their dotted paths, as for ``--set``: ``{"refinement.second.contrast": 80}``.
        limit: Only the first pairs.
        observer: Told how it goes; None is the log of this module, at the level INFO.

    Returns:
        The run, to look at.

    Raises:
        ManifestError, ConfigError, RunHeldError: before anything runs.
        RunStoppedError: in the middle; the same call goes on from there.
    """
    config = run_config(preset, None, {**(settings or {}), "scale": scale})
    source_url = urls.absolute_url(fspath(source))
    if output is None:
        run_url = run_beside(source_url, config.fusion.scale)
    else:
        run_url = urls.absolute_url(fspath(output))
    driver.submit(
        Submission(source_url, run_url, config, limit=limit),
        observer or Observer(_connected, _moved, log.info),
    )
    return Run(run_url)


def _connected(dashboard_url: str) -> None:
    log.info("dashboard: %s", dashboard_url or "none")


def _moved(counts: Counts) -> None:
    log.info("%d of %d done, %d failed", counts.ok, counts.total, counts.failed)
