import json
from dataclasses import dataclass, field, replace

import pytest
import torch

from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration
from dfp_batch.config.building import changed as changed_by
from dfp_batch.config.building import describe
from dfp_batch.config.registry import COMPONENTS, FORMER_NAMES, lookup
from dfp_batch.config.run_config import (
    Output,
    RunConfig,
    config_of,
    kernel_of,
    parse_setting,
    run_config,
)
from dfp_batch.core.contracts import FocusMeasure, Merge, NetworkSpec, Reconstruction, Refinement
from dfp_batch.core.degradation import Kernel
from dfp_batch.degradation.kernels import AnisotropicGaussian, Bicubic, Gaussian, Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.focus.sum_modified_laplacian import SumModifiedLaplacian
from dfp_batch.merging.blend import Blend
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.networks.skip_net import SkipNet
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.presets import DEFAULT_PRESET, PRESETS
from dfp_batch.reconstruction.adapted_prior import AdaptedPrior
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.deep_fusion_prior import DeepFusionPrior
from dfp_batch.reconstruction.learned_prior import LearnedPrior
from dfp_batch.refinement.confidence_voting import ConfidenceVoting
from dfp_batch.refinement.decision_embedding import DecisionEmbedding
from dfp_batch.refinement.guided_filter import GuidedFilter
from dfp_batch.refinement.unrefined import Unrefined

FOCUS_MEASURES = (
    "double-reblur, multi-scale-laplacian, sum-modified-laplacian, undecided, module:Class"
)
MERGES = "blend, defocus-spread-correction, laplacian-pyramid, seam-pyramid, unmerged, module:Class"
REFINEMENTS = (
    "area-clean-up, chain, confidence-voting, decision-embedding, guided-filter, potts, "
    "unrefined, module:Class"
)
KERNELS = (
    "lanczos2, bicubic, gaussian, anisotropic-gaussian, auto, sigma=1.2, sigma=1.2x0.8@30, "
    "module:Class"
)
MINE = f"{__name__}:Average"
CONTRACTS = (
    FocusMeasure,
    Refinement,
    Merge,
    Reconstruction,
    Kernel,
    NetworkSpec,
    Registration,
    ExposureMatch,
)


@dataclass(frozen=True)
class Average(FocusMeasure):
    """A focus measure of somebody else: no source is sharper than another."""

    strength: float = 1.0
    inner: SkipNet = field(default_factory=SkipNet)

    def __call__(self, sources):
        return torch.full_like(sources[0][:1], 1 / len(sources)).repeat(len(sources), 1, 1, 1)


@dataclass(frozen=True)
class WithoutDefault(Average):
    strength: float = field()

    def __init__(self, strength):
        object.__setattr__(self, "strength", strength)


def own(part):
    """A part of somebody else that is like one that comes with the package."""
    name = f"Own{part.__name__}"
    globals()[name] = dataclass(frozen=True)(type(name, (part,), {"__module__": __name__}))
    return f"{__name__}:{name}"


OWN = {
    "focus": MINE,
    "refinement": own(GuidedFilter),
    "first": own(ConfidenceVoting),
    "second": own(Unrefined),
    "merge": own(SeamPyramid),
    "base": own(Blend),
    "reconstruction": own(BackProjection),
    "prior": own(LearnedPrior),
    "network": own(SkipNet),
    "align": own(Registration),
    "exposure": own(ExposureMatch),
}


def fusion(settings, preset="paper", file_text=None):
    return run_config(preset, file_text, settings).fusion


# Preset < file < settings.


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_alone(preset):
    assert run_config(preset, None, {}) == RunConfig(preset, FusionConfig.preset(preset))


def test_default_preset():
    assert run_config(None, None, {}).preset == DEFAULT_PRESET
    assert run_config(None, "scale = 3", {}).preset == DEFAULT_PRESET


def test_file_over_preset_and_settings_over_file():
    file_text = """
        preset = "classical"
        scale = 3
        seed = 7
        [reconstruction]
        steps = 4
        [focus]
        sigma_px = 2.5
    """
    config = run_config(None, file_text, {"scale": 4, "reconstruction.steps": 5})
    assert config.preset == "classical"
    assert config.fusion == FusionConfig.preset(
        "classical",
        scale=4,
        seed=7,
        focus=SumModifiedLaplacian(sigma_px=2.5),
        reconstruction=BackProjection(5),
    )


