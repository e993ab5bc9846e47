"""A run goes on with the configuration it began with."""

import json
from dataclasses import replace

import pytest

from config_parts import MINE, fusion
from dfp_batch.config.registry import COMPONENTS, FORMER_NAMES
from dfp_batch.config.run_config import Output, RunConfig, config_of, run_config
from dfp_batch.errors import ConfigError
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.presets import DEFAULT_PRESET, PRESETS
from dfp_batch.reconstruction.adapted_prior import AdaptedPrior

# Fingerprint.


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kernel": "sigma=1.2x0.8@30", "output.format": "tiff", "align_from": "s3://a/run"},
        {"reading.stack_axis": "T", "reading.focus_channel": 2, "reading.fit": "crop"},
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


def test_what_is_later_than_the_first_runs_is_recorded_only_where_it_is_not_the_default():
    plain = run_config("fast", None, {})
    assert not [path for path in plain.values() if path.startswith("reading.")]
    same = {"reading.stack_axis": "Z", "reading.focus_channel": "sum", "reading.fit": "none"}
    assert run_config("fast", None, same).fingerprint == plain.fingerprint
    others = {"reading.stack_axis": "T", "reading.focus_channel": 0, "reading.fit": "crop"}
    for path, value in others.items():
        changed = run_config("fast", None, {path: value})
        assert changed.values()[path] == value
        assert changed.fingerprint != plain.fingerprint
        assert not changed.resumes(plain.values(), plain.given)


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
