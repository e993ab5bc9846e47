"""``dfp-batch submit``."""

import os
from functools import partial
from typing import Annotated, Any

import typer

from dfp_batch import errors
from dfp_batch.cli.options import (
    Align,
    AlignFrom,
    ConfigFile,
    Crop,
    ImageFormat,
    Kernel,
    Precision,
    Preset,
    Quality,
    ReferenceFrame,
    Scale,
    Settings,
    resolve,
)


def submit(  # noqa: PLR0913, PLR0917 - one parameter per flag
    manifest: Annotated[str, typer.Argument(help="Parquet manifest: path or URL.")],
    scale: Scale = None,
    kernel: Kernel = None,
    output: Annotated[
        str | None, typer.Option(help="Run directory; default <manifest>-x<scale>/ beside it.")
    ] = None,
    preset: Preset = None,
    settings: Settings = None,
    config: ConfigFile = None,
    precision: Precision = None,
    align: Align = None,
    align_from: AlignFrom = None,
    reference: ReferenceFrame = None,
    image_format: ImageFormat = None,
    quality: Quality = None,
    crop: Crop = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N pairs.")] = None,
    gpus_per_pair: Annotated[
        float | None,
        typer.Option(
            help="GPUs per pair, e.g. 0.25 for small images; default 1 where there are GPUs."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="http://HEAD:8265 sends the run to that Ray cluster; HOST:PORT joins it, on one "
            "of its machines; default RAY_ADDRESS. Without either Ray starts here."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="With http://: show what the run says, to its end.")
    ] = False,
    max_failure_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Stop when more than this share fails.")
    ] = 0.2,
    takeover: Annotated[
        bool, typer.Option("--takeover", help="Take the run from a driver that seems alive.")
    ] = False,
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Also retry pairs that killed a process.")
    ] = False,
) -> None:
    """Fuse and enlarge every pair of a manifest; the same command again resumes."""
    from rich.console import Console

    from dfp_batch import storage, telemetry
    from dfp_batch.engine import driver

    address = address or os.environ.get("RAY_ADDRESS")
    remote = _is_remote(address, wait, [manifest, output, align_from])
    flags = {
        "scale": scale,
        "kernel": kernel,
        "precision": precision,
        "align.model": align,
        "align.reference": reference,
        "output.format": image_format,
        "output.quality": quality,
        "output.crop": crop,
        "align_from": align_from and storage.absolute_url(align_from),
    }
    resolved = resolve(preset, config, settings, flags)
    manifest_url = storage.absolute_url(manifest)
    stem = storage.without_version(manifest_url).removesuffix(".parquet")
    default = f"{stem}-x{resolved.fusion.scale}"
    submission = driver.Submission(
        manifest_url,
        storage.absolute_url(output or default),
        resolved,
        limit=limit,
        address=address,
        gpus_per_pair=gpus_per_pair,
        max_failure_rate=max_failure_rate,
        takeover=takeover,
        retry_quarantined=retry_quarantined,
    )
    console = Console()
    console.print(f"run: {submission.output_url}", soft_wrap=True, highlight=False)
    if remote:
        _send(submission, wait)
        return
    with telemetry.LiveProgress(console) as progress:
        show = partial(telemetry.print_dashboard, console)
        observer = driver.Observer(show, progress.moved, progress.noted)
        status = driver.submit(submission, observer)
    telemetry.print_results(console, telemetry.results(submission.output_url))
    telemetry.print_status(console, status)
    folder = storage.join(submission.output_url, "outputs")
    console.print(f"images   {folder}/<pair>/fused.*", soft_wrap=True, highlight=False)
    if status.failed or status.quarantined:
        raise typer.Exit(3)


def _is_remote(address: str | None, wait: bool, urls: list[str | None]) -> bool:
    """Whether the run is sent to a cluster, which must be able to read the URLs."""
    from dfp_batch.engine import cluster

    if not cluster.takes_jobs(address):
        if wait:
            raise errors.ConfigError("--wait goes with --address http://HEAD:8265")
        return False
    from dfp_batch.engine import jobs

    for url in filter(None, urls):
        if not jobs.check_reachable(url):
            typer.echo(
                f"note: {url} must be on a file system that every machine there shares", err=True
            )
    return True


def _send(submission: Any, wait: bool) -> None:  # noqa: ANN401 - Submission, which imports Ray
    from dfp_batch.engine import jobs

    job = jobs.send(submission)
    typer.echo(f"job:    {job.job_id}\nfollow: {job.follow_command}\nstop:   {job.stop_command}")
    if wait:
        raise typer.Exit(jobs.follow(job, partial(typer.echo, nl=False)))