def test_preset_given_wins_over_the_one_of_the_file():
    config = run_config("paper", 'preset = "classical"\nscale = 3', {})
    assert config == RunConfig("paper", FusionConfig(scale=3))


def test_settings_of_none_are_not_given():
    assert fusion({"scale": None, "precision": None}, file_text="scale = 3").scale == 3


def test_nothing_is_changed_in_place():
    settings = {"reconstruction": {"iterations": 3}, "reconstruction.network.kernel_px": 7}
    before = {**settings, "reconstruction": dict(settings["reconstruction"])}
    changed = fusion(settings)
    assert changed.reconstruction == DeepFusionPrior(3, network=SkipNet(kernel_px=7))
    assert settings == before
    assert FusionConfig() == FusionConfig.preset("paper")
    assert PRESETS["paper"] == {}


# Components.


@pytest.mark.parametrize(
    "settings",
    [
        {"focus": "sum-modified-laplacian"},
        {"focus.use": "sum-modified-laplacian"},
        {"focus": {"use": "sum-modified-laplacian"}},
    ],
)
def test_component_by_short_name(settings):
    assert fusion(settings) == FusionConfig(focus=SumModifiedLaplacian())


@pytest.mark.parametrize(
    "settings",
    [
        {"focus": "sum-modified-laplacian", "focus.sigma_px": 2},
        {"focus.sigma_px": 2, "focus": "sum-modified-laplacian"},
        {"focus.sigma_px": 2, "focus.use": "sum-modified-laplacian"},
        {"focus": {"sigma_px": 2}, "focus.use": "sum-modified-laplacian"},
        {"focus.use": "sum-modified-laplacian", "focus": {"sigma_px": 2}},
    ],
)
def test_component_and_its_settings_in_any_order(settings):
    assert fusion(settings).focus == SumModifiedLaplacian(sigma_px=2.0)


def test_naming_the_same_component_keeps_its_settings():
    file_text = "[focus]\nsigma_px = 2.5"
    changed = fusion({"focus": "sum-modified-laplacian"}, "classical", file_text)
    assert changed.focus == SumModifiedLaplacian(sigma_px=2.5)


def test_another_component_starts_from_its_defaults():
    file_text = "[refinement.second]\nradius_px = 9"
    changed = fusion({"refinement": "decision-embedding"}, "classical", file_text)
    assert changed.refinement == DecisionEmbedding()


def test_nested_component():
    changed = fusion({"reconstruction.network.two_3x3": True, "refinement.network": "skipnet"})
    assert changed.reconstruction.network == SkipNet(two_3x3=True)
    assert changed.refinement.network == SkipNet()


def test_component_of_somebody_else():
    changed = fusion({"focus": MINE, "focus.strength": 3, "focus.inner.slope": 0.1})
    assert type(changed.focus).__qualname__ == "Average"
    assert changed.focus.strength == 3.0
    assert changed.focus.inner == SkipNet(slope=0.1)
    assert describe(changed.focus)["use"] == MINE
    assert changed_by(FusionConfig(), describe(changed)) == changed


@pytest.mark.parametrize(
    ("seam", "name", "component"),
    [(seam, *item) for seam, components in COMPONENTS.items() for item in components.items()],
)
def test_every_short_name(seam, name, component):
    (contract,) = (one for one in CONTRACTS if one.seam == seam)
    assert lookup(name, contract, seam) is component
    assert issubclass(component, contract)
    assert describe(component())["use"] == name


# Kernels, which have a short way to say their settings.


