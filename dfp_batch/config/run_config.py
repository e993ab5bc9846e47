"""Configuration of a run: preset, then file, then single settings; all of it ends in run.json.

A part is named by ``use``: a short name, or ``module:Class`` of your own. Its other keys are the
fields of that class. Settings address them by dotted paths::

    reconstruction.iterations = 200
    focus.use = "sum-modified-laplacian"        (or just: focus = "sum-modified-laplacian")
    reconstruction.network.two_3x3 = true
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, cast

from annotated_types import Ge, Le, Predicate

from dfp_batch.config.building import built, changed, describe
from dfp_batch.config.registry import FORMER_NAMES
from dfp_batch.core.degradation import Kernel
from dfp_batch.core.part import Part
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.presets import DEFAULT_PRESET


@dataclass(frozen=True)
class Output(Part):
    """How images are written.

    Attributes:
        format: "png", "tiff", "jpeg", "webp" or "ome-zarr"; "auto" is png, or tiff for samples that
            png does not hold.
        quality: Of jpeg and webp, 1 to 100.
        crop: "none" keeps the size of the reference frame; "valid" cuts to the largest rectangle
            that every frame covers.

    Raises:
        ConfigError: for a field out of its range.
    """

    format: Literal["auto", "png", "tiff", "jpeg", "webp", "ome-zarr"] = "auto"
    quality: Annotated[int, Ge(1), Le(100)] = 95
    crop: Literal["none", "valid"] = "none"


def is_channel(value: int | str) -> bool:
    """Sum, or the number of a channel from 0 on."""
    return value == "sum" or (isinstance(value, int) and value >= 0)


@dataclass(frozen=True)
class Reading(Part):
    """How the files of a pair become its frames.

    What is later than the first runs is recorded only where it is not the default: older runs keep
    their fingerprint.

    Attributes:
        stack_axis: Axis of a file that is the depth: "Z", or "T", as some programs store it.
        focus_channel: Of a file of several channels the one that is decided by, 0 for the first;
            "sum" is all of them together.
        fit: "none" refuses frames of several sizes; "crop" takes the top left that all of them
            have, if they differ by a few pixels.

    Raises:
        ConfigError: for a field out of its range.
    """

    stack_axis: Literal["Z", "T"] = "Z"
    focus_channel: Annotated[int | str, Predicate(is_channel)] = "sum"
    fit: Literal["none", "crop"] = "none"

    def changes(self) -> dict[str, int | str]:
        """The fields that are not as by default."""
        usual = vars(Reading())
        return {name: value for name, value in vars(self).items() if value != usual[name]}


@dataclass(frozen=True)
class RunConfig:
    """What a run computes.

    Attributes:
        preset: The composition it started from.
        fusion: The composition it ended as.
        output: How images are written.
        reading: How the files of a pair become its frames.
        align_from: URL of a run, or of a registration file, whose registration is used.
        given: What was asked for, ``{"preset": name or None, dotted path: JSON value}``; None if
            that is not known. The rest of the configuration are the defaults of its day.
    """

    preset: str
    fusion: FusionConfig
    output: Output = Output()
    align_from: str | None = None
    given: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    reading: Reading = Reading()

    def values(self) -> dict[str, Any]:
        """Flat ``{dotted path: JSON value}``, preset included."""
        files = {f"output.{name}": value for name, value in vars(self.output).items()}
        read = {f"reading.{name}": value for name, value in self.reading.changes().items()}
        own = {"preset": self.preset, **files, **read, "align_from": self.align_from}
        return {**own, **_flat(describe(self.fusion))}

    @property
    def fingerprint(self) -> str:
        """16 hex digits that are equal exactly for equal ``values``."""
        text = json.dumps(self.values(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def resumes(self, values: Mapping[str, Any], given: Mapping[str, Any] | None) -> bool:
        """Whether a run that began with these is the one that is asked for.

        It is if its configuration is this one, or if the same was given and only the defaults are
        others today. Of older runs it is not known what was given: what is given now must change
        nothing in them.

        Args:
            values: Of the run.
            given: When the run began, None if that is not known.
        """
        values = renamed(values)
        if self.values() == values:
            return True
        if given is not None:
            return _resolved(given) == self
        if self.given is None or _resolved(self.given) != self or self.preset != values["preset"]:
            return False
        begun = config_of(values)
        return _changed(begun, _nested(_settings_of(self.given))) == begun


def run_config(preset: str | None, file_text: str | None, settings: Mapping[str, Any]) -> RunConfig:
    """Resolve preset < file < settings.

    Args:
        preset: Name, or None for the file's or the default one.
        file_text: TOML text, or None.
        settings: ``{dotted path: value}``; None values are left out.

    Raises:
        ConfigError: for an unknown name or a value of the wrong type or range.
    """
    changes = _parse_toml(file_text) if file_text is not None else {}
    name = preset or changes.get("preset", DEFAULT_PRESET)
    chosen = {path: value for path, value in settings.items() if value is not None}
    said = {**_flat(changes), **chosen, "preset": preset or changes.get("preset")}
    given = json.loads(json.dumps(said, default=str))  # as run.json will have it
    run = RunConfig(name, FusionConfig.preset(name), given=given)
    for layer in (changes, _nested(chosen)):
        run = _changed(run, layer)
    return run


def config_of(values: Mapping[str, Any]) -> RunConfig:
    """The configuration that ``RunConfig.values`` has told of.

    Raises:
        ConfigError: if this version of the package cannot make the same.
    """
    values = renamed(values)
    name = values.get("preset")
    base = RunConfig(str(name), FusionConfig.preset(str(name)))
    run = _changed(base, _nested(_settings_of(values)))
    made = run.values()
    others = sorted(path for path in {*made, *values} if made.get(path) != values.get(path))
    if others or made.keys() != values.keys():
        named = ", ".join(others or sorted(made.keys() ^ values.keys()))
        raise ConfigError(
            f"the run has a configuration that this version cannot make ({named}); use the version "
            "of dfp-batch that run.json names, or another --output for a new run"
        )
    return run


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """``RunConfig.values`` of an older version, with the names that components have today."""
    today = {
        path: FORMER_NAMES.get(value, value) if path.endswith(".use") else value
        for path, value in values.items()
    }
    if today.get("kernel.use") == "auto" and "kernel.sample" not in today:
        today["kernel.use"] = "auto-item"  # as it was once
    return today


def _resolved(given: Mapping[str, Any]) -> RunConfig | None:
    """What comes of it today, None if nothing does."""
    try:
        return run_config(given.get("preset"), None, _settings_of(given))
    except ConfigError:
        return None


def _settings_of(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in flat.items() if path != "preset"}


def _changed(run: RunConfig, layer: Mapping[str, Any]) -> RunConfig:
    """A configuration with nested settings applied."""
    own = {key: layer[key] for key in ("output", "reading", "align_from") if key in layer}
    fusion = {key: value for key, value in layer.items() if key not in {*own, "preset"}}
    return replace(changed(run, own), fusion=changed(run.fusion, fusion))


def kernel_of(text: str | None) -> Kernel:
    """A kernel as the command line names it; None is the default one.

    Raises:
        ConfigError: for an unknown name or a value of the wrong type or range.
    """
    if text is None:
        return Lanczos2()
    return cast(Kernel, built(Kernel, Lanczos2(), text, "kernel"))


def parse_setting(text: str) -> tuple[str, Any]:
    """``key=value`` of the command line; the value is JSON where it parses as such.

    Raises:
        ConfigError: without a ``=`` or a key.
    """
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set takes key=value, got {text!r}")
    try:
        return key.strip(), json.loads(value)
    except json.JSONDecodeError:
        return key.strip(), value.strip()


def _parse_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--config is not valid TOML: {error}") from error


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        path = f"{prefix}{key}"
        flat |= _flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return flat


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        table = nested
        for parent in parents:
            table[parent] = _table(table.get(parent, {}))
            table = table[parent]
        both = isinstance(table.get(leaf), dict)  # the component and some of its settings
        table[leaf] = {**table[leaf], **_table(value)} if both else value
    return nested


def _table(entry: Any) -> dict[str, Any]:  # noqa: ANN401
    return dict(entry) if isinstance(entry, Mapping) else {"use": entry}
