"""Clusters that change: GPUs (here: numbers) that are shared, nodes that come and go."""

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest

from dfp_batch.engine import gpu_pool, ray_executor
from dfp_batch.engine.cluster import private_ray, variable
from dfp_batch.engine.stages import Stage
from dfp_batch.errors import ConfigError
from dfp_batch.runs.attempts import read_attempts
from elastic_parts import (
    TIMEOUT_S,
    alive,
    bench,
    categories,
    dead,
    new_driver,
    run,
    states,
    wait_for,
    workers,
)
from fault_injection import DEVICE_ASSERT, DEVICE_MEMORY, HOLD, OUT_OF_MEMORY

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parent.parent
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
STORE_BYTES = 80 * 2**20


@pytest.fixture(scope="module")
def cluster():
    """An idle head; tests add the nodes that work, and take them away."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - slow; only for those who ask

    with ExitStack() as stack:
        folder = stack.enter_context(private_ray())
        path = os.pathsep.join(map(str, (TESTS.parent, TESTS)))
        places = {"TMPDIR": folder, "RAY_TMPDIR": folder, "PYTHONPATH": path}
        for name, value in {**places, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}.items():
            stack.enter_context(variable(name, value))
        head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "_system_config": SOON}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        stack.callback(cluster.shutdown)
        yield cluster


@pytest.fixture(scope="module")
def drivers(cluster):
    """Two processes that have joined the head: this one may have a Ray of its own."""
    with ExitStack() as stack:
        pools = [stack.enter_context(new_driver(cluster.address)) for _ in range(2)]
        for started in [pool.submit(os.getpid) for pool in pools]:
            started.result(TIMEOUT_S)  # before there are other nodes
        yield pools


@pytest.fixture
def grow(cluster):
    """Adds a node to a cluster that has only its head."""
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=False)
    cluster.wait_for_nodes(TIMEOUT_S)  # until Ray knows that they are gone
    return partial(cluster.add_node, object_store_memory=STORE_BYTES)


@pytest.fixture(scope="module")
def shared(cluster):
    """The node of the tests that leave it as it was: they come first, and save time."""
    return cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=STORE_BYTES)


@pytest.fixture
def begin(drivers):
    """Starts a function in a driver."""
    return drivers[0].submit


# GPUs


@pytest.mark.usefixtures("shared")
def test_two_runs_take_turns_on_one_gpu(drivers, make_archive, tmp_path):
    folders = tmp_path / "one", tmp_path / "two"
    manifests = [
        make_archive(count, str(folder), faults)
        for folder, count, faults in zip(folders, (4, 1), ({0: HOLD}, None), strict=True)
    ]
    first = drivers[0].submit(run, manifests[0], folders[0])
    wait_for((folders[0] / "held").exists)
    second = drivers[1].submit(run, manifests[1], folders[1])
    wait_for(lambda: said(folders[1]).endswith("; 1 workers"))  # it waits for the GPU
    (folders[0] / "go-on").touch()
    assert [first.result(TIMEOUT_S)[0], second.result(TIMEOUT_S)[0]] == [4, 1]
    ends = [
        [row["finished_at"] for row in read_attempts(f"{folder}/run").to_pylist()]
        for folder in folders
    ]
    assert min(ends[1]) < max(ends[0]), "the second run need not wait for the end of the first"


def kill_idle(manifest, folder):
    with bench(manifest, folder) as made:
        before = [made.reconstruct(0)]
        (pid,) = alive()
        psutil.Process(pid).kill()
        return [*before, made.reconstruct(1)], alive() - {pid}


@pytest.mark.usefixtures("shared")
def test_no_pair_is_blamed_for_a_worker_that_died_idle(begin, make_archive, tmp_path):
    failures, others = begin(kill_idle, make_archive(2), tmp_path).result(TIMEOUT_S)
    assert failures == [None, None]
    assert len(others) == 1


def fail_and_go_on(manifest, folder):
    """After each failure, its category, and whether the worker is the one of the pair before."""
    with bench(manifest, folder) as made:
        found = []
        for number in range(3):
            assert made.reconstruct(3) is None
            (pid,) = alive()
            category = made.reconstruct(number).category
            assert made.reconstruct(3) is None
            found.append((category, pid in alive()))
        return found


@pytest.mark.usefixtures("shared")
def test_a_worker_whose_device_failed_is_replaced(begin, make_archive, tmp_path):
    faults = dict(enumerate([DEVICE_ASSERT, DEVICE_MEMORY, OUT_OF_MEMORY]))
    found = begin(fail_and_go_on, make_archive(4, faults=faults), tmp_path).result(TIMEOUT_S)
    assert found == [("crash", False), ("resource", True), ("resource", True)]


def need_all(manifest, folder):
    """A pair that holds a share, and one that then needs the whole GPU."""
    with bench(manifest, folder, 0.5) as made:
        for number in range(3):
            assert made.do(number, Stage.PREPARE).failure is None
        made.start(0, Stage.RECONSTRUCT)
        made.start(1, Stage.RECONSTRUCT)
        made.end(1)
        shared = alive()
        made.start(2, Stage.RECONSTRUCT, relief=2)
        made.until(lambda: len(alive()) == 1)  # the idle one has gone, the other goes on
        assert 2 not in made.ended
        Path(folder, "go-on").touch()
        failures = [made.end(number).failure for number in (0, 2)]
        made.until(lambda: not alive())
        return [*failures, made.do(1, Stage.RECONSTRUCT).failure], len(shared)


@pytest.mark.usefixtures("shared")
def test_a_pair_that_is_short_of_memory_gets_a_whole_gpu(begin, make_archive, tmp_path):
    manifest = make_archive(3, faults={0: HOLD})
    failures, shared = begin(need_all, manifest, tmp_path).result(TIMEOUT_S)
    assert failures == [None] * 3
    assert shared == 2


def hold_share(manifest, folder):
    """Another run, which keeps its share of the GPU until it may go on."""
    with bench(manifest, folder, 0.5) as made:
        return made.reconstruct(0)


def need_all_beside_another(manifest, folder):
    """A pair that needs the whole GPU, which it does not get, and one for which a share will do."""
    soon = partial(gpu_pool.GpuPool, turn_s=0.0, whole_s=1.0)
    with patch.object(ray_executor, "GpuPool", soon), bench(manifest, folder, 0.5) as made:
        for number in range(2):
            assert made.do(number, Stage.PREPARE).failure is None
        made.start(0, Stage.RECONSTRUCT, relief=2)
        made.start(1, Stage.RECONSTRUCT)
        first = made.end(1).failure
        waits = 0 not in made.ended
        Path(folder, "other", "go-on").touch()
        return [first, made.end(0).failure], waits


@pytest.mark.usefixtures("shared")
def test_no_run_stands_still_for_a_whole_gpu_that_another_shares(drivers, make_archive, tmp_path):
    other = tmp_path / "other"
    held = drivers[1].submit(hold_share, make_archive(1, str(other), {0: HOLD}), other)
    wait_for((other / "held").exists)
    running = drivers[0].submit(need_all_beside_another, make_archive(2), tmp_path)
    failures, waits = running.result(TIMEOUT_S)
    assert failures == [None] * 2
    assert waits
    assert held.result(TIMEOUT_S) is None


def need_all_cpus(manifest, folder):
    with bench(manifest, folder) as made:
        for number in range(2):
            assert made.do(number, Stage.PREPARE).failure is None
        made.start(0, Stage.RECONSTRUCT)
        made.until(Path(folder, "held").exists)
        made.start(1, Stage.RECONSTRUCT, relief=3)
        made.until(lambda: 0 in made.executor.pulses())
        assert 1 not in made.executor.pulses()
        Path(folder, "go-on").touch()
        held, alone = (made.end(number) for number in range(2))
        return [held.failure, alone.failure], alone.started_at - held.started_at - held.seconds


def test_a_pair_that_is_short_of_memory_gets_a_whole_node(grow, begin, make_archive, tmp_path):
    grow(num_cpus=2)
    manifest = make_archive(2, faults={0: HOLD})
    failures, later_s = begin(need_all_cpus, manifest, tmp_path).result(TIMEOUT_S)
    assert failures == [None] * 2
    assert later_s > -0.01  # by two clocks: it began when the other had ended


# Nodes


@pytest.mark.parametrize(("gpus", "share", "most"), [(1, None, 1), (8, 0.5, 4)])
def test_pairs_are_optimised_where_gpus_are(grow, begin, make_archive, tmp_path, gpus, share, most):
    grow(num_cpus=1)
    node = grow(num_cpus=1, num_gpus=gpus)
    done, places = begin(run, make_archive(4), tmp_path, share).result(TIMEOUT_S)
    assert done == 4
    assert 1 <= len(places) <= most
    assert set(places) == {node.node_id}
    assert states(tmp_path) == {"ok": 4}


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_run_outlives_all_nodes(cluster, grow, begin, make_archive, tmp_path, gpus):
    manifest = make_archive(4, faults={1: HOLD})
    node = grow(num_cpus=2, num_gpus=gpus)
    running = begin(run, manifest, tmp_path)
    wait_for((tmp_path / "held").exists)
    cluster.remove_node(node, allow_graceful=False)
    wait_for(lambda: "0 of 0 CPUs" in said(tmp_path))
    (tmp_path / "go-on").touch()
    grow(num_cpus=2, num_gpus=gpus)
    assert running.result(TIMEOUT_S)[0] == 4
    assert categories(tmp_path) <= {None, "transient"}
    assert states(tmp_path)["ok"] == 4


def said(folder):
    path = folder / "said"
    return path.read_text() if path.exists() else ""


def test_a_run_on_a_cluster_without_nodes_waits_for_the_first(grow, begin, make_archive, tmp_path):
    running = begin(run, make_archive(1), tmp_path)
    wait_for(lambda: "wait for room on the cluster (1 node" in said(tmp_path))
    grow(num_cpus=1)
    assert running.result(TIMEOUT_S)[0] == 1


@pytest.mark.usefixtures("grow")
def test_gpus_asked_for_in_vain_are_one_line(begin, make_archive, tmp_path):
    running = begin(run, make_archive(1), tmp_path, 0.5)
    with pytest.raises(ConfigError, match=r"--gpus-per-pair 0.5 asks for more .* 0 of 0 GPUs free"):
        running.result(TIMEOUT_S)


def leave(manifest, folder, gcs_address):
    from ray._raylet import GcsClient  # noqa: PLC0415

    with bench(manifest, folder) as made:
        assert made.reconstruct(0) is None
        (before,) = [actor for actor in workers().values() if actor["State"] == "ALIVE"]
        node = before["Address"]["NodeID"]
        accepted, why = GcsClient(gcs_address).drain_node(node, 2, "reclaimed", 0)
        assert accepted, why
        Path(folder, "draining").touch()
        made.until(lambda: not alive())
        assert made.reconstruct(1) is None
        (after,) = [actor for actor in workers().values() if actor["State"] == "ALIVE"]
        return node != after["Address"]["NodeID"]


def test_a_node_that_leaves_gets_no_more_pairs(cluster, grow, begin, make_archive, tmp_path):
    grow(num_cpus=1, num_gpus=1)
    running = begin(leave, make_archive(2), tmp_path, cluster.gcs_address)
    wait_for(lambda: (tmp_path / "draining").exists() or running.done())
    grow(num_cpus=1, num_gpus=1)
    assert running.result(TIMEOUT_S)


def beside_a_broken_node(manifest, folder):
    before = dead()
    with bench(manifest, folder) as made:
        for number in range(2):
            assert made.do(number, Stage.PREPARE).failure is None
        made.start(0, Stage.RECONSTRUCT)
        made.until(Path(folder, "held").exists)
        made.start(1, Stage.RECONSTRUCT)
        made.until(lambda: len(dead() - before) > gpu_pool.FALSE_STARTS)
        Path(folder, "go-on").touch()
        return [made.end(number).failure for number in range(2)]


def test_a_node_on_which_no_worker_begins_takes_none_of_the_others_along(
    grow, begin, make_archive, tmp_path
):
    grow(num_cpus=1, num_gpus=1)
    running = begin(beside_a_broken_node, make_archive(2, faults={0: HOLD}), tmp_path)
    wait_for(lambda: (tmp_path / "held").exists() or running.done())
    path = tmp_path / "broken"
    path.mkdir()
    (path / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None")
    path = os.pathsep.join([str(path), os.environ["PYTHONPATH"]])
    grow(num_cpus=0, num_gpus=1, env_vars={"PYTHONPATH": path})
    assert running.result(TIMEOUT_S) == [None] * 2
