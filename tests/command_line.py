"""The command as a user gives it: in this process, or in one of its own where that matters."""

import io
import logging
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess

import pytest

from dfp_batch import cli

DEADLINE_S = 200
MAIN = "from dfp_batch.cli import main; main()"


def run(*arguments):
    """What the command says and its exit code. It runs in this process: one starts in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["dfp-batch", *map(str, arguments)])
        patch.setattr(logging.getLogger("dfp_batch"), "level", logging.ERROR)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            cli.main()
    return CompletedProcess(arguments, end.value.code or 0, out.getvalue(), err.getvalue())


def command(*arguments, code=MAIN):
    """For a process of its own."""
    return [sys.executable, "-c", code, *map(str, arguments)]


def run_apart(*arguments):
    """As ``run``, in a process of its own."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


def said(code, *arguments):
    """What a command says that ends with ``code`` and complains of nothing."""
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout
