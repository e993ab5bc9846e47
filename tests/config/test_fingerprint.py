"""Equal configurations have one fingerprint, others another."""

from dataclasses import dataclass, replace

import pytest

from config_parts import MINE
from dfp_batch.alignment.exposure import ExposureMatch
from dfp_batch.alignment.registration import Registration
from dfp_batch.config.run_config import run_config
from dfp_batch.merging.blend import Blend
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.networks.skip_net import SkipNet
from dfp_batch.pipeline.presets import PRESETS
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.learned_prior import LearnedPrior
from dfp_batch.refinement.confidence_voting import ConfidenceVoting
from dfp_batch.refinement.guided_filter import GuidedFilter
from dfp_batch.refinement.unrefined import Unrefined


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
    if name == "near":
        return "last"
    if name == "spots":
        return "keep" if value == "mend" else "mend"
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
        "spots",
        "near",
        "policy",
        "scale",
        "seed",
        "precision",
    }
