"""The steps that make a machine of a cluster, and the image, in an empty environment."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import ray

import dfp_batch
from conftest import texture, write_image
from dfp_batch.config.run_config import run_config
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair

ROOT = Path(__file__).parents[2]
CODE = {".py", ".pyc"}
PACKAGED = {
    str(file.relative_to(ROOT))
    for file in (ROOT / "dfp_batch").rglob("*")
    if file.is_file() and file.suffix not in CODE
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_wheel_and_its_constraints_make_a_machine(tmp_path):
    """What `make wheel` does, and then what the Dockerfile and the launcher do."""
    source, dist = tmp_path / "source", tmp_path / "dist"
    ignored = shutil.ignore_patterns(".*", "build", "dist", "samples", "tests", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=ignored)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", dist]
    subprocess.run([*wheel, source], check=True)
    for name in ("constraints.txt", "infra/install.sh"):
        shutil.copy(ROOT / name, dist)

    done = subprocess.run(
        ["sh", dist / "install.sh", tmp_path / "venv", dist],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {"PYTHON": sys.executable},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    versions = f"dfp-batch {dfp_batch.__version__}\nray, version {ray.__version__}\n"
    assert done.stdout == versions
    assert set(zipfile.ZipFile(next(dist.glob("*.whl"))).namelist()) >= PACKAGED
    # Its networks came along.
    images = [write_image(f"{tmp_path}/{k}.png", texture(24, 30, seed=k)) for k in range(2)]
    command = [tmp_path / "venv" / "bin" / "dfp-batch", "fuse", *images, "--preset", "fast"]
    subprocess.run([*command, "--output", "out.png"], cwd=tmp_path, check=True)
    assert (tmp_path / "out.png").exists()
    check_python(tmp_path)
    check_doctor(tmp_path)


def check_python(folder):
    """The Python of that environment, in another folder, reads a run from its directory."""
    with Ledger.open(f"{folder}/run", run_config("fast", None, {}), [Pair("a", ("1", "2"))]):
        pass
    python = [folder / "venv" / "bin" / "python", "-c"]
    code = "from dfp_batch import Run, fuse, submit; print(Run('run').status().pending)"
    done = subprocess.run([*python, code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def check_doctor(folder):
    """A new machine has no problem; it warns of what only some need, and says how to get it."""
    command = [folder / "venv" / "bin" / "dfp-batch", "doctor", folder, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = {one["check"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 0, found
    assert found["camera RAW"]["level"] == "warning"
    assert found["camera RAW"]["advice"].endswith("pip install 'dfp-batch[raw]'")
    assert found["Ray"]["level"] == found["torch"]["level"] == "ok"
