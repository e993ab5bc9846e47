"""``dfp-batch synth``."""

from typing import TYPE_CHECKING, Annotated

import typer

from dfp_batch.cli import voice
from dfp_batch.cli.exit_codes import ExitCode

if TYPE_CHECKING:  # --help must not import it
    from dfp_batch.synthetic import SceneSet

Directory = Annotated[str, typer.Argument(metavar="DIR", help="New folder: path or URL.")]
Origin = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="IMAGES",
        help="Sharp images: bundled (photographs), procedural, or a folder, path or URL.",
    ),
]
Frames = Annotated[int | None, typer.Option(help="Sources per scene, 2 to 26; default 2.")]
Layers = Annotated[int | None, typer.Option(help="Depths, 2 to 8; default 3.")]
Psf = Annotated[str | None, typer.Option(help="disc (default) or gaussian.")]
Defocus = Annotated[
    float | None, typer.Option(help="Radius in px of a layer one frame away; default 4.")
]
Edge = Annotated[float | None, typer.Option(help="Softest edge of a layer in px; default 1.")]
Strokes = Annotated[int | None, typer.Option(help="Thin lines per layer; default 2.")]
Shift = Annotated[float | None, typer.Option(help="Largest motion of a frame in px.")]
Breathing = Annotated[float | None, typer.Option(help="Magnification per frame; 0.004 is 0.4 %.")]
Beyond = Annotated[
    float | None,
    typer.Option(help="Steps of focus by which the background lies beyond the first frame."),
]
Exposure = Annotated[
    float | None, typer.Option(help="Largest gain or loss of a frame; 0.05 is 5 %.")
]
Noise = Annotated[
    float | None, typer.Option(help="Standard deviation at mid-grey; 0.01 is 2.6 of 255.")
]
Jpeg = Annotated[int | None, typer.Option(help="JPEG quality, 1 to 100; 0 is no JPEG.")]
Scale = Annotated[int, typer.Option(help="Truth this many times larger than sources.")]
Kernel = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|sigma=S",
        help="Blur before the sources are made smaller, as in submit; default lanczos2.",
    ),
]
Side = Annotated[int, typer.Option(help="Side of the truth in px.")]
Count = Annotated[int, typer.Option(help="Scenes.")]
Seed = Annotated[int, typer.Option(help="Of all randomness, >= 0.")]

_OF_A_SCENE = {  # fields of SceneSpec by flag
    "frames": "frames",
    "layers": "layers",
    "psf": "psf",
    "defocus": "defocus_px",
    "edge": "edge_px",
    "strokes": "strokes",
    "shift": "shift_px",
    "breathing": "breathing",
    "beyond": "beyond",
    "exposure": "exposure",
    "noise": "noise",
    "jpeg": "jpeg_quality",
}


def synth(  # noqa: PLR0913, PLR0917 - one parameter per flag
    context: typer.Context,
    directory: Directory,
    origin: Origin = "bundled",
    frames: Frames = None,
    layers: Layers = None,
    psf: Psf = None,
    defocus: Defocus = None,
    edge: Edge = None,
    strokes: Strokes = None,
    shift: Shift = None,
    breathing: Breathing = None,
    beyond: Beyond = None,
    exposure: Exposure = None,
    noise: Noise = None,
    jpeg: Jpeg = None,
    scale: Scale = 1,
    kernel: Kernel = None,
    side: Side = 512,
    count: Count = 12,
    seed: Seed = 0,
) -> None:
    """Make scenes with exact truth: sources, reference, masks and a manifest.

    Without any of the options --frames to --jpeg, the scenes differ in depths, PSF and defocus.
    """
    from dfp_batch.config.run_config import kernel_of
    from dfp_batch.synthetic import SceneSet, SceneSpec

    # The options of a scene are taken from the context, which has them by name.
    flags = {field: context.params[flag] for flag, field in _OF_A_SCENE.items()}
    given = {field: value for field, value in flags.items() if value is not None}
    spec = SceneSpec(**given) if given else None
    _write(directory, SceneSet(origin, spec, scale, side, count, seed, kernel_of(kernel)))


def _write(directory: str, scenes: "SceneSet") -> None:
    """Write the scenes and say so; the exit code tells if one could not be made."""
    from dfp_batch.io import urls
    from dfp_batch.synthetic import write_scenes

    url = urls.absolute_url(directory)
    pairs, problems = write_scenes(url, scenes)
    voice.say(f"{len(pairs)} scenes -> {urls.join(url, 'manifest.parquet')}")
    for problem in problems:
        typer.echo(f"not made: {problem}", err=True)
    if problems:
        raise typer.Exit(ExitCode.PAIRS)
