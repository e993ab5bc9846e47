"""A cluster of several nodes on this machine, to try things: an idle head, and workers.

::

    python jobs/local_cluster.py --workers 2 --cpus 1
    dfp-batch submit /path/to/manifest.parquet --address http://127.0.0.1:8265 --wait

CPUs and GPUs are numbers that Ray counts by: a worker with ``--gpus 1`` need not have one, and then
computes on the CPU. Everything listens on the loopback interface and ends with Ctrl-C or SIGTERM.
"""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from ray.cluster_utils import Cluster

from dfp_batch.engine.cluster import private_ray, variable


def main() -> None:
    """Start the cluster, say where it is, wait for a signal, end it."""
    options = _parse()
    logging.getLogger("ray").setLevel(logging.ERROR)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for the jobs' python
    with private_ray() as folder, variable("TMPDIR", folder), variable("RAY_TMPDIR", folder):
        with variable("PATH", path):
            cluster = _start(options)
        try:
            _announce(cluster)
            _wait()
        finally:
            cluster.shutdown()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=1, help="of each worker")
    parser.add_argument("--gpus", type=int, default=0, help="of each worker")
    parser.add_argument("--port", type=int, default=8265, help="of the dashboard and the Jobs API")
    return parser.parse_args()


def _start(options: argparse.Namespace) -> Cluster:
    dashboard = {"include_dashboard": True, "dashboard_host": "127.0.0.1"}
    # The agent, which takes the jobs, at any port: another cluster here may have the usual one.
    dashboard |= {"dashboard_port": options.port, "dashboard_agent_listen_port": None}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **dashboard})
    for _ in range(options.workers):
        cluster.add_node(num_cpus=options.cpus, num_gpus=options.gpus)
    return cluster


def _announce(cluster: Cluster) -> None:
    print(f"send runs with   --address http://{cluster.webui_url} --wait")
    print(f"or join with     --address {cluster.address}")
    print("the token        ray get-auth-token")
    print("the end          Ctrl-C", flush=True)


def _wait() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("ending")


if __name__ == "__main__":
    main()
