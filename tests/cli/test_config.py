"""``dfp-batch config``, and what is said of a configuration that cannot be."""

import json
import sys
import tomllib
from types import SimpleNamespace

import pytest

from dfp_batch import cli


@pytest.fixture
def dfp_batch(monkeypatch, capsys):
    """Run a command in this process: its exit code and what it says."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dfp-batch", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, stdout=said.out, stderr=said.err)

    return run


def test_what_it_prints_is_a_file_for_config(dfp_batch, tmp_path):
    said = dfp_batch("config", "--preset", "fast", "--scale", "3", "--kernel", "sigma=1.2").stdout
    table = tomllib.loads(said)
    assert (table["preset"], table["scale"], table["kernel"]["sigma_px"]) == ("fast", 3, 1.2)
    file = tmp_path / "settings.toml"
    file.write_text(said)
    assert dfp_batch("config", "--config", str(file)).stdout == said


def test_the_schema_is_json(dfp_batch):
    schema = json.loads(dfp_batch("config", "--schema").stdout)
    assert {"focus", "output", "preset"} <= set(schema["properties"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--set", "merge.base=potts"], "merge.base: no component 'potts'; known: blend, "),
        (
            ["--set", "refinement=chain", "--set", "refinement.first=blend"],
            "refinement.first: no component 'blend'; known: area-clean-up, ",
        ),
        (["--set", "refinement.second.levels=0"], "refinement.second.levels must be >= 1, got 0"),
    ],
)
def test_a_part_at_the_wrong_place_is_refused_before_anything_runs(dfp_batch, arguments, text):
    for command in (["config"], ["fuse", "a.png", "b.png", "--output", "o.png"]):
        done = dfp_batch(*command, "--preset", "fast", *arguments)
        assert done.code == 2
        assert text in done.stderr


def test_another_word_for_the_pairs_that_are_compared_is_refused(dfp_batch, tmp_path):
    done = dfp_batch("submit", str(tmp_path / "m.parquet"), "--compare-floor", "some")
    assert done.code == 2
    assert "--compare-floor must be all, sample or none, got 'some'" in done.stderr
