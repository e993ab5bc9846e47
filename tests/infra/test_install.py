"""The steps that make a machine of a cluster, and the image, in an empty environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ray

import dfp_batch
from conftest import texture, write_image

ROOT = Path(__file__).parents[2]


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
    # Its networks came along.
    images = [write_image(f"{tmp_path}/{k}.png", texture(24, 30, seed=k)) for k in range(2)]
    command = [tmp_path / "venv" / "bin" / "dfp-batch", "fuse", *images, "--preset", "fast"]
    subprocess.run([*command, "--output", "out.png"], cwd=tmp_path, check=True)
    assert (tmp_path / "out.png").exists()
