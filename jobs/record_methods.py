"""The methods that the records compare: presets, parts of them, and baselines."""

from collections.abc import Mapping, Sequence
from typing import Any

from dfp_batch.config.run_config import run_config
from dfp_batch.evaluation import Method, named_methods
from dfp_batch.pipeline.composition import FusionConfig

Settings = Mapping[str, Any]

FUSERS = ("average", "laplacian-pyramid", "mask")
ENLARGERS = ("bicubic", "lanczos", "back-projection")
UNENLARGED: Settings = {"reconstruction": "back-projection", "reconstruction.steps": 0}
# The paper's Fig. 8: [kg, kd, ke, t, f] of DoubleReblur, and its default.
REBLUR = {
    "[5,3,3,0.01,1]": (5, 3, 3, 0.01),
    "[3,5,5,0,1]": (3, 5, 5, 0.0),
    "[3,5,5,0.01,1]": (3, 5, 5, 0.01),
    "[3,5,5,0.05,1]": (3, 5, 5, 0.05),
}


def composition(preset: str, settings: Settings) -> FusionConfig:
    """A preset with some settings changed."""
    return run_config(preset, None, settings).fusion


def grid(fusers: Sequence[str] = FUSERS) -> dict[str, Method]:
    """The presets, and every fuser with every enlarger."""
    names = [f"{fuser}+{enlarger}" for enlarger in ENLARGERS for fuser in fusers]
    first = ["laplacian-pyramid+bicubic", "best", "balanced", "fast", "classical"]
    return named_methods(first, {}) | named_methods(names, {})


def fusion_only() -> dict[str, Method]:
    """Fusers at scale 1."""
    windowed = {"merge": "laplacian-pyramid", "merge.window_px": 5}
    narrow = {"merge": "laplacian-pyramid", "merge.window_px": 3}
    return {
        **named_methods(["laplacian-pyramid", "fast", "classical", "average"], {}),
        "fast, spread uncorrected": composition("fast", {"merge.base.base": "seam-pyramid"}),
        "fast, blend": composition("fast", {"merge": "blend"}),
        "laplacian-pyramid, window 3": composition("fast", narrow),
        "laplacian-pyramid, window 5": composition("fast", windowed),
    }


def nothing_in_focus() -> dict[str, Method]:
    """The preset of one pass with and without what it does where nothing is in focus."""
    return {
        "fast, as before": composition(
            "fast", {"refinement": "potts", "merge.base": "defocus-spread-correction"}
        ),
        "fast, no coarse focus": composition("fast", {"refinement": "potts"}),
        "fast, no gradient domain": composition(
            "fast", {"merge.base": "defocus-spread-correction"}
        ),
        **named_methods(["fast", "classical", "laplacian-pyramid"], {}),
    }


def every_frame() -> dict[str, Method]:
    """Two presets with and without the average of the frames that show the same."""
    alone = {
        preset: {"merge": "gradient-domain", "merge.base": base}
        for preset, base in (("fast", "defocus-spread-correction"), ("classical", "seam-pyramid"))
    }
    return {
        **{
            f"{preset}, decided frames alone": composition(preset, settings)
            for preset, settings in alone.items()
        },
        **named_methods(["fast", "classical"], {}),
    }


def focus_measures() -> dict[str, Method]:
    """Every focus measure alone, and the two best with their refinement; no enlargement."""
    alone = {"refinement": "unrefined", **UNENLARGED}
    return {
        "classical": composition("classical", UNENLARGED),
        "fast": composition("fast", UNENLARGED),
        "multi-scale-laplacian": composition(
            "fast", {**alone, "focus": "multi-scale-laplacian", "merge": "blend"}
        ),
        "sum-modified-laplacian": composition("classical", alone),
        "sum-modified-laplacian, sigma 2": composition(
            "classical", {**alone, "focus.sigma_px": 2.0}
        ),
        "double-reblur": composition("classical", {**alone, "focus": "double-reblur"}),
    }


def refinements() -> dict[str, Method]:
    """Every refinement alone and combined, after each of the two measures; blended."""
    chains: dict[str, Settings] = {
        "nothing": {"refinement": "unrefined"},
        "clean-up": {"refinement": "area-clean-up"},
        "guided filter": {"refinement": "guided-filter"},
        "clean-up, guided filter": {"refinement": "chain"},
        "confidence-voting": {"refinement": "confidence-voting"},
        "votes, guided filter": {"refinement": "chain", "refinement.first": "confidence-voting"},
        "embedding": {"refinement": "decision-embedding"},
        "potts": {"refinement": "potts"},
        "potts, guided filter": {"refinement": "chain", "refinement.first": "potts"},
    }
    measures = {"sml": "sum-modified-laplacian", "multi-scale": "multi-scale-laplacian"}
    return {
        f"{short}: {chain}": composition("classical", {**UNENLARGED, **settings, "focus": measure})
        for short, measure in measures.items()
        for chain, settings in chains.items()
    }


def held_still() -> dict[str, Method]:
    """The presets with and without registration and exposure matching."""
    as_they_are = {"align.model": "none", "exposure.model": "none"}
    return {
        f"{preset}{suffix}": composition(preset, settings)
        for suffix, settings in (("", {}), (", as they are", as_they_are))
        for preset in ("fast", "classical")
    }


def priors() -> dict[str, Method]:
    """The presets that enlarge with the learned prior, and the floor."""
    return named_methods(["classical", "fast", "balanced", "best", "mask+bicubic"], {})


def defocus_spread() -> dict[str, Method]:
    """The preset of one pass with and without the correction of the defocus spread."""
    uncorrected = composition("fast", {"merge.base.base": "seam-pyramid"})
    return {"fast, spread uncorrected": uncorrected, **named_methods(["fast", "classical"], {})}


def kernels_believed() -> dict[str, Method]:
    """Two presets with the default kernel, with an estimated one, and with the true one."""
    kernels = ("", " kernel=auto", " kernel=sigma=1.2")
    names = [f"{preset}{kernel}" for preset in ("balanced", "best") for kernel in kernels]
    return named_methods([*names, "classical", "mask+bicubic"], {})


def with_auto() -> dict[str, Method]:
    """Two presets with the default kernel and with an estimated one."""
    names = [
        f"{preset}{kernel}" for preset in ("balanced", "best") for kernel in ("", " kernel=auto")
    ]
    return named_methods(names, {})


def against_the_paper() -> dict[str, Method]:
    """The presets."""
    return named_methods(["paper", "classical", "fast", "balanced", "best"], {})


def reblur_settings() -> dict[str, Method]:
    """DoubleReblur as in Fig. 8, hard selection."""
    fixed = {"focus": "double-reblur", "refinement": "unrefined", **UNENLARGED}
    return {
        f"double-reblur {name}": composition("classical", {**fixed, **reblur(*values)})
        for name, values in REBLUR.items()
    }


def reblur_priors() -> dict[str, Method]:
    """The preset ``paper`` with DoubleReblur as in Fig. 8."""
    return {
        f"paper {name}": composition("paper", reblur(*values)) for name, values in REBLUR.items()
    }


def reblur(gaussian: int, dilation: int, erosion: int, threshold: float) -> dict[str, Any]:
    """Settings of DoubleReblur."""
    return {
        "focus.gaussian_px": gaussian,
        "focus.dilation_px": dilation,
        "focus.erosion_px": erosion,
        "focus.threshold": threshold,
    }


def with_the_paper() -> dict[str, Method]:
    """What is slow, beside the floor."""
    names = ["classical", "fast", "paper", "mask+bicubic", "laplacian-pyramid+bicubic"]
    return named_methods([*names, "mask+dip"], {})
