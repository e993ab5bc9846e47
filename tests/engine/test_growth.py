"""A cluster that begins with no machine: what waits makes Ray's own autoscaler start them."""

import os
import subprocess
import sys
import threading
import time

import pytest

from dfp_batch.runs.status import RunStatus
from ray_head import RayHead

pytestmark = pytest.mark.slow
TIMEOUT_S = 240
NODES = """
import ray
ray.init(log_to_driver=False, logging_level="ERROR")
print(sum(node["Alive"] for node in ray.nodes()))
"""


@pytest.fixture(scope="module")
def head():
    kinds = {"cpus": {"CPU": 2}, "gpu": {"CPU": 1, "GPU": 1}}
    with RayHead(0, kinds) as head:
        yield head


@pytest.mark.parametrize("share", [None, "1"])
def test_nodes_come_for_what_waits_and_go_when_idle(head, make_archive, tmp_path, share):
    environment = {**os.environ, **head.home(tmp_path, head.token)}
    command = ["submit", make_archive(4), "--preset", "classical", "--address", head.address]
    command += ["--gpus-per-pair", share] if share else []
    done = subprocess.run(
        [sys.executable, "-m", "dfp_batch", *command, "--output", f"{tmp_path}/run"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert RunStatus.read(f"{tmp_path}/run").ok == 4
    environment |= {"RAY_ADDRESS": head.address, "RAY_AUTH_MODE": "token"}
    deadline = time.monotonic() + TIMEOUT_S
    while nodes(environment) > 1:
        assert time.monotonic() < deadline, "idle nodes stay"
        threading.Event().wait(2)


def nodes(environment):
    command = [sys.executable, "-c", NODES]
    return int(
        subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    )
