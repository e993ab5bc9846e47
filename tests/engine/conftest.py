"""Tiny images need one thread; Ray's sockets need short names."""

import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="module")
def tiny_images(one_thread):
    """One thread for all tests here."""


@pytest.fixture
def short_folder():
    """An empty folder whose path is short enough for those of Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)
