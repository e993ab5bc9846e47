"""An existing cluster: a head without CPUs, a node with a GPU that is only a number."""

import json
import os
import subprocess
import sys

import pytest

from dfp_batch.runs.status import results


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - slow; only for those who ask

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    cluster.add_node(num_cpus=2, num_gpus=1)
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
def test_submit_joins_the_cluster_at_the_address_and_shares_its_gpu(
    make_archive, tmp_path, cluster
):
    command = [sys.executable, "-m", "dfp_batch", "submit", make_archive(3), "--scale", "2"]
    options = ["--preset", "classical", "--output", f"{tmp_path}/run", "--gpus-per-pair", "0.5"]
    done = subprocess.run(
        [*command, *options, "--address", cluster.address],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 done, 0 failed" in done.stdout
    assert results(f"{tmp_path}/run").num_rows == 3


def submit_to(address, manifest, output, **environment):
    command = [sys.executable, "-m", "dfp_batch", "submit", manifest, "--scale", "2"]
    return subprocess.run(
        [*command, "--preset", "classical", "--output", output, "--address", address],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.ray
def test_a_cluster_that_does_not_answer_is_one_line(make_archive, tmp_path):
    done = submit_to("127.0.0.1:1", make_archive(1), f"{tmp_path}/run")
    assert done.returncode == 2
    assert "no Ray cluster answers at 127.0.0.1:1" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_stock_head_is_joined_with_the_token_in_the_home(make_archive, tmp_path, ray_head):
    home = ray_head.home(tmp_path, ray_head.token)
    done = submit_to(ray_head.address, make_archive(1), f"{tmp_path}/run", **home)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 done, 0 failed" in done.stdout


# Prints what `connect` says to each address, in the environment that goes with it.
REFUSED = """
import json, os, sys
from dfp_batch.engine.cluster import connect
from dfp_batch.errors import ConfigError

for address, environment in json.loads(sys.argv[1]):
    os.environ.update(environment)
    try:
        connect(address)
    except ConfigError as error:
        print(error)
    for name in environment:
        del os.environ[name]
"""


def test_without_the_right_token_or_address_it_is_one_line_and_no_log(tmp_path, ray_head):
    cases = [
        (ray_head.address, {}, "needs a token; print it on the head node with `ray get-auth-"),
        (ray_head.address, {"RAY_AUTH_TOKEN": "wrong"}, "refuses the token that was found here"),
        (ray_head.address, {"RAY_AUTH_TOKEN_PATH": "/nowhere"}, "cannot be opened or is empty"),
        (ray_head.address, {"RAY_AUTH_MODE": "disabled"}, "RAY_AUTH_MODE is disabled here"),
        (ray_head.url.removeprefix("http://"), {}, "no Ray cluster answers at 127.0.0.1:"),
        ("ray://127.0.0.1:1", {}, "--address must be HOST:PORT of a Ray head"),
        ("head", {}, "--address must be HOST:PORT of a Ray head"),
    ]
    asked = json.dumps([(address, environment) for address, environment, _ in cases])
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, asked],
        env={**os.environ, **ray_head.home(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stderr == ""
    for line, (_, _, text) in zip(done.stdout.splitlines(), cases, strict=True):
        assert text in line


# Starts Ray for itself, prints where it listens and which folders there are, waits for a line.
OWN_RAY = """
import glob, json, os, sys
import psutil, ray
from dfp_batch.engine.cluster import connect

with connect(None) as connection:
    assert connection.started
    ray.get(ray.remote(lambda: None).remote())
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    sockets = [socket for process in family for socket in process.net_connections("inet")]
    listening = sorted({socket.laddr.ip for socket in sockets if socket.status == "LISTEN"})
    folders = glob.glob("dfp-ray-*", root_dir=os.environ["TMPDIR"])
    print(json.dumps([connection.url, listening, folders]), flush=True)
    sys.stdin.read(1)
"""


def own_ray(folder, **options):
    """Start it; the environment names no address, and everything temporary goes to ``folder``."""
    environment = {**os.environ, "TMPDIR": str(folder), "HOME": f"{folder}/home"}
    environment |= {"RAY_ADDRESS": ""}
    return subprocess.Popen(
        [sys.executable, "-c", OWN_RAY],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **options,
    )


@pytest.mark.slow
def test_ray_of_our_own_stays_on_the_loopback_and_leaves_nothing(short_folder):
    """Also not what a run has left that was killed; what is not ours stays."""
    killed = own_ray(short_folder)
    _, _, (left,) = json.loads(killed.stdout.readline())
    killed.kill()
    killed.communicate()
    (short_folder / "dfp-ray-of-somebody").mkdir()
    assert (short_folder / left).exists()

    ray = own_ray(short_folder, stderr=subprocess.PIPE)
    url, listening, folders = json.loads(ray.stdout.readline())
    _, errors = ray.communicate("\n")
    assert (ray.returncode, errors) == (0, "")
    assert url.startswith("http://127.0.0.1:")
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    assert left not in folders
    assert len(folders) == 2  # its own and somebody's
    assert sorted(os.listdir(short_folder)) == ["dfp-ray-of-somebody", "home"]
    token = short_folder / "home" / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o777 == 0o600
