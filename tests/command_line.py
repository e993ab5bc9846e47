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
    """Run the command in this process: a new one takes seconds to start.

    Returns:
        Its exit code and what it wrote, as ``subprocess.run`` gives them.
    """
    logger, out, err = logging.getLogger("dfp_batch"), io.StringIO(), io.StringIO()
    level = logger.level
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["dfp-batch", *map(str, arguments)])
        with redirect_stdout(out), redirect_stderr(err):
            cli.main()
    logger.setLevel(level)
    return CompletedProcess(arguments, end.value.code or 0, out.getvalue(), err.getvalue())


def command(*arguments, code=MAIN):
    """The words that start the command in a process of its own."""
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
