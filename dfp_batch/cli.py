"""Command line: flags to configuration, errors to exit codes; no logic of its own.

Exit codes: 0 all ok; 2 bad usage, configuration or manifest; 3 some pairs failed; 4 stopped before
the end, the same command goes on; 5 another driver holds the run.
"""

import json
import logging
import os
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
Kernel = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|sigma=S|auto",
        help="Blur between the result and the sources: lanczos2 (default), bicubic, sigma=1.2 (a "
        "Gaussian, in px of the result), sigma=1.2x0.8@30 (along, across, degrees), or auto: "
        "estimated for every item.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="balanced (default), fast: with a network of half the depth, best: the network of "
        "balanced fitted to every item, slow, classical: the floor, or paper: as published, slower."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. refinement.contrast=80."),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file with settings; flags win over it.")
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="auto (default), fp32 or bf16; auto is bf16 where a short measurement in every worker "
        "finds it clearly faster."
    ),
]
Align = Annotated[
    str | None,
    typer.Option(
        help="Registration: none, translation, similarity (default), affine or homography; "
        "file with --align-from."
    ),
]
AlignFrom = Annotated[
    str | None,
    typer.Option(help="Use the registration of this run, or of a registration.json."),
]
ReferenceFrame = Annotated[
    int | None,
    typer.Option("--reference", help="Frame the others are registered to; default the middle one."),
]
Crop = Annotated[
    str | None,
    typer.Option(help="none (default), or valid: the largest rectangle every frame covers."),
]
Quality = Annotated[int | None, typer.Option(help="Of jpeg and webp, 1 to 100; default 95.")]
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
    image_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="png, tiff, jpeg or webp; default png, or tiff for float sources."
        ),
    ] = None,
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
    resolved = _resolve(preset, config, settings, flags)
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


@app.command()
def fuse(  # noqa: PLR0913, PLR0917 - one parameter per flag
    images: Annotated[
        list[str], typer.Argument(help="Two or more images of one scene, or one multi-page TIFF.")
    ],
    output: Annotated[str, typer.Option(help="File to write: .png, .tiff, .jpg or .webp.")],
    scale: Scale = None,
    kernel: Kernel = None,
    preset: Preset = None,
    settings: Settings = None,
    config: ConfigFile = None,
    precision: Precision = None,
    align: Align = None,
    align_from: AlignFrom = None,
    reference: ReferenceFrame = None,
    quality: Quality = None,
    crop: Crop = None,
    decision: Annotated[
        str | None, typer.Option(help="PNG to write: which image each pixel came from, 0, 1, ...")
    ] = None,
    confidence: Annotated[
        str | None, typer.Option(help="PNG to write: white where the focus is certain.")
    ] = None,
    registration: Annotated[
        str | None, typer.Option(help="JSON to write, for --align-from.")
    ] = None,
) -> None:
    """Fuse one item without Ray."""
    from rich.console import Console

    from dfp_batch import storage, telemetry
    from dfp_batch.engine import single

    target = storage.absolute_url(output)
    flags = {
        "scale": scale,
        "kernel": kernel,
        "precision": precision,
        "align.model": align,
        "align.reference": reference,
        "output.format": single.format_of(target),
        "output.quality": quality,
        "output.crop": crop,
        "align_from": align_from and storage.absolute_url(align_from),
    }
    resolved = _resolve(preset, config, settings, flags)
    sources = tuple(storage.absolute_url(image) for image in images)
    with telemetry.iteration_bar(Console(stderr=True)) as on_iteration:
        files = single.fuse_files(sources, resolved, on_iteration)
    wanted = {output: files.image, decision: files.decision, confidence: files.confidence}
    for url, content in {**wanted, registration: files.registration}.items():
        if url is not None:
            storage.write_bytes(storage.absolute_url(url), content)


@app.command()
def manifest(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Folder: path or URL.")],
    output: Annotated[str, typer.Option(help="Parquet file to write.")],
) -> None:
    """Build a manifest from NAME_A.*/NAME_B.* files, subfolders, or TIFFs of several pages."""
    from dfp_batch import storage
    from dfp_batch.manifest import write_manifest
    from dfp_batch.pairing import build_manifest

    pairs, unpaired = build_manifest(storage.absolute_url(directory))
    url = storage.absolute_url(output)
    write_manifest(url, pairs)
    typer.echo(f"{len(pairs)} pairs -> {url}")
    for reason in unpaired:
        typer.echo(f"not paired: {reason}", err=True)


