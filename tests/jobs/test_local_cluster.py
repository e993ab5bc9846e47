"""The cluster to try things on: two nodes, a run, nothing left."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT

from ray_head import ROOT, free_ports


@pytest.fixture
def other_cluster():
    """Holds the port that the first cluster on a machine gives its agent."""
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # then there really is another one
            taken.bind(("0.0.0.0", DEFAULT_DASHBOARD_AGENT_LISTEN_PORT))
            taken.listen()
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("other_cluster")
def test_two_nodes_take_a_run_and_end_by_a_signal(make_archive, tmp_path, short_folder):
    (port,) = free_ports(1)
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(short_folder)}
    environment |= {"PYTHONPATH": str(ROOT)}
    script = [sys.executable, ROOT / "jobs" / "local_cluster.py"]
    options = ["--workers", "2", "--gpus", "1", "--port", str(port)]
    cluster = subprocess.Popen(
        [*script, *options], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        said = [cluster.stdout.readline() for _ in range(4)]
        assert said[0] == f"send runs with   --address http://127.0.0.1:{port} --wait\n"
        run = [sys.executable, "-m", "dfp_batch", "submit", make_archive(4)]
        run += ["--preset", "classical", "--gpus-per-pair", "0.5"]
        done = subprocess.run(
            [*run, "--address", f"http://127.0.0.1:{port}", "--wait"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "4 done, 0 failed" in done.stdout
    finally:
        cluster.terminate()
        ended = cluster.wait(60)
    assert ended == 0
    assert not list(short_folder.iterdir())
    assert Path(tmp_path, ".ray", "auth_token").exists()
