"""A configuration made of a preset, a file and settings, in words."""

import pytest

from config_parts import MINE, fusion
from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration
from dfp_batch.config.building import changed as changed_by
from dfp_batch.config.building import describe
from dfp_batch.config.registry import COMPONENTS, lookup
from dfp_batch.config.run_config import RunConfig, kernel_of, run_config
from dfp_batch.core.contracts import FocusMeasure, Merge, NetworkSpec, Reconstruction, Refinement
from dfp_batch.core.degradation import Kernel
from dfp_batch.degradation.kernels import AnisotropicGaussian, Bicubic, Gaussian, Lanczos2
from dfp_batch.focus.sum_modified_laplacian import SumModifiedLaplacian
from dfp_batch.networks.skip_net import SkipNet
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.presets import DEFAULT_PRESET, PRESETS
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.deep_fusion_prior import DeepFusionPrior
from dfp_batch.refinement.decision_embedding import DecisionEmbedding
from dfp_batch.refinement.guided_filter import GuidedFilter

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
