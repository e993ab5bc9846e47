"""What must not leak, and what must not be trusted."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import dfp_batch
from dfp_batch import storage

PACKAGE = Path(dfp_batch.__file__).parent
SECRET, KEY = "s3cr3t/of+the/archive", "AKIAOFTHEARCHIVE"
# Calls that run what they read.
TRUSTING = {"load_module", "unsafe_load", "Unpickler", "find_class"}
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


OWN_FILES = {PACKAGE / "engine" / "costs.py"}  # reads what it has just written, to a private folder


@pytest.mark.parametrize(
    "path", sorted(set(PACKAGE.rglob("*.py")) - OWN_FILES), ids=lambda path: path.stem
)
def test_nothing_that_is_read_is_run(path):
    """Images, rows, leases, receipts and weights come from stores that others write to."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not {alias.name.partition(".")[0] for alias in node.names} & PICKLES
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in PICKLES
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", "")
            assert name not in TRUSTING
            assert getattr(node.func, "id", "") not in {"eval", "exec", "compile", "__import__"}
            owner = getattr(getattr(node.func, "value", None), "id", "")
            assert (owner, name) not in {("torch", "load"), ("np", "load"), ("yaml", "load")}


@pytest.mark.slow
def test_credentials_are_nowhere_but_in_the_environment(make_archive, tmp_path, s3_url):
    folder = f"{s3_url}/{tmp_path.name}"
    manifest, run = make_archive(2, folder), f"{folder}/run"
    storage.delete(f"{folder}/p01_B.png")  # an error has a message, too
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    driver = subprocess.Popen(
        [sys.executable, "-m", "dfp_batch", "submit", manifest, "--output", run, "--debug"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    commands = set()
    while driver.poll() is None:
        for process in [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(True)]:
            try:
                commands.add(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        try:
            driver.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
    said = driver.stdout.read()
    assert driver.returncode == 3, said
    assert any("raylet" in command for command in commands)
    written = [storage.read_bytes(url) for url in _files(run)]
    assert len(written) > 8
    for secret in (SECRET, KEY):
        assert secret not in said
        assert not any(secret in command for command in commands)
        assert not any(secret.encode() in content for content in written)


def _files(url):
    files, folders = storage.list_folder(url)
    below = [name for folder in folders for name in _files(storage.join(url, folder))]
    return [storage.join(url, name) for name in files] + below
