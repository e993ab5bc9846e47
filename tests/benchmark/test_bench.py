"""``dfp-batch bench``: presets and another program on one stack, in turn."""

import json

import pytest

from command_line import run
from dfp_batch.benchmark.peers import PEERS, run_peer
from dfp_batch.engine.stages import peak_rss_bytes
from dfp_batch.errors import ConfigError

pytestmark = pytest.mark.process


def put_program(folder, monkeypatch, name, line):
    """A program of this name, alone on the PATH."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_presets_and_peers_are_timed_in_turn(tmp_path, monkeypatch):
    put_program(tmp_path, monkeypatch, "focus-stack", 'test -f "$4"')
    small = ("--frames", "3", "--megapixels", "0.02", "--rounds", "2", "--presets", "classical")
    done = run("bench", *small, "--json", "--output", str(tmp_path / "bench.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "bench.json").read_text())
    assert list(found["results"]) == ["focus-stack", "classical"]
    assert (found["stack"]["frames"], found["stack"]["scale"], found["threads"]) == (3, 1, 1)
    ours = found["results"]["classical"]
    assert len(ours["core_s"]["samples"]) == 2
    assert 100 < ours["peak_mb"] < 3000
    assert ours["counts"]["decodes_per_frame"] >= 1
    assert set(ours["steps_core_s"]) >= {"decode", "register", "warp", "other"}
    assert "counts" not in found["results"]["focus-stack"]
    ratio = found["core_s_over"]["classical"]["focus-stack"]
    assert ratio == pytest.approx(1 / found["core_s_over"]["focus-stack"]["classical"], rel=0.5)


def test_the_memory_of_a_program_is_its_own(tmp_path, monkeypatch):
    """Not that of the process which starts it, which is larger here."""
    put_program(tmp_path, monkeypatch, "focus-stack", ":")
    assert peak_rss_bytes() > 100 * 2**20
    assert run_peer("focus-stack", ["a.jpg"], str(tmp_path), 1).peak_bytes < 50 * 2**20


def test_a_program_that_fails_is_named(tmp_path, monkeypatch):
    put_program(tmp_path, monkeypatch, "focus-stack", "exit 3")
    assert PEERS["focus-stack"].is_here
    with pytest.raises(ConfigError, match="focus-stack ended with 3 on this stack"):
        run_peer("focus-stack", ["a.jpg"], str(tmp_path), 1)


def test_a_preset_that_there_is_not_is_refused():
    done = run("bench", "--presets", "quick")
    assert done.returncode == 2
    assert "preset must be one of" in done.stderr