@app.command()
def synth(  # noqa: PLR0913, PLR0917 - one parameter per flag
    directory: Annotated[str, typer.Argument(metavar="DIR", help="New folder: path or URL.")],
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="IMAGES",
            help="Sharp images: bundled (photographs), procedural, or a folder, path or URL.",
        ),
    ] = "bundled",
    frames: Annotated[
        int | None, typer.Option(help="Sources per scene, 2 to 26; default 2.")
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Depths, 2 to 8; default 3.")] = None,
    psf: Annotated[str | None, typer.Option(help="disc (default) or gaussian.")] = None,
    defocus: Annotated[
        float | None, typer.Option(help="Radius in px of a layer one frame away; default 4.")
    ] = None,
    edge: Annotated[
        float | None, typer.Option(help="Softest edge of a layer in px; default 1.")
    ] = None,
    strokes: Annotated[int | None, typer.Option(help="Thin lines per layer; default 2.")] = None,
    shift: Annotated[float | None, typer.Option(help="Largest motion of a frame in px.")] = None,
    breathing: Annotated[
        float | None, typer.Option(help="Magnification per frame; 0.004 is 0.4 %.")
    ] = None,
    exposure: Annotated[
        float | None, typer.Option(help="Largest gain or loss of a frame; 0.05 is 5 %.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Standard deviation at mid-grey; 0.01 is 2.6 of 255.")
    ] = None,
    jpeg: Annotated[int | None, typer.Option(help="JPEG quality, 1 to 100; 0 is no JPEG.")] = None,
    scale: Annotated[int, typer.Option(help="Truth this many times larger than sources.")] = 1,
    kernel: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|sigma=S",
            help="Blur before the sources are made smaller, as in submit; default lanczos2.",
        ),
    ] = None,
    side: Annotated[int, typer.Option(help="Side of the truth in px.")] = 512,
    count: Annotated[int, typer.Option(help="Scenes.")] = 12,
    seed: Annotated[int, typer.Option(help="Of all randomness, >= 0.")] = 0,
) -> None:
    """Make scenes with exact truth: sources, reference, masks and a manifest.

    Without any of the options --frames to --jpeg, the scenes differ in depths, PSF and defocus.
    """
    from dfp_batch import storage
    from dfp_batch.config import kernel_of
    from dfp_batch.synthetic import SceneSet, SceneSpec, write_scenes

    flags: dict[str, Any] = {
        "frames": frames,
        "layers": layers,
        "psf": psf,
        "defocus_px": defocus,
        "edge_px": edge,
        "strokes": strokes,
        "shift_px": shift,
        "breathing": breathing,
        "exposure": exposure,
        "noise": noise,
        "jpeg_quality": jpeg,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    spec = SceneSpec(**given) if given else None
    url = storage.absolute_url(directory)
    scenes = SceneSet(origin, spec, scale, side, count, seed, kernel_of(kernel))
    pairs, problems = write_scenes(url, scenes)
    typer.echo(f"{len(pairs)} scenes -> {storage.join(url, 'manifest.parquet')}")
    for problem in problems:
        typer.echo(f"not made: {problem}", err=True)
    if problems:
        raise typer.Exit(3)


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


@app.command()
def evaluate(  # noqa: PLR0913, PLR0917 - one parameter per flag
    items: Annotated[
        str,
        typer.Argument(
            metavar="SET",
            help="bundled, procedural, a folder of sharp images, or a Parquet manifest.",
        ),
    ],
    output: Annotated[str, typer.Option(help="Folder for the tables: path or URL.")],
    methods: Annotated[
        str,
        typer.Option(
            help="Presets with settings, as in 'classical focus=double-reblur', and baselines "
            "FUSION+ENLARGER: average, laplacian-pyramid, mask or the name of an --external, and "
            "bicubic, lanczos, back-projection or dip. With commas between them."
        ),
    ] = "",
    scales: Annotated[str, typer.Option(help="Of 1, 2, 3, 4, with commas between them.")] = "1,2",
    external: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIR",
            help="Results <item>.<ext> of another program; those of scale 2 lie in DIR/x2.",
        ),
    ] = None,
    versus: Annotated[
        str | None, typer.Option(help="Method to compare with; default the first one.")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Write the results and the sources they are made of.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(help="Number of scenes (default 12), or of pairs (default all).")
    ] = None,
    side: Annotated[int, typer.Option(help="Of the truth of a scene, in px.")] = 512,
    seed: Annotated[int, typer.Option(help="Of the scenes.")] = 0,
    degrade: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|sigma=S",
            help="Blur before the sources are made smaller, as --kernel of submit; default "
            "lanczos2. A method knows of it only by its own setting kernel=...",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; default one per CPU, or one with a GPU.")
    ] = None,
) -> None:
    """Score methods against truth or sources: which one is better? The same command resumes."""
    from rich.console import Console

    from dfp_batch import evaluation as evaluating
    from dfp_batch import telemetry
    from dfp_batch.config import kernel_of
    from dfp_batch.evaluation import tables

    externals = evaluating.split_externals(external or [])
    named = evaluating.named_methods(evaluating.split_names(methods), externals)
    found = evaluating.item_set(items, limit, side, seed, kernel_of(degrade))
    with telemetry.LiveProgress(Console(stderr=True)) as progress:
        options = evaluating.Options(versus, images, workers, progress.moved)
        numbers = evaluating.split_scales(scales)
        evaluation = evaluating.evaluate(found, named, output, numbers, options)
    console = Console(width=max(Console().width, tables.WIDTH))
    tables.print_evaluation(console, evaluation)
    if any(row["status"] != "ok" for row in evaluation.rows):
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


def _resolve(
    preset: str | None, file: Path | None, settings: list[str] | None, flags: dict[str, Any]
) -> Any:  # noqa: ANN401 - RunConfig, which --help must not import
    from dfp_batch.config import parse_setting, run_config

    if file is not None and not file.is_file():
        raise errors.ConfigError(f"--config {file}: no such file")
    text = file.read_text() if file is not None else None
    given = {name: value for name, value in flags.items() if value is not None}
    if given.get("align.model") == "file":
        del given["align.model"]
        if "align_from" not in given:
            raise errors.ConfigError("--align file needs --align-from RUN")
    return run_config(preset, text, {**dict(map(parse_setting, settings or [])), **given})


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