@pytest.mark.parametrize(
    ("settings", "kernel"),
    [
        ({}, Lanczos2()),
        ({"kernel": "bicubic"}, Bicubic()),
        ({"kernel": "sigma=1.2"}, Gaussian(1.2)),
        ({"kernel.use": "sigma=1.2"}, Gaussian(1.2)),
        ({"kernel": "gaussian", "kernel.sigma_px": 1.2}, Gaussian(1.2)),
        ({"kernel": "sigma=1.2", "kernel.sigma_px": 0.5}, Gaussian(0.5)),
        ({"kernel": "sigma=1.2x0.8@30"}, AnisotropicGaussian(1.2, 0.8, 30.0)),
        ({"kernel": "sigma=2x.5@-45"}, AnisotropicGaussian(2.0, 0.5, -45.0)),
    ],
)
def test_kernel_by_name_or_by_its_sigma(settings, kernel):
    assert fusion(settings) == FusionConfig(kernel=kernel)


def test_kernel_of_a_file_and_changes_to_it():
    file_text = 'kernel = "sigma=1.2x0.8@30"'
    assert fusion({}, file_text=file_text).kernel == AnisotropicGaussian(1.2, 0.8, 30.0)
    turned = fusion({"kernel.angle_deg": 60}, file_text=file_text).kernel
    assert turned == AnisotropicGaussian(1.2, 0.8, 60.0)
    assert fusion({"kernel": "lanczos2"}, file_text=file_text).kernel == Lanczos2()


@pytest.mark.parametrize("kernel", [Lanczos2(), Gaussian(0.7), AnisotropicGaussian(3.0, 1.0, 5.5)])
def test_kernel_of_is_the_opposite_of_its_text(kernel):
    assert kernel_of(str(kernel)) == kernel
    assert kernel_of(None) == Lanczos2()


# The way to JSON and back.

CONFIGS = [
    *(FusionConfig.preset(name) for name in PRESETS),
    FusionConfig(
        focus=SumModifiedLaplacian(1.5),
        refinement=GuidedFilter(2, 1e-5),
        reconstruction=DeepFusionPrior(
            7, 1e-4, 2.0, 0.0, 0.0, "noise", SkipNet(3, False, (4, 8), 2, 0.0)
        ),
        kernel=AnisotropicGaussian(2.0, 0.5, 30.0),
        scale=1,
        seed=2**63 - 1,
        precision="bf16",
    ),
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("start", CONFIGS)
def test_changing_everything_is_the_opposite_of_describing_it(start, config):
    assert changed_by(start, describe(config)) == config


@pytest.mark.parametrize("config", CONFIGS)
def test_values_given_as_settings_make_the_same_configuration(config):
    values = RunConfig("paper", config).values()
    preset = values.pop("preset")
    assert run_config(preset, None, values) == RunConfig("paper", config)


# Fingerprint.


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kernel": "sigma=1.2x0.8@30", "output.format": "tiff", "align_from": "s3://a/run"},
        {"kernel": "auto", "align.model": "translation", "align.reference": 2, "scale": 3},
        {"focus": MINE, "focus.inner.two_3x3": True, "reconstruction": "deep-fusion-prior"},
    ],
)
def test_a_run_is_made_again_of_the_values_in_its_run_json(preset, settings):
    run = run_config(preset, None, settings)
    again = config_of(json.loads(json.dumps(run.values())))
    assert again == run
    assert again.fingerprint == run.fingerprint


@pytest.mark.parametrize("change", [{"gone": 1}, {"scale": None}, {"preset": "better"}])
def test_values_that_this_version_cannot_make_are_refused(change):
    values = {**run_config("fast", None, {}).values(), **change}
    values = {path: value for path, value in values.items() if path != "scale" or value}
    with pytest.raises(ConfigError, match=r"gone|cannot make \(scale\)|preset must be one of"):
        config_of(values)


# Runs that began when the defaults were others.

NOW = {"scale": 3, "reconstruction.steps": 4}


@pytest.fixture
def begun(monkeypatch):
    """Values and what was given of runs that began before the preset changed."""

    def begin(preset, settings):
        with monkeypatch.context() as patch:
            patch.setitem(PRESETS, "classical", PRESETS["classical"] | {"seed": 7})
            patch.setitem(PRESETS, "balanced", PRESETS["balanced"] | {"seed": 7})
            run = run_config(preset, None, settings)
        assert run.values()["seed"] == 7
        return json.loads(json.dumps(run.values())), json.loads(json.dumps(run.given))

    return begin


