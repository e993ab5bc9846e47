"""The help of every command: an example that parses, at once, and the shell's Tab."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import typer

from command_line import command, said
from dfp_batch import cli
from dfp_batch.cli.examples import EXAMPLES
from dfp_batch.pipeline.presets import PRESETS

GROUP = typer.main.get_command(cli.app)
HEAVY = {"torch", "numpy", "ray", "pyarrow", "fsspec", "cv2", "scipy"}


def test_every_command_has_examples():
    assert EXAMPLES.keys() == GROUP.commands.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_parse_and_end_the_help(name):
    help_text = " ".join(said(0, name, "--help").split())
    for example in EXAMPLES[name]:
        assert example in help_text
        program, called, *words = shlex.split(example.partition(" > ")[0])
        assert (program, called) == ("dfp-batch", name)
        GROUP.commands[name].make_context(name, words)


def test_an_example_that_does_not_parse_would_be_found():
    with pytest.raises(Exception, match="No such option"):
        GROUP.commands["gc"].make_context("gc", ["RUN", "--remove"])


def test_help_imports_nothing_heavy():
    code = f"""
import sys
from dfp_batch import cli
for name in [None, *{list(EXAMPLES)}]:
    sys.argv = ["dfp-batch", *([name] if name else []), "--help"]
    try:
        cli.main()
    except SystemExit as end:
        assert end.code == 0, name
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "typer.rich_utils" in loaded
    assert not HEAVY & loaded


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("dfp-batch su", {"submit"}),
        ("dfp-batch fuse --dec", {"--decision"}),
        ("dfp-batch submit --preset ", set(PRESETS)),
    ],
)
def test_tab_completes(typed, offered):
    own = {
        "_DFP_BATCH_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1),
    }
    done = subprocess.run(
        command(), env=os.environ | own, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == offered


def test_the_script_of_a_shell_calls_the_command():
    own = {"_DFP_BATCH_COMPLETE": "source_bash"}
    done = subprocess.run(
        command(), env=os.environ | own, capture_output=True, text=True, check=True
    )
    assert re.search(r"complete -o default -F \S+ dfp-batch$", done.stdout.strip())
    assert "--install-completion" in said(0, "--help")
