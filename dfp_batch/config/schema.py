"""A configuration as a TOML file, and the JSON schema of such files."""

from dataclasses import fields
from typing import Annotated, Any, Literal, Union, get_type_hints

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model

from dfp_batch.config.building import describe, is_named
from dfp_batch.config.registry import FORMER_NAMES, name_of, parts_for
from dfp_batch.config.run_config import Output, Reading, RunConfig
from dfp_batch.core.degradation import Kernel
from dfp_batch.core.part import Part
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.presets import PRESETS

_OwnName = Annotated[str, StringConstraints(pattern=r"^[\w.]+:\w+$")]
_Sigma = Annotated[str, StringConstraints(pattern=r"^sigma=")]


class _Own(BaseModel):
    """A third-party part: its settings are not known here."""

    model_config = ConfigDict(extra="allow", title="module:Class")
    use: _OwnName


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a TOML file or of nested settings.

    A part is a short name, ``module:Class``, or a table whose ``use`` says which of the parts of
    its seam it is; without one, its settings change the part of the preset.
    """
    models = _Models()
    own: dict[str, Any] = {
        "preset": (Literal[tuple(PRESETS)] | None, None),
        "output": (models.of(Output) | None, None),
        "reading": (models.of(Reading) | None, None),
        "align_from": (str | None, None),
    }
    config = ConfigDict(title="dfp-batch configuration", extra="forbid")
    whole = create_model(
        "Configuration", __config__=config, **own, **models.fields_of(FusionConfig)
    )
    whole.model_rebuild(_types_namespace=models.seams)
    found: dict[str, Any] = whole.model_json_schema()
    return found


class _Models:
    """A model for every part, made when it is first asked for."""

    def __init__(self) -> None:
        self.seams: dict[str, Any] = {}
        self._made: dict[type, type[BaseModel]] = {}

    def of(self, part: type) -> type[BaseModel]:
        """The model of one part; ``use`` may be left out."""
        if part not in self._made:
            named = is_named(part)
            use: dict[str, Any] = {"use": (Literal[name_of(part)] | None, None)} if named else {}
            config = ConfigDict(title=name_of(part) if named else part.__name__, extra="forbid")
            self._made[part] = create_model(
                part.__name__,
                __config__=config,
                __doc__=(part.__doc__ or "").split("\n", 1)[0],
                **use,
                **self.fields_of(part),
            )
        return self._made[part]

    def fields_of(self, part: type) -> dict[str, Any]:
        """Fields of a dataclass with their types and ranges; none of them needs be given."""
        hints = get_type_hints(part, include_extras=True)
        return {
            field.name: (self._kind(hints[field.name]), Field(default=None))
            for field in fields(part)
        }

    def _kind(self, hint: Any) -> Any:  # noqa: ANN401 - a type
        if isinstance(hint, type) and issubclass(hint, Part) and is_named(hint):
            return self._seam(hint)
        return hint

    def _seam(self, declared: type[Part]) -> Any:  # noqa: ANN401 - a type
        """A name or a table, of the parts that belong there; by reference, as they may nest."""
        name = f"Any{declared.__name__}"
        if name not in self.seams:
            self.seams[name] = None  # those that nest refer to it
            parts = parts_for(declared)
            former = [old for old, new in FORMER_NAMES.items() if new in parts]
            tables = [self.of(part) for part in parts.values()]
            names = [
                Literal[(*parts, *former)],
                _OwnName,
                *([_Sigma] if declared is Kernel else []),
            ]
            self.seams[name] = Union[(*names, *tables, _Own)]
            for table in tables:
                table.model_rebuild(_types_namespace=self.seams, raise_errors=False)
        return name


def as_toml(run: RunConfig) -> str:
    """A whole configuration as a TOML file, which ``--config`` takes; what is None is left out."""
    own = {"output": describe(run.output), "reading": describe(run.reading)}
    tables = {**own, **describe(run.fusion)}
    known = {"preset": run.preset, "align_from": run.align_from, **tables}
    return tomli_w.dumps(_without_none(known))


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in table.items()
        if value is not None
    }
