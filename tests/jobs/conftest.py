"""The scripts of jobs/ as modules: they import from beside them."""

import importlib
from pathlib import Path

import pytest

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture(scope="module")
def job(request):
    """The script that the test module calls ``JOB``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(JOBS)
        yield importlib.import_module(request.module.JOB)
