"""What must not leak, and what must not be trusted."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import dfp_batch
from dfp_batch import cli
from dfp_batch.errors import ConfigError, LedgerError
from dfp_batch.io import storage, urls

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
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            assert (owner, name) != ("yaml", "load")
            assert (owner, name) != ("torch", "load") or options["weights_only"] == "True"
            assert (owner, name) != ("np", "load") or "allow_pickle" not in options


def content_of(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


COMMANDS = [
    ["status"],
    ["results"],
    ["failures"],
    ["retry", "--pair", "p00"],
    ["verify", "--sources"],
    ["gc", "--delete"],
    ["compact"],
]
HEADERS = ['{"name": "another program"}', '{"schema_version": 99}']


@pytest.fixture
def foreign(tmp_path):
    """A directory that looks like a run, and is not."""
    for name in (
        "results/part-000001-000001.parquet",
        "outputs/p00/fused.png",
        "lease/000001.json",
    ):
        storage.write_bytes(f"{tmp_path}/foreign/{name}", b"of another program")
    return tmp_path / "foreign"


def refused(foreign, *words):
    before = content_of(foreign)
    with pytest.raises((ConfigError, LedgerError), match=r"run\.json|schema version 99"):
        cli.app(list(map(str, words)))
    assert content_of(foreign) == before


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize("header", [None, *HEADERS])
def test_a_directory_that_is_not_a_run_of_ours_is_refused_as_it_is(foreign, command, header):
    if header:
        (foreign / "run.json").write_text(header)
    name, *options = command
    refused(foreign, name, foreign, *options)


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("option", ["--append", "--takeover", "--verify"])
def test_no_run_begins_in_a_directory_of_another_program(make_archive, foreign, header, option):
    manifest = make_archive(1)
    (foreign / "run.json").write_text(header)
    options = [option, manifest] if option == "--append" else [option]
    refused(foreign, "submit", manifest, "--output", foreign, "--preset", "classical", *options)


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
    below = [name for folder in folders for name in _files(urls.join(url, folder))]
    return [urls.join(url, name) for name in files] + below