def test_what_was_given_is_recorded_in_the_words_of_the_user():
    run = run_config("fast", "[output]\nquality = 70", {"kernel": "sigma=1.2", "scale": None})
    assert run.given == {"preset": "fast", "output.quality": 70, "kernel": "sigma=1.2"}
    assert run_config(None, None, {}).given == {"preset": None}


@pytest.mark.parametrize(
    ("then", "now", "same"),
    [
        (("classical", NOW), ("classical", NOW), True),
        ((None, {}), (DEFAULT_PRESET, {"scale": 2}), True),
        (("classical", NOW), ("classical", {}), False),
        (("classical", {}), ("classical", NOW), False),
        (("classical", {}), (None, {}), False),
    ],
)
def test_the_same_request_resumes_whatever_the_defaults_are_today(begun, then, now, same):
    assert run_config(now[0], None, now[1]).resumes(*begun(*then)) is same


@pytest.mark.parametrize(
    ("then", "now", "same"),
    [
        (("classical", NOW), ("classical", NOW), True),
        (("classical", NOW), ("classical", {"scale": 3}), True),
        (("classical", NOW), ("classical", {"scale": 2}), False),
        (("classical", {}), ("classical", {"seed": 0}), False),
        (("classical", {}), ("fast", {}), False),
        ((None, {}), (None, {}), True),
    ],
)
def test_of_older_runs_nothing_that_is_given_may_change_anything(begun, then, now, same):
    values, _ = begun(*then)
    assert run_config(now[0], None, now[1]).resumes(values, None) is same


def test_an_older_run_keeps_the_parts_that_its_preset_has_no_more(monkeypatch):
    fitted = PRESETS["fast"] | {"reconstruction": AdaptedPrior()}
    monkeypatch.setitem(PRESETS, "balanced", fitted)
    begun = run_config("balanced", None, {"scale": 3})
    monkeypatch.setitem(PRESETS, "balanced", PRESETS["fast"])
    values = json.loads(json.dumps(begun.values()))
    assert run_config("balanced", None, {"scale": 3}).resumes(values, None)
    assert config_of(values) == begun
    assert config_of(values).fingerprint == begun.fingerprint


@pytest.mark.parametrize(("former", "today"), FORMER_NAMES.items())
def test_names_that_components_had_before_are_understood(former, today):
    seam = next(seam for seam, known in COMPONENTS.items() if today in known)
    assert fusion({seam: former}) == fusion({seam: today})
    run = run_config("paper", None, {seam: today})
    values = {**run.values(), f"{seam}.use": former}
    assert run.resumes(values, None)
    assert config_of(values) == run


def test_what_is_not_made_by_words_resumes_only_what_is_equal(begun):
    values, given = begun("classical", {})
    built = RunConfig("classical", FusionConfig.preset("classical"))
    changed = replace(run_config("classical", None, {}), output=Output(quality=50))
    assert not built.resumes(values, None)
    assert not changed.resumes(values, None)
    assert not changed.resumes(values, given)
    assert changed.resumes(changed.values(), None)


def test_fingerprint_is_16_hex_digits_and_equal_for_equal_values():
    one = run_config("classical", "scale = 4", {})
    two = run_config(None, 'preset = "classical"', {"scale": "4", "focus.sigma_px": 4})
    assert one.fingerprint == two.fingerprint
    assert len(one.fingerprint) == 16
    assert int(one.fingerprint, 16) >= 0


OTHER = {
    "averaging": 0.5,
    "weights": "mine.safetensors",
    "precision": "fp32",
    "network_input": "noise",
    "kernel": "lanczos",
    "two_3x3": True,
    "keep_largest": False,
    "widths": [8, 16],
    "format": "tiff",
    "crop": "valid",
    "align_from": "/another/run",
    "align.model": "affine",
    "exposure.model": "gain",
    "align.reference": 1,
    "kernel.use": "bicubic",
}


def another(path, value):
    """A valid value other than ``value``."""
    name = path if path in OTHER else path.rpartition(".")[2]
    if name == "use":
        return OWN[path.split(".")[-2]]
    if name == "policy":
        return "best-of" if value == "always" else "always"
    return OTHER[name] if name in OTHER else value * 2 if isinstance(value, float) else value + 2


