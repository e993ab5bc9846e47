"""What is compared: compositions by name, and results that another program has made.

A name is a preset or a baseline ``FUSION+ENLARGER``, followed by any settings::

    classical focus=double-reblur reconstruction.steps=20
    fast kernel=sigma=1.2
    laplacian-pyramid+lanczos
    mask+dip reconstruction.iterations=500

FUSION is average, laplacian-pyramid, mask (focus and refinement of the preset ``classical``) or the
name of external results; ENLARGER is bicubic, lanczos, back-projection or dip (Deep Image Prior).
FUSION alone means bicubic: at scale 1 all enlargers but dip change nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dfp_batch.config.building import describe
from dfp_batch.config.run_config import parse_setting, run_config
from dfp_batch.core.contracts import Reconstruction
from dfp_batch.core.degradation import Kernel
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.errors import ConfigError, ImageError
from dfp_batch.io import codec, storage, urls
from dfp_batch.io.codec import Frame
from dfp_batch.io.codec.names import image_names
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.presets import PRESETS
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.runs.manifest import folder_name

_UNDECIDED = {"focus": "undecided", "refinement": "unrefined"}
_FUSIONS: dict[str, dict[str, Any]] = {
    "average": {**_UNDECIDED, "merge": "blend"},
    "laplacian-pyramid": {**_UNDECIDED, "merge": "laplacian-pyramid"},
    "mask": {"merge": "blend"},
}
_INTERPOLATION = {"reconstruction": "back-projection", "reconstruction.steps": 0}
_ENLARGERS: dict[str, dict[str, Any]] = {
    "bicubic": {**_INTERPOLATION, "reconstruction.kernel": "bicubic"},
    "lanczos": {**_INTERPOLATION, "reconstruction.kernel": "lanczos"},
    "back-projection": {"reconstruction": "back-projection"},
    "dip": {"reconstruction": "deep-image-prior"},
}
_COMMA = re.compile(r",(?![^\[{]*[\]}])")
_EXTERNAL_NAME = re.compile(r"[^\s+,=]+")


@dataclass(frozen=True)
class External:
    """Fused images that another program has made from the same sources.

    They are called ``<item>.<extension>``. Those of scale s lie in the subfolder ``x<s>``; a folder
    without ``x1`` holds the results of scale 1 itself.

    Attributes:
        url: Of the folder.
        enlargement: Of results that are as large as the sources.
        kernel: Blur that the enlargement takes for granted.
    """

    url: str
    enlargement: Reconstruction = field(default_factory=lambda: BackProjection(steps=0))
    kernel: Kernel = field(default_factory=Lanczos2)

    def read(self, item: str, scale: int) -> tuple[Frame, str]:
        """The result for one item, of whatever size it has, and its URL.

        Raises:
            ImageError: if there is none, or two of them, or it cannot be decoded.
            StorageError: if the store failed.
        """
        folder, names = self._listed(scale)
        found = [name for name in names if name.rpartition(".")[0] in (item, folder_name(item))]
        if not found:
            raise ImageError(
                f"{urls.join(folder, folder_name(item))}.*: nothing is there, expected the "
                f"result for this item as an image"
            )
        if len(found) > 1:
            raise ImageError(f"{folder} holds {' and '.join(found)}, expected one of them")
        url = urls.join(folder, found[0])
        return codec.decode(storage.read_bytes(url), url), url

    def _listed(self, scale: int) -> tuple[str, list[str]]:
        """The folder of a scale, and the images in it."""
        files, folders = storage.list_folder(self.url)
        own = f"x{scale}"
        if own in folders:
            folder = urls.join(self.url, own)
            return folder, image_names(storage.list_folder(folder)[0])
        if scale == 1:
            return self.url, image_names(files)
        raise ImageError(
            f"no folder {urls.join(self.url, own)} for scale {scale}; "
            "a flat folder holds results of scale 1"
        )


Method = FusionConfig | External


def named_methods(names: Sequence[str], externals: Mapping[str, str]) -> dict[str, Method]:
    """The methods of the command line.

    Args:
        names: As in the text above.
        externals: URL of the folder by name; one that no name mentions is added at the end.

    Raises:
        ConfigError: for an unknown name or setting, a name given twice, or no method at all.
    """
    _check_external_names(externals)
    methods: dict[str, Method] = {}
    for name in names:
        spelled = " ".join(name.split())
        if spelled in methods:
            raise ConfigError(f"method {spelled!r} is given twice; give each once")
        methods[spelled] = _method(spelled, externals)
    mentioned = {name.partition("+")[0].split()[0] for name in methods}
    unmentioned = [name for name in externals if name not in mentioned]
    methods |= {name: _method(name, externals) for name in unmentioned}
    if not methods:
        raise ConfigError(f"no method to evaluate; name some of {_known(externals)}")
    return methods


def split_names(text: str) -> list[str]:
    """Names between commas; a comma within brackets, as in a list of JSON, does not count."""
    return [name.strip() for name in _COMMA.split(text) if name.strip()]


def split_externals(texts: Sequence[str]) -> dict[str, str]:
    """Folders by name, of ``NAME=DIR``.

    Raises:
        ConfigError: if one is not of that form, or a name is given twice.
    """
    externals: dict[str, str] = {}
    for text in texts:
        name, separator, url = text.partition("=")
        if not (name and separator and url):
            raise ConfigError(f"--external takes NAME=DIR, got {text!r}")
        if name in externals:
            raise ConfigError(f"external results {name!r} are given twice; give each once")
        externals[name] = url
    return externals


def describe_method(method: Method) -> dict[str, Any]:
    """Nested JSON values that are equal exactly for equal methods; the scale is left out."""
    if isinstance(method, External):
        parts = {"enlargement": method.enlargement, "kernel": method.kernel}
        described = {name: describe(part) for name, part in parts.items()}
        return {"external": method.url, **described}
    return {name: value for name, value in describe(method).items() if name != "scale"}


def at_scale(method: FusionConfig, scale: int) -> FusionConfig:
    """The same composition for another scale."""
    return replace(method, scale=scale)


def _method(name: str, externals: Mapping[str, str]) -> Method:
    head, *texts = name.split() or [""]
    settings = dict(map(parse_setting, texts))
    if "scale" in settings:
        raise ConfigError(f"method {name!r}: the scales are given once for all methods")
    if head in PRESETS:
        return run_config(head, None, settings).fusion
    fusion, plus, enlarger = head.partition("+")
    enlargement = _ENLARGERS.get(enlarger if plus else "bicubic")
    if enlargement is None or fusion not in (*_FUSIONS, *externals):
        raise ConfigError(f"unknown method {head!r}; there are {_known(externals)}")
    # A baseline is a row of settings on top of a preset.
    parts = {**enlargement, **_FUSIONS.get(fusion, {}), **settings}
    composed = run_config("classical", None, parts).fusion
    if fusion in externals:
        url = urls.absolute_url(externals[fusion])
        return External(url, composed.reconstruction, composed.kernel)
    return composed


def _known(externals: Mapping[str, str]) -> str:
    fusions = ", ".join((*_FUSIONS, *externals))
    return f"{', '.join(PRESETS)}, or FUSION+ENLARGER of {fusions} and {', '.join(_ENLARGERS)}"


def _check_external_names(externals: Mapping[str, str]) -> None:
    for name in externals:
        if not _EXTERNAL_NAME.fullmatch(name):
            raise ConfigError(
                f"the name of external results must not hold blanks, commas, + or =, got {name!r}"
            )
        if name in PRESETS or name in _FUSIONS:
            raise ConfigError(f"external results must not be called {name!r}: a method is")
