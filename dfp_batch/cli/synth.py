"""``dfp-batch synth``."""

from typing import Annotated, Any

import typer


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
    from dfp_batch.config.run_config import kernel_of
    from dfp_batch.io import storage
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
