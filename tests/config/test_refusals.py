"""What is wrong with a setting, a preset or a file is said in one line."""

import pytest

from config_parts import MINE, WITHOUT_DEFAULT
from dfp_batch.config.run_config import parse_setting, run_config
from dfp_batch.errors import ConfigError

FOCUS_MEASURES = (
    "double-reblur, multi-scale-laplacian, sum-modified-laplacian, undecided, module:Class"
)
MERGES = (
    "blend, defocus-spread-correction, every-frame, gradient-domain, laplacian-pyramid, "
    "seam-pyramid, unmerged, module:Class"
)
REFINEMENTS = (
    "area-clean-up, chain, coarse-focus, confidence-voting, decision-embedding, guided-filter, "
    "potts, unrefined, module:Class"
)
KERNELS = (
    "lanczos2, bicubic, gaussian, anisotropic-gaussian, auto, auto-item, sigma=1.2, "
    "sigma=1.2x0.8@30, module:Class"
)


# What is refused, and how.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"scael": 2},
            "unknown setting 'scael'; the configuration has: focus, refinement, merge, "
            "reconstruction, align, exposure, kernel, spots, near, policy, scale, seed, precision",
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
            "reconstruction, align, exposure, kernel, spots, near, policy, scale, seed, precision",
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
            {"focus": WITHOUT_DEFAULT},
            f"focus: every field of {WITHOUT_DEFAULT} needs a default",
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
            "setting 'precision': Input should be 'auto', 'fp32', 'bf16' or 'int8', got 'fp16'",
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
