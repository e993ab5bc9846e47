"""Command line: flags to configuration, errors to exit codes; no logic of its own.

Exit codes: 0 all ok; 2 bad usage, configuration or manifest; 3 some pairs failed; 4 stopped before
the end, the same command goes on; 5 another driver holds the run.
"""

import json
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from dfp_batch import errors

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fuse, enlarge and measure archives of multi-focus photographs. "
    "Errors are one line; add --debug anywhere for the traceback.",
)
_EXIT_CODES: tuple[tuple[type[errors.DfpError], int], ...] = (
    (errors.ConfigError, 2),
    (errors.ManifestError, 2),
    (errors.PairError, 3),
    (errors.ObjectMissingError, 2),
    (errors.RunHeldError, 5),
    (errors.DfpError, 4),
)

Scale = Annotated[
    int | None, typer.Option(help="Enlargement: 1 (fusion only), 2, 3 or 4; default 2.")
]
Preset = Annotated[
    str | None, typer.Option(help="classical: quick, good. paper (default): as published, slow.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="One setting, e.g. reconstruction.iterations=50."
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file with settings; flags win over it.")
]
Precision = Annotated[
    str | None, typer.Option(help="auto, fp32 or bf16; auto is bf16 where the device has it.")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run directory: path or URL.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from dfp_batch import __version__

        typer.echo(f"dfp-batch {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@app.command()
def submit(  # noqa: PLR0913, PLR0917 - one parameter per flag
    manifest: Annotated[str, typer.Argument(help="Parquet manifest: path or URL.")],
    scale: Scale = None,
    output: Annotated[
        str | None, typer.Option(help="Run directory; default <manifest>-x<scale>/ beside it.")
    ] = None,
    preset: Preset = None,
    settings: Settings = None,
    config: ConfigFile = None,
    precision: Precision = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N pairs.")] = None,
    gpus_per_pair: Annotated[
        float, typer.Option(help="Share of a GPU per pair, e.g. 0.25 for small images.")
    ] = 1.0,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to use; without it Ray starts here.")
    ] = None,
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

    resolved = _resolve(preset, config, settings, scale, precision)
    manifest_url = storage.absolute_url(manifest)
    default = f"{manifest_url.removesuffix('.parquet')}-x{resolved.fusion.scale}"
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
    with telemetry.LiveProgress(console) as progress:
        show = partial(telemetry.print_dashboard, console)
        observer = driver.Observer(show, progress.moved)
        status = driver.submit(submission, observer)
    telemetry.print_results(console, telemetry.results(submission.output_url))
    telemetry.print_status(console, status)
    folder = storage.join(submission.output_url, "outputs")
    console.print(f"images   {folder}/<pair>/fused.*", soft_wrap=True, highlight=False)
    if status.failed or status.quarantined:
        raise typer.Exit(3)


@app.command()
def fuse(  # noqa: PLR0913, PLR0917 - one parameter per flag
    images: Annotated[list[str], typer.Argument(help="Two or more registered images.")],
    output: Annotated[str, typer.Option(help="File to write: .png, .tiff or .jpg.")],
    scale: Scale = None,
    preset: Preset = None,
    settings: Settings = None,
    config: ConfigFile = None,
    precision: Precision = None,
    decision: Annotated[
        str | None,
        typer.Option(
            help="PNG that shows which image each pixel came from: black first, white last."
        ),
    ] = None,
) -> None:
    """Fuse one item without Ray."""
    from rich.console import Console

    from dfp_batch import codec, storage, telemetry
    from dfp_batch.engine import stages
    from dfp_batch.manifest import Pair

    resolved = _resolve(preset, config, settings, scale, precision)
    target = storage.absolute_url(output)
    pair = Pair("command line", tuple(storage.absolute_url(image) for image in images))
    extension = codec.extension_of(target)
    if len(images) < 2:  # noqa: PLR2004
        raise errors.ConfigError(f"fuse needs at least 2 images, got {len(images)}")
    prepared, _ = stages.prepare(pair, resolved.fusion)
    codec.check_depth(extension, codec.Frame(prepared.sources[0]).bit_depth)
    with telemetry.iteration_bar(Console(stderr=True)) as on_iteration:
        optimised, _ = stages.optimise(prepared, resolved.fusion, on_iteration=on_iteration)
    storage.write_bytes(target, codec.encode(codec.Frame(optimised.fused), extension))
    if decision:
        source_map = codec.Frame(optimised.source_map[..., None])
        storage.write_bytes(storage.absolute_url(decision), codec.encode(source_map, "png"))


@app.command()
def manifest(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Folder: path or URL.")],
    output: Annotated[str, typer.Option(help="Parquet file to write.")],
) -> None:
    """Build a manifest from NAME_A.*/NAME_B.* files or from one subfolder per stack."""
    from dfp_batch import storage
    from dfp_batch.manifest import build_manifest, write_manifest

    pairs, unpaired = build_manifest(storage.absolute_url(directory))
    url = storage.absolute_url(output)
    write_manifest(url, pairs)
    typer.echo(f"{len(pairs)} pairs -> {url}")
    for reason in unpaired:
        typer.echo(f"not paired: {reason}", err=True)


@app.command()
def status(
    run: Run,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Counts by state and category, rate, ETA and the last errors of a run."""
    from rich.console import Console

    from dfp_batch import storage, telemetry

    found = telemetry.RunStatus.read(storage.absolute_url(run))
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        telemetry.print_status(Console(), found)


@app.command()
def results(
    run: Run,
    output: Annotated[
        str | None, typer.Option(help="Parquet file for the whole table, one row per pair.")
    ] = None,
) -> None:
    """One row per pair: print the table, or write it as Parquet."""
    from rich.console import Console

    from dfp_batch import ledger, storage, telemetry

    rows = telemetry.results(storage.absolute_url(run))
    if output is None:
        telemetry.print_results(Console(), rows, limit=rows.num_rows)
    else:
        url = storage.absolute_url(output)
        storage.write_bytes(url, ledger.parquet_bytes(rows))
        typer.echo(f"{rows.num_rows} rows -> {url}")


def _resolve(
    preset: str | None,
    file: Path | None,
    settings: list[str] | None,
    scale: int | None,
    precision: str | None,
) -> Any:  # noqa: ANN401 - RunConfig, which --help must not import
    from dfp_batch.config import parse_setting, run_config

    if file is not None and not file.is_file():
        raise errors.ConfigError(f"--config {file}: no such file")
    text = file.read_text() if file is not None else None
    flags = {"scale": scale, "precision": precision}
    return run_config(preset, text, {**dict(map(parse_setting, settings or [])), **flags})


def main() -> NoReturn:
    """Entry point of the ``dfp-batch`` command."""
    debug = "--debug" in sys.argv
    logging.basicConfig()
    logging.getLogger("dfp_batch").setLevel(logging.DEBUG if debug else logging.ERROR)
    try:
        app(args=[argument for argument in sys.argv[1:] if argument != "--debug"])
    except errors.DfpError as error:
        if debug:
            raise
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(next(code for kind, code in _EXIT_CODES if isinstance(error, kind)))
    sys.exit(0)
