"""An existing cluster: a head without CPUs, a node with a GPU that is only a number."""

import subprocess
import sys

import pytest

from dfp_batch.telemetry import results


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - slow; only for those who ask

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    cluster.add_node(num_cpus=2, num_gpus=1)
    yield cluster
    cluster.shutdown()


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


def test_a_cluster_that_does_not_answer_is_one_line(make_archive, tmp_path):
    command = [sys.executable, "-m", "dfp_batch", "submit", make_archive(1), "--scale", "2"]
    done = subprocess.run(
        [*command, "--output", f"{tmp_path}/run", "--address", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 2
    assert "no Ray cluster answers at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
