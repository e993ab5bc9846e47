"""Configuration of a run: preset, then file, then single settings; all of it ends in run.json.

A component is named by ``use``: a short name that ``COMPONENTS`` has for its seam, or
``module:Class`` of your own. Its other keys are the fields of that class.
Settings address them by dotted paths::

    reconstruction.iterations = 200
    focus.use = "sum-modified-laplacian"        (or just: focus = "sum-modified-laplacian")
    reconstruction.network.two_3x3 = true
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from typing import Any, Literal, get_type_hints

from pydantic import TypeAdapter, ValidationError

from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration
from dfp_batch.core.degradation import Kernel
from dfp_batch.degradation.kernel_estimation import EstimatedKernel
from dfp_batch.degradation.kernels import AnisotropicGaussian, Bicubic, Gaussian, Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.focus.double_reblur import DoubleReblur
from dfp_batch.focus.multi_scale_laplacian import MultiScaleLaplacian
from dfp_batch.focus.sum_modified_laplacian import SumModifiedLaplacian
from dfp_batch.focus.undecided import Undecided
from dfp_batch.merging.blend import Blend
from dfp_batch.merging.defocus_spread import DefocusSpreadCorrection
from dfp_batch.merging.laplacian_pyramid import LaplacianPyramid
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.merging.unmerged import Unmerged
from dfp_batch.networks.skip_net import SkipNet
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.presets import DEFAULT_PRESET
from dfp_batch.reconstruction.adapted_prior import AdaptedPrior
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.deep_fusion_prior import DeepFusionPrior
from dfp_batch.reconstruction.deep_image_prior import DeepImagePrior
from dfp_batch.reconstruction.learned_prior import LearnedPrior
from dfp_batch.refinement.area_clean_up import AreaCleanUp
from dfp_batch.refinement.chain import Chain
from dfp_batch.refinement.confidence_voting import ConfidenceVoting
from dfp_batch.refinement.decision_embedding import DecisionEmbedding
from dfp_batch.refinement.guided_filter import GuidedFilter
from dfp_batch.refinement.potts import Potts
from dfp_batch.refinement.unrefined import Unrefined

COMPONENTS: dict[str, dict[str, type]] = {
    "focus": {
        "double-reblur": DoubleReblur,
        "multi-scale-laplacian": MultiScaleLaplacian,
        "sum-modified-laplacian": SumModifiedLaplacian,
        "undecided": Undecided,
    },
    "refinement": {
        "area-clean-up": AreaCleanUp,
        "decision-embedding": DecisionEmbedding,
        "guided-filter": GuidedFilter,
        "potts": Potts,
        "chain": Chain,
        "unrefined": Unrefined,
        "confidence-voting": ConfidenceVoting,
    },
    "merge": {
        "blend": Blend,
        "laplacian-pyramid": LaplacianPyramid,
        "seam-pyramid": SeamPyramid,
        "unmerged": Unmerged,
        "defocus-spread-correction": DefocusSpreadCorrection,
    },
    "reconstruction": {
        "deep-fusion-prior": DeepFusionPrior,
        "deep-image-prior": DeepImagePrior,
        "back-projection": BackProjection,
        "adapted-prior": AdaptedPrior,
        "learned-prior": LearnedPrior,
    },
    "prior": {"learned-prior": LearnedPrior},
    "kernel": {
        "lanczos2": Lanczos2,
        "bicubic": Bicubic,
        "gaussian": Gaussian,
        "anisotropic-gaussian": AnisotropicGaussian,
        "auto": EstimatedKernel,
    },
    "network": {"skipnet": SkipNet},
    "align": {"registration": Registration},
    "exposure": {"exposure-match": ExposureMatch},
}
FORMER_NAMES = {  # of components, in older runs and files
    "fitted-prior": "adapted-prior",
    "then": "chain",
    "unveiled-seams": "defocus-spread-correction",
    "votes": "confidence-voting",
}
_EVERY = {name: component for seam in COMPONENTS.values() for name, component in seam.items()}
_NAMES = {component: name for name, component in _EVERY.items()}
_ALSO = {"kernel": ("sigma=1.2", "sigma=1.2x0.8@30")}  # short for a component with its settings
_SIGMA = re.compile(r"sigma=([^x@]+)(?:x([^x@]+)@([^x@]+))?")

FORMATS = ("auto", "png", "tiff", "jpeg", "webp")


@dataclass(frozen=True)
class Output:
    """How images are written.

    Attributes:
        format: "png", "tiff", "jpeg" or "webp"; "auto" is png, or tiff for float sources.
        quality: Of jpeg and webp, 1 to 100.
        crop: "none" keeps the size of the reference frame; "valid" cuts to the largest rectangle
            that every frame covers.

    Raises:
        ConfigError: for a field out of its range.
    """

    format: Literal["auto", "png", "tiff", "jpeg", "webp"] = "auto"
    quality: int = 95
    crop: Literal["none", "valid"] = "none"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ConfigError(f"format must be one of {', '.join(FORMATS)}, got {self.format!r}")
        if not 1 <= self.quality <= 100:  # noqa: PLR2004
            raise ConfigError(f"quality must be 1 to 100, got {self.quality}")
        if self.crop not in ("none", "valid"):
            raise ConfigError(f"crop must be none or valid, got {self.crop!r}")


@dataclass(frozen=True)
class RunConfig:
    """What a run computes.

    Attributes:
        preset: The composition it started from.
        fusion: The composition it ended as.
        output: How images are written.
        align_from: URL of a run, or of a registration file, whose registration is used.
        given: What was asked for, ``{"preset": name or None, dotted path: JSON value}``; None if
            that is not known. The rest of the configuration are the defaults of its day.
    """

    preset: str
    fusion: FusionConfig
    output: Output = Output()
    align_from: str | None = None
    given: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def values(self) -> dict[str, Any]:
        """Flat ``{dotted path: JSON value}``, preset included."""
        files = {f"output.{name}": value for name, value in vars(self.output).items()}
        own = {"preset": self.preset, **files, "align_from": self.align_from}
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
        values = _renamed(values)
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
    values = _renamed(values)
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


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flat values of an older version, with the names that components have today."""
    return {
        path: FORMER_NAMES.get(value, value) if path.endswith(".use") else value
        for path, value in values.items()
    }


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
    own = {key: layer[key] for key in ("output", "align_from") if key in layer}
    fusion = {key: value for key, value in layer.items() if key not in {*own, "preset"}}
    changed: RunConfig = replace(rebuild(run, own, ""), fusion=rebuild(run.fusion, fusion, ""))
    return changed


