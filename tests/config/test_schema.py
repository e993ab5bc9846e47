"""The schema says what the configuration takes, and TOML takes it there and back."""

import tomllib
from dataclasses import replace

import jsonschema
import pytest

from dfp_batch.config.run_config import Output, Reading, config_of, run_config
from dfp_batch.config.schema import as_toml, json_schema
from dfp_batch.degradation.kernels import AnisotropicGaussian
from dfp_batch.errors import ConfigError
from dfp_batch.pipeline.presets import PRESETS


@pytest.fixture(scope="module")
def schema():
    found = json_schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_comes_back_from_its_toml(preset, schema):
    run = run_config(preset, None, {"kernel": "sigma=1.2x0.8@30", "align.reference": 2})
    run = replace(run, output=Output("tiff", 80, "valid"), align_from="s3://a/run")
    run = replace(run, reading=Reading("T", 1, "crop"))
    text = as_toml(run)
    schema.validate(tomllib.loads(text))
    assert run_config(None, text, {}) == run
    assert config_of(run_config(None, text, {}).values()) == run


@pytest.mark.parametrize(
    "text",
    [
        "",
        "focus.sigma_px = 2",
        'refinement = "votes"',  # its former name
        'kernel = "sigma=1.2"',
        'focus = "my.package:Measure"',
        '[focus]\nuse = "my.package:Measure"\nstrength = 3',
        '[refinement]\nuse = "chain"\n[refinement.first]\nuse = "chain"\nsecond = "potts"',
        '[reconstruction]\nuse = "adapted-prior"\n[reconstruction.prior]\nweights = "small"',
    ],
)
def test_what_the_configuration_takes_is_in_the_schema(text, schema):
    schema.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "scael = 2",
        'focus = "potts"',
        '[merge]\nuse = "defocus-spread-correction"\nbase = "potts"',
        '[refinement]\nuse = "chain"\nfirst = "blend"',
        '[focus]\nuse = "sum-modified-laplacian"\nsigma_px = 0',
        '[focus]\nuse = "sum-modified-laplacian"\nradius_px = 1',
        "[refinement.network]\nwidths = [8, 0]",
        'scale = "two"',
        'preset = "sharpest"',
        "output.quality = 101",
        'precision = "fp16"',
    ],
)
def test_what_is_refused_is_not_in_the_schema(text, schema):
    with pytest.raises(jsonschema.ValidationError):
        schema.validate(tomllib.loads(text))
    with pytest.raises(ConfigError):
        run_config(None if "preset" in text else "paper", text, {})


def test_every_part_and_setting_has_a_description_or_a_title(schema):
    for part in schema.schema["$defs"].values():
        assert part.get("description") or part["title"]
        assert all("title" in one or "$ref" in one for one in part["properties"].values())


def test_the_kernel_of_the_shorthand_is_written_as_a_table():
    text = as_toml(run_config("paper", None, {"kernel": "sigma=1.2x0.8@30"}))
    table = {"use": "anisotropic-gaussian", "sigma_px": 1.2, "sigma_across_px": 0.8}
    assert tomllib.loads(text)["kernel"] == {**table, "angle_deg": 30.0}
    assert run_config(None, text, {}).fusion.kernel == AnisotropicGaussian(1.2, 0.8, 30.0)