LEAVES = [
    (preset, path, value)
    for preset in PRESETS
    for path, value in run_config(preset, None, {}).values().items()
    if path != "preset"
]


@pytest.mark.parametrize(("preset", "path", "value"), LEAVES)
def test_fingerprint_differs_for_every_setting(preset, path, value):
    config = run_config(preset, None, {})
    changed = run_config(preset, None, {path: another(path, value)})
    assert changed.values()[path] != value
    assert changed.fingerprint != config.fingerprint


def test_fingerprint_differs_for_the_preset():
    config = run_config("paper", None, {})
    assert replace(config, preset="classical").fingerprint != config.fingerprint


def test_no_two_settings_share_a_fingerprint():
    fingerprints = {
        run_config(preset, None, {path: another(path, value)}).fingerprint
        for preset, path, value in LEAVES
    }
    assert len(fingerprints) == len(LEAVES)


def test_every_field_is_in_the_values():
    values = run_config("paper", None, {}).values()
    assert values["preset"] == "paper"
    assert values["focus.use"] == "double-reblur"
    assert values["reconstruction.network.widths"] == [8, 16, 32, 64, 128]
    assert values["refinement.network.kernel_px"] == 5
    assert {path for path in values if "." not in path} == {
        "preset",
        "align_from",
        "policy",
        "scale",
        "seed",
        "precision",
    }


