"""``dfp-batch doctor``: the whole table, with what is missing and without."""

import json
import subprocess
import sys

import pytest

from command_line import run, said
from dfp_batch import doctor
from dfp_batch.doctor.finding import Finding, Place
from dfp_batch.doctor.ray_here import ray
from dfp_batch.doctor.readers import READERS

HERE = Place(None, "/tmp")

ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"rawpy", "torch"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from dfp_batch import doctor
from dfp_batch.doctor.finding import Place
for name in ("torch", "number formats", "camera RAW", "Python"):
    found = doctor.look(doctor.CHECKS[name], Place(None, "/tmp"))
    print(name, found.level, found.found, found.advice, sep="|")
"""


def test_what_is_missing_is_a_finding_and_keeps_nothing_from_being_looked_at():
    done = subprocess.run(
        [sys.executable, "-c", ABSENT], capture_output=True, text=True, check=True
    )
    torch, formats, raw, python = (line.split("|") for line in done.stdout.splitlines())
    again = "install dfp-batch again, into an environment of its own"
    assert torch[1:] == ["problem", "cannot be imported: No module named 'torch'", again]
    assert formats[1] == "problem"
    assert raw[1:3] == ["warning", "No module named 'rawpy'"]
    assert raw[3] == "if you have such files: pip install 'dfp-batch[raw]'"
    assert python[1] == "ok"


@pytest.mark.parametrize("name", READERS)
def test_readers_that_are_here_are_named(name):
    assert READERS[name](HERE).level == "ok"


def test_a_ray_that_does_not_answer_is_a_problem(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    found = ray(HERE)
    assert found.level == "problem"
    assert "no Ray cluster answers at 127.0.0.1:1" in found.found
    assert found.advice == "unset RAY_ADDRESS to start Ray here, or start that cluster"


def test_runs_that_are_sent_away_need_no_ray_here(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    assert ray(HERE).found.endswith("RAY_ADDRESS sends runs to http://head:8265, none starts here")


@pytest.fixture
def checks(monkeypatch):
    """A table of two checks, of which the second finds what it is told to."""

    def use(finding):
        monkeypatch.setattr(
            doctor, "CHECKS", {"one": lambda _: Finding("ok", "fine"), "two": lambda _: finding}
        )

    return use


def test_only_a_problem_is_an_exit_code(checks):
    checks(Finding("warning", "[b]slow[/b]", "wait"))
    assert [line.rstrip() for line in said(0, "doctor").splitlines()] == [
        "ok       one             fine",
        "warning  two             [b]slow[/b]",
        "                         -> wait",
        "0 problems, 1 warnings",
    ]
    checks(Finding("problem", "broken", "mend it"))
    done = run("doctor", "--json", "--quiet")
    assert done.returncode == 1
    assert json.loads(done.stdout)[1] == {
        "check": "two", "level": "problem", "found": "broken", "advice": "mend it",
    }  # fmt: skip


@pytest.mark.slow
def test_a_machine_that_runs_pairs_has_no_problem(tmp_path):
    done = run("doctor", tmp_path, "--json")
    found = {one["check"]: one for one in json.loads(done.stdout)}
    assert found.keys() == doctor.CHECKS.keys()
    assert found["Ray"]["level"] == "ok", found["Ray"]
    assert "starts here: 1 node" in found["Ray"]["found"]
    assert (
        f"{tmp_path}: 0 files and 0 folders directly in it; can be written"
        in found["store"]["found"]
    )
