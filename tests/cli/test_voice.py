"""What is said, and where: colours, --quiet, --json, --output, exit codes."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest
import typer

from command_line import command, run, said
from dfp_batch import cli, errors
from dfp_batch.cli import exit_codes, voice
from dfp_batch.cli.exit_codes import ExitCode
from dfp_batch.config.run_config import run_config
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair

COLOUR = re.compile(r"\x1b\[[0-9;]*?(?:3[0-9]|4[0-9]|9[0-7])[0-9;]*m")
COMMANDS = typer.main.get_command(cli.app).commands


@pytest.fixture
def finished_run(tmp_path):
    """A run of three pairs: one is done, one has failed, one was not begun."""
    pairs = [Pair(name, (f"/{name}1.png", f"/{name}2.png")) for name in "abc"]
    url = f"{tmp_path}/run"
    with Ledger.open(url, run_config("classical", None, {}), pairs) as ledger:
        facts = {"width_px": 40, "height_px": 30, "mg": 2.5, "psnr_db": float("inf")}
        facts |= {"output_url": f"{url}/outputs/a/fused.png", "output_sha256": "0"}
        ledger.append(PairRecord("a", 1, "ok", "publish", 1.0, 2.0, facts=facts))
        ledger.append(PairRecord("b", 1, "error", "prepare", 1.0, 2.0, "input", "E", "no image"))
    return url


def on_a_terminal(*arguments, **environment):
    """What the command writes to a terminal of 80 columns."""
    master, slave = pty.openpty()
    own = {"TERM": "xterm-256color", "COLUMNS": "80"} | environment
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run(command(*arguments), stdout=slave, stderr=slave, env=kept | own, check=True)
    os.close(slave)
    text = b""
    with os.fdopen(master, "rb", buffering=0) as terminal:
        while True:
            try:
                text += terminal.read(65536)
            except OSError:  # the end of a terminal
                return text.decode()


@pytest.mark.parametrize("arguments", [["gc", "--help"], ["evaluate"]])
def test_no_color_means_no_colour(arguments, tmp_path):
    if arguments == ["evaluate"]:
        arguments += ["procedural", "--methods", "classical", "--limit", "1", "--side", "48"]
        arguments += ["--scales", "1", "-o", tmp_path / "eval", "--workers", "1"]
        subprocess.run(command(*arguments), capture_output=True, check=True)  # then it resumes
    assert COLOUR.search(on_a_terminal(*arguments))
    assert not COLOUR.search(on_a_terminal(*arguments, NO_COLOR="1"))


def test_what_a_program_reads_has_no_codes_and_is_not_folded(finished_run):
    name = "beetle-" * 30
    with Ledger.open(
        f"{finished_run}2", run_config("classical", None, {}), [Pair(name, ("/1.png", "/2.png"))]
    ) as ledger:
        ledger.append(PairRecord(name, 1, "error", "prepare", 1.0, 2.0, "input", "E", "none"))
    text = said(0, "results", f"{finished_run}2")
    assert f"│ {name} │" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("place", [0, 1, 2])
def test_quiet_anywhere_leaves_what_was_asked_for(finished_run, tmp_path, place):
    table = tmp_path / "table.parquet"

    def quietly(*words):
        return said(0, *words[:place], "--quiet", *words[place:])

    assert quietly("results", finished_run, "-o", table) == ""
    assert table.stat().st_size > 0
    assert quietly("compact", finished_run) == ""
    assert quietly("status", finished_run).startswith(f"run      {finished_run}\n")
    assert said(0, "compact", finished_run) != ""  # the next one is not


def test_quiet_is_no_reason_to_hide_an_error(tmp_path):
    done = run("retry", tmp_path, "--quiet")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {tmp_path} is not a run directory")


def test_json_is_all_there_is_on_standard_output(finished_run, tmp_path):
    rows = json.loads(said(0, "results", finished_run, "--json"))
    assert [(row["pair_id"], row["status"], row["width_px"]) for row in rows] == [
        ("a", "ok", 40),
        ("b", "error", None),
    ]
    assert rows[0]["started_at"] == "1970-01-01T00:00:01+00:00"
    assert rows[0]["psnr_db"] is None  # infinite, for which JSON has no word
    (group,) = json.loads(said(0, "failures", finished_run, "--json"))
    assert (group["message"], group["pair_ids"]) == ("no image", ["b"])
    assert group["next"].endswith(f"dfp-batch retry {finished_run} --category input")
    assert json.loads(said(0, "gc", finished_run, "--json")) == {"deleted": False, "files": []}
    done = run("verify", finished_run, "--json")
    assert json.loads(done.stdout)["findings"][0]["pair_id"] == "a"
    done = run("retry", finished_run, "--category", "crash", "--json")
    assert (done.returncode, json.loads(done.stdout)["pending"]) == (0, 2)
    assert "nothing to retry: no pair failed with category crash" in done.stderr


def test_a_command_that_writes_takes_output_in_short():
    writing = [
        parameter
        for one in COMMANDS.values()
        for parameter in one.params
        if parameter.name == "output"
    ]
    assert len(writing) == 6
    assert all(parameter.opts == ["--output", "-o"] for parameter in writing)


def test_errors_end_with_the_code_of_their_kind():
    codes = {
        errors.ConfigError: ExitCode.USAGE,
        errors.ManifestError: ExitCode.USAGE,
        errors.ObjectMissingError: ExitCode.USAGE,
        errors.ImageError: ExitCode.PAIRS,
        errors.StorageAccessError: ExitCode.STOPPED,
        errors.ExecutorLostError: ExitCode.STOPPED,
        errors.RunHeldError: ExitCode.HELD,
    }
    assert {kind: exit_codes.of_error(kind("")) for kind in codes} == codes


def test_the_help_ends_with_every_exit_code():
    text = said(0, "--help").partition("Exit codes:")[2]
    told = {
        int(line.split()[0]): line.split(maxsplit=1)[1].strip()
        for line in text.strip().splitlines()
    }
    assert told == {code.value: code.meaning for code in ExitCode}


def test_json_has_no_number_that_is_none(capsys):
    voice.answer({"a": [1.5, float("nan")], "b": ("x", None)})
    assert json.loads(capsys.readouterr().out) == {"a": [1.5, None], "b": ["x", None]}


def test_a_reader_that_goes_away_is_no_error(finished_run):
    """As ``dfp-batch results RUN | head -1`` does."""
    shell = f"{sys.executable} -m dfp_batch results {finished_run} | true"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