# What is refused, and how.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"scael": 2},
            "unknown setting 'scael'; the configuration has: focus, refinement, merge, "
            "reconstruction, align, exposure, kernel, policy, scale, seed, precision",
        ),
        (
            {"refinement.radius_px": 3},
            "unknown setting 'refinement.radius_px'; decision-embedding has: iterations, "
            "learning_rate, network",
        ),
        (
            {"reconstruction.network.depth": 3},
            "unknown setting 'reconstruction.network.depth'; skipnet has: kernel_px, two_3x3, "
            "widths, skip_width, slope",
        ),
        (
            {"use": "skipnet"},
            "unknown setting 'use'; the configuration has: focus, refinement, merge, "
            "reconstruction, align, exposure, kernel, policy, scale, seed, precision",
        ),
        (
            {"focus": "laplacian"},
            f"focus: no component 'laplacian'; known: {FOCUS_MEASURES}",
        ),
        (
            {"focus": "guided-filter"},  # a component of another seam
            f"focus: no component 'guided-filter'; known: {FOCUS_MEASURES}",
        ),
        (
            {"focus": "no_such_module:Class"},
            "focus: no component 'no_such_module:Class'; known: " + FOCUS_MEASURES,
        ),
        (
            {"focus": "dfp_batch.focus.double_reblur:NoSuchClass"},
            "focus: no component 'dfp_batch.focus.double_reblur:NoSuchClass'; known: "
            + FOCUS_MEASURES,
        ),
        (
            {"focus.use": ["double-reblur"]},
            "focus: no component ['double-reblur']; known: " + FOCUS_MEASURES,
        ),
        (
            {"focus": "json:dumps"},
            "focus: json:dumps must be a dataclass, got <function dumps at ",
        ),
        (
            {"focus": f"{__name__}:WithoutDefault"},
            f"focus: every field of {__name__}:WithoutDefault needs a default",
        ),
        ({"focus": 3}, "setting 'focus' must be a name or a table, got 3"),
        (
            {"scale": "two"},
            "setting 'scale': Input should be a valid integer, unable to parse string as an "
            "integer, got 'two'",
        ),
        (
            {"scale.x": 2},
            "setting 'scale': Input should be a valid integer, got {'x': 2}",
        ),
        (
            {"reconstruction.learning_rate": "fast"},
            "setting 'reconstruction.learning_rate': Input should be a valid number, unable to "
            "parse string as a number, got 'fast'",
        ),
        (
            {"precision": "fp16"},
            "setting 'precision': Input should be 'auto', 'fp32' or 'bf16', got 'fp16'",
        ),
        (
            {"reconstruction.network.widths": [8, "x"]},
            "setting 'reconstruction.network.widths': Input should be a valid integer, unable to "
            "parse string as an integer, got [8, 'x']",
        ),
        (
            {"kernel.sigma_px": 1.2},
            "unknown setting 'kernel.sigma_px'; lanczos2 has: none",
        ),
        ({"kernel": "box"}, f"kernel: no component 'box'; known: {KERNELS}"),
        ({"kernel": "sigma="}, f"kernel: no component 'sigma='; known: {KERNELS}"),
        ({"kernel": "sigma=1x2"}, f"kernel: no component 'sigma=1x2'; known: {KERNELS}"),
        (
            {"kernel": "sigma=wide"},
            "setting 'kernel.sigma_px': Input should be a valid number, unable to parse string as "
            "a number, got 'wide'",
        ),
        ({"kernel": "sigma=0"}, "kernel.sigma_px must be > 0 and <= 16.0, got 0.0"),
        (
            {"kernel": MINE},
            f"kernel: {MINE} must be a Kernel: inherit from dfp_batch.core.degradation:Kernel",
        ),
        ({"focus": "sigma=1.2"}, f"focus: no component 'sigma=1.2'; known: {FOCUS_MEASURES}"),
        ({"scale": 5}, "scale must be 1, 2, 3 or 4, got 5"),
        ({"focus.gaussian_px": 4}, "focus.gaussian_px must be >= 1 and odd, got 4"),
        ({"reconstruction.iterations": 0}, "reconstruction.iterations must be >= 1, got 0"),
        (
            {"refinement": "chain", "refinement.first": "votes", "refinement.first.levels": 0},
            "refinement.first.levels must be >= 1, got 0",
        ),
        (
            {"merge": "defocus-spread-correction", "merge.base": "potts"},
            f"merge.base: no component 'potts'; known: {MERGES}",
        ),
        (
            {"refinement": "chain", "refinement.first": "blend"},
            f"refinement.first: no component 'blend'; known: {REFINEMENTS}",
        ),
        (
            {"reconstruction": "adapted-prior", "reconstruction.prior": "back-projection"},
            "reconstruction.prior: no component 'back-projection'; known: learned-prior, "
            "module:Class",
        ),
        (
            {"merge": MINE},
            f"merge: {MINE} must be a Merge: inherit from dfp_batch.core.contracts:Merge",
        ),
        ({"focus": "json:JSONDecoder"}, "focus: json:JSONDecoder must be a dataclass, got <class"),
        (
            {"refinement.network.widths": [8, 0]},
            "refinement.network.widths must be >= 1, got 0",
        ),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError) as caught:
        run_config("paper", None, settings)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("preset", "file_text", "message"),
    [
        (
            "sharpest",
            None,
            "preset must be one of balanced, fast, best, classical, paper, got 'sharpest'",
        ),
        (
            None,
            'preset = "sharpest"',
            "preset must be one of balanced, fast, best, classical, paper, got 'sharpest'",
        ),
        (
            None,
            "preset = [1]",
            "preset must be one of balanced, fast, best, classical, paper, got [1]",
        ),
        (None, "scale: 2", "--config is not valid TOML: "),
        (None, "focus = 1", "setting 'focus' must be a name or a table, got 1"),
    ],
)
def test_wrong_presets_and_files_are_refused(preset, file_text, message):
    with pytest.raises(ConfigError) as caught:
        run_config(preset, file_text, {})
    assert str(caught.value).startswith(message)


# key=value of the command line.


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("scale=4", "scale", 4),
        ("focus = sum-modified-laplacian", "focus", "sum-modified-laplacian"),
        ("focus.keep_largest=false", "focus.keep_largest", False),
        ("reconstruction.learning_rate=1e-4", "reconstruction.learning_rate", 1e-4),
        ("reconstruction.network.widths=[8, 16]", "reconstruction.network.widths", [8, 16]),
        ('precision="fp32"', "precision", "fp32"),
        ("focus=a=b", "focus", "a=b"),
    ],
)
def test_parse_setting(text, key, value):
    assert parse_setting(text) == (key, value)


@pytest.mark.parametrize("text", ["scale", "=4", " =4", ""])
def test_parse_setting_refuses_what_is_not_key_value(text):
    with pytest.raises(ConfigError) as caught:
        parse_setting(text)
    assert str(caught.value) == f"--set takes key=value, got {text!r}"
