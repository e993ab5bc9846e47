"""Options that several commands share, and the configuration that comes of them."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
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
        "Gaussian, in px of the result), sigma=1.2x0.8@30 (along, across, degrees), auto: "
        "estimated for each camera of a run, or auto-item: for every item.",
    ),
]


def _presets(incomplete: str) -> list[str]:
    """For the shell; the table of presets itself is slow to import."""
    known = ("balanced", "fast", "best", "classical", "paper")
    return [name for name in known if name.startswith(incomplete)]


Preset = Annotated[
    str | None,
    typer.Option(
        autocompletion=_presets,
        help="balanced (default), fast: with a network of half the depth, best: the network of "
        "balanced fitted to every item, slow, classical: the floor, or paper: as published, "
        "slower.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="One setting, e.g. refinement.second.contrast=80."
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file with settings; flags win over it.")
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="auto (default), fp32, bf16 or int8; auto is what a short measurement in every worker "
        "finds clearly the fastest."
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
        "--format",
        help="png, tiff, jpeg, webp or ome-zarr; default png, or tiff for what png does not hold.",
    ),
]
Crop = Annotated[
    str | None,
    typer.Option(help="none (default), or valid: the largest rectangle every frame covers."),
]
Near = Annotated[
    str | None,
    typer.Option(
        metavar="first|last|auto",
        help="End of the stack that is near: where two depths are in focus at one place, as a wide "
        "aperture sees through the blur of what is near, the nearer one counts. Default: neither.",
    ),
]
StackAxis = Annotated[
    str | None,
    typer.Option(help="Axis of a file that is the depth: Z (default), or T, as some store it."),
]
FocusChannel = Annotated[
    str | None,
    typer.Option(
        metavar="N|sum",
        help="Of files with several channels: the one that decides, from 0 on, or sum (default). "
        "Every channel is fused by that decision.",
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        help="none (default) refuses frames of several sizes; crop takes the top left that all "
        "have, if they differ by a few pixels."
    ),
]
GpusPerPair = Annotated[
    float | None,
    typer.Option(help="GPUs per pair, e.g. 0.25 for small images; default 1 where there are GPUs."),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="http://HEAD:8265 sends the run to that Ray cluster; HOST:PORT joins it, on one "
        "of its machines; default RAY_ADDRESS. Without either Ray starts here."
    ),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="With http://: show what the run says, to its end.")
]
MaxFailureRate = Annotated[
    float, typer.Option(min=0, max=1, help="Stop when more than this share fails.")
]
Takeover = Annotated[
    bool, typer.Option("--takeover", help="Take the run from a driver that seems alive.")
]
Until = Annotated[
    str | None,
    typer.Option(
        metavar="07:00",
        help="Stop then, on the clock of this machine, or at a date and time; begins no pair that "
        "would not end. The same command goes on.",
    ),
]
MaxHours = Annotated[float | None, typer.Option(min=0, help="As --until, so many hours from now.")]
Notify = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Send it a JSON by POST when the session ends, however."),
]
CompareFloor = Annotated[
    str,
    typer.Option(
        metavar="all|sample|none",
        help="Which pairs are compared with the classical floor, which costs as much as that "
        "preset: a sample is the first ten and 2 % of the others.",
    ),
]
Quality = Annotated[int | None, typer.Option(help="Of jpeg and webp, 1 to 100; default 95.")]
Gap = Annotated[
    str | None,
    typer.Option(
        metavar="5s",
        help="Cut each folder into stacks where no photograph was taken for longer, by EXIF times.",
    ),
]
Every = Annotated[
    int | None, typer.Option(metavar="N", help="Cut each folder into stacks of N images.")
]
Group = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help=r"What belongs together by its path from DIR on, without the ending: a group pair, "
        r"and perhaps z, its place; e.g. '(?P<pair>.+)_z(?P<z>\d+)'.",
    ),
]
Anonymous = Annotated[
    bool,
    typer.Option(
        "--anonymous",
        help="Read a public bucket without credentials; the bucket of what is written has its own.",
    ),
]
Source = Annotated[
    str, typer.Argument(metavar="MANIFEST|DIR", help="Parquet manifest, or folder: path or URL.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run directory: path or URL.")]


# What says what to compute: options of every command that does, and the settings they stand for.
_COMPOSITION: dict[str, Any] = {
    "scale": Scale,
    "kernel": Kernel,
    "preset": Preset,
    "settings": Settings,
    "config": ConfigFile,
    "precision": Precision,
    "align": Align,
    "align_from": AlignFrom,
    "reference": ReferenceFrame,
    "image_format": ImageFormat,
    "quality": Quality,
    "crop": Crop,
    "near": Near,
    "stack_axis": StackAxis,
    "focus_channel": FocusChannel,
    "fit": Fit,
}
_SETTINGS = {
    "scale": "scale",
    "kernel": "kernel",
    "precision": "precision",
    "align": "align.model",
    "align_from": "align_from",
    "reference": "align.reference",
    "image_format": "output.format",
    "quality": "output.quality",
    "crop": "output.crop",
    "near": "near",
    "stack_axis": "reading.stack_axis",
    "focus_channel": "reading.focus_channel",
    "fit": "reading.fit",
}


# How a session runs, and their defaults.
_SESSION: dict[str, tuple[Any, Any]] = {
    "gpus_per_pair": (GpusPerPair, None),
    "address": (Address, None),
    "wait": (Wait, False),
    "max_failure_rate": (MaxFailureRate, 0.2),
    "until": (Until, None),
    "max_hours": (MaxHours, None),
    "takeover": (Takeover, False),
    "notify": (Notify, None),
}

Command = Callable[..., None]


def with_composition(*without: str) -> Callable[[Command], Command]:
    """Decorator of a command: options that say what to compute, before its own.

    The command has a ``context``, from which ``resolve`` takes them.

    Args:
        without: Names of those that it has not.
    """
    shared = {name: (kind, None) for name, kind in _COMPOSITION.items() if name not in without}
    return lambda command: _with_options(command, shared, own_first=False)


def with_session(command: Command) -> Command:
    """Decorator of a command: options that say how a session runs, after its own.

    The command has a ``context``, from which ``session.settings`` takes them.
    """
    return _with_options(command, _SESSION, own_first=True)


def _with_options(
    command: Command, shared: Mapping[str, tuple[Any, Any]], own_first: bool
) -> Command:
    """A command that has further options, which it finds in its context."""

    @wraps(command)
    def with_options(**given: Any) -> None:  # noqa: ANN401 - values of options
        command(**{name: value for name, value in given.items() if name in own})

    own = signature(command).parameters
    required = sum(parameter.default is Parameter.empty for parameter in own.values())
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in shared.items()
    ]
    keyword = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in own.values()]
    at = len(keyword) if own_first else required
    every = [*keyword[:at], *options, *keyword[at:]]
    with_options.__signature__ = Signature(every)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in every}
    return with_options


def resolve(context: typer.Context, more: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - RunConfig, which --help must not import
    """What to compute: preset < file < settings < flags, of those that were given.

    Args:
        context: Of the command, with its parameters.
        more: Further settings.

    Raises:
        ConfigError: for a file that is not there, an unknown name or a wrong value.
    """
    from dfp_batch.config.run_config import parse_setting, run_config
    from dfp_batch.io import urls

    flags = context.params
    file = Path(flags["config"]) if flags["config"] is not None else None
    if file is not None and not file.is_file():
        raise errors.ConfigError(f"--config {file}: no such file")
    given: dict[str, Any] = {setting: flags.get(name) for name, setting in _SETTINGS.items()}
    given |= more or {}
    given = {setting: value for setting, value in given.items() if value is not None}
    channel = given.get("reading.focus_channel")
    if channel is not None and channel.isdecimal():
        given["reading.focus_channel"] = int(channel)
    if "align_from" in given:
        given["align_from"] = urls.absolute_url(given["align_from"])
    if given.get("align.model") == "file":
        del given["align.model"]
        if "align_from" not in given:
            raise errors.ConfigError("--align file needs --align-from RUN")
    settings = dict(map(parse_setting, flags["settings"] or []))
    text = file.read_text() if file is not None else None
    return run_config(flags["preset"], text, {**settings, **given})