def kernel_of(text: str | None) -> Kernel:
    """A kernel as the command line names it; None is the default one.

    Raises:
        ConfigError: for an unknown name or a value of the wrong type or range.
    """
    kernel: Kernel = rebuild(Lanczos2(), {} if text is None else {"use": text}, "kernel")
    return kernel


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


def describe(component: object) -> dict[str, Any]:
    """Nested JSON values of a component; the opposite of ``rebuild``."""
    described: dict[str, Any] = (
        {} if isinstance(component, FusionConfig) else {"use": _name(type(component))}
    )
    for each in fields(component):  # type: ignore[arg-type]
        value = getattr(component, each.name)
        if is_dataclass(value):
            described[each.name] = describe(value)
        else:
            described[each.name] = list(value) if isinstance(value, tuple) else value
    return described


def rebuild(component: Any, changes: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401
    """A component with some fields changed, or another class where ``use`` says so.

    Args:
        component: A frozen dataclass.
        changes: Nested ``{field: value}``.
        path: Dotted path of the component, for the messages.

    Raises:
        ConfigError: for an unknown field, class or value.
    """
    changes = _spelled_out(changes, path)
    wanted = lookup(changes["use"], path) if path and "use" in changes else type(component)
    base: Any = component if wanted is type(component) else _default(wanted, path)
    hints = get_type_hints(wanted)
    values: dict[str, Any] = {}
    for key, value in changes.items():
        where = f"{path}.{key}" if path else key
        if path and key == "use":
            continue
        if key not in {field.name for field in fields(base)}:
            known = ", ".join(field.name for field in fields(base)) or "none"
            raise ConfigError(f"unknown setting {where!r}; {_name(wanted)} has: {known}")
        current = getattr(base, key)
        if is_dataclass(current):
            nested = {"use": value} if isinstance(value, str) else value
            values[key] = rebuild(current, _mapping(nested, where), where)
        else:
            values[key] = _typed(hints[key], value, where)
    return replace(base, **values)


def lookup(name: str, path: str) -> type:
    """The class of a short name, at the seam that ends ``path``, or of ``module:Class``.

    A seam that a component of somebody else has made up takes every short name.

    Raises:
        ConfigError: if there is none.
    """
    seam = COMPONENTS.get(path.rpartition(".")[2], _EVERY)
    if isinstance(name, str):  # a file may hold anything
        name = FORMER_NAMES.get(name, name)
        if name in seam:
            return seam[name]
    module, _, attribute = str(name).partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        known = ", ".join((*seam, *_ALSO.get(path.rpartition(".")[2], ()), "module:Class"))
        raise ConfigError(f"{path or 'use'}: no component {name!r}; known: {known}") from error
    if not (isinstance(found, type) and is_dataclass(found)):
        raise ConfigError(f"{path}: {name} must be a dataclass, got {found!r}")
    return found


def _spelled_out(changes: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """``sigma=1.2`` and ``sigma=1.2x0.8@30`` in place of a kernel's name say its settings, too."""
    name = changes.get("use")
    match = _SIGMA.fullmatch(name) if isinstance(name, str) else None
    if match is None or path.rpartition(".")[2] != "kernel":
        return changes
    sigma, across, angle = match.groups()
    if across is None:
        said = {"use": "gaussian", "sigma_px": sigma}
    else:
        said = {"use": "anisotropic-gaussian", "sigma_px": sigma}
        said |= {"sigma_across_px": across, "angle_deg": angle}
    return {**said, **{key: value for key, value in changes.items() if key != "use"}}


def _default(wanted: type, path: str) -> Any:  # noqa: ANN401
    try:
        return wanted()
    except TypeError as error:
        raise ConfigError(f"{path}: every field of {_name(wanted)} needs a default") from error


def _name(component: type) -> str:
    return _NAMES.get(component) or (
        "the configuration"
        if component in (FusionConfig, RunConfig, Output)
        else f"{component.__module__}:{component.__qualname__}"
    )


def _typed(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ConfigError(f"setting {where!r}: {reason}, got {value!r}") from error


def _mapping(value: Any, where: str) -> Mapping[str, Any]:  # noqa: ANN401
    if not isinstance(value, Mapping):
        raise ConfigError(f"setting {where!r} must be a name or a table, got {value!r}")
    return value


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
