"""Options that several commands share, and the configuration that comes of them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dfp_batch import errors

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
        help="balanced (default), fast: in one pass, classical: the floor, or paper: as published, "
        "slow."
    ),
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
ImageFormat = Annotated[
    str | None,
    typer.Option(
        "--format", help="png, tiff, jpeg or webp; default png, or tiff for float sources."
    ),
]
Crop = Annotated[
    str | None,
    typer.Option(help="none (default), or valid: the largest rectangle every frame covers."),
]
Quality = Annotated[int | None, typer.Option(help="Of jpeg and webp, 1 to 100; default 95.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run directory: path or URL.")]


def resolve(
    preset: str | None, file: Path | None, settings: list[str] | None, flags: dict[str, Any]
) -> Any:  # noqa: ANN401 - RunConfig, which --help must not import
    """Preset < file < settings < flags; None flags were not given.

    Raises:
        ConfigError: for a file that is not there, an unknown name or a wrong value.
    """
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
