"""The command itself: its help, its version, its traceback; each in a process of its own."""

import re

import pytest

import dfp_batch
from command_line import run_apart
from dfp_batch.pipeline.presets import DEFAULT_PRESET, PRESETS


@pytest.mark.parametrize("command", ["submit", "fuse"])
def test_help_names_every_preset_and_which_is_the_default(command):
    done = run_apart(command, "--help")
    text = " ".join(re.sub(r"[^\x20-\x7e]", " ", done.stdout).split())
    for preset in PRESETS:
        assert re.search(rf"\b{preset}\b", text)
    assert f"{DEFAULT_PRESET} (default)" in text


def test_version_is_that_of_the_package():
    assert run_apart("--version").stdout == f"dfp-batch {dfp_batch.__version__}\n"


def test_an_error_is_one_line_and_with_debug_its_traceback(tmp_path):
    short, long = run_apart("status", tmp_path), run_apart("status", tmp_path, "--debug")
    assert (short.returncode, short.stdout, len(short.stderr.splitlines())) == (2, "", 1)
    assert short.stderr.startswith(f"error: {tmp_path} is not a run directory")
    assert "Traceback" in long.stderr
    assert f"ConfigError: {tmp_path} is not a run directory" in long.stderr
