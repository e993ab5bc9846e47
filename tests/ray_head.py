"""A stock `ray start --head` for tests, on the loopback interface, ended by its process id."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # else Ray listens on every interface
PLACES = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
START_S = 60.0
POLL_S = 0.2


class RayHead:
    """The head; its folder has a short name, since the paths of sockets are limited.

    Args:
        cpus: For work.
        node_types: That it starts when needed and ends when idle, here: names and resources.

    Attributes:
        token: What it asks for.
        address: HOST:PORT for drivers.
        url: Of the dashboard and of the Jobs API.
    """

    def __init__(self, cpus=2, node_types=None):
        self.token = "f" * 32
        self._folder = tempfile.mkdtemp(prefix="h-", dir="/tmp")
        port, dashboard, agent = free_ports(3)
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://127.0.0.1:{dashboard}"
        options = {
            "port": port,
            "node-ip-address": "127.0.0.1",
            "dashboard-host": "127.0.0.1",
            "dashboard-port": dashboard,
            "dashboard-agent-listen-port": agent,
            "num-cpus": cpus,
            "temp-dir": f"{self._folder}/r",
        }
        if node_types:
            options["autoscaling-config"] = self._scaling(node_types)
        self._command = [f"{BIN}/ray", "start", "--head", "--block"]
        self._command += [f"--{name}={value}" for name, value in options.items()]

    def _scaling(self, node_types):
        """A file that tells Ray's autoscaler of nodes on this machine, one of each type at most."""
        kinds = {
            name: {"resources": resources, "node_config": {}, "min_workers": 0, "max_workers": 1}
            for name, resources in {"ray.head.default": {"CPU": 0}, **node_types}.items()
        }
        kinds["ray.head.default"]["max_workers"] = 0
        config = {
            "cluster_name": "here",
            "max_workers": len(node_types),
            "provider": {
                "type": "fake_multinode",
                "gcs_address": self.address,
                "use_node_id_as_ip": True,
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
            },
            "available_node_types": kinds,
            "head_node_type": "ray.head.default",
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": 0.05,
            "auth": {},
            "docker": {},
            "file_mounts": {},
            "cluster_synced_files": [],
            "file_mounts_sync_continuously": False,
            "rsync_exclude": [],
            "rsync_filter": [],
            "head_node": {},
            "worker_nodes": {},
        }
        lists = ("initialization", "setup", "head_setup", "worker_setup")
        config |= {f"{name}_commands": [] for name in lists}
        config |= {f"{name}_start_ray_commands": [] for name in ("head", "worker")}
        path = Path(self._folder, "scaling.json")
        path.write_text(json.dumps(config))
        return path

    def __enter__(self):
        environment = {**os.environ, **LOOPBACK, "RAY_AUTH_TOKEN": self.token}
        environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT}/tests"}
        environment |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        environment |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "HOME": self._folder}
        # Keys of the store are the cluster's; where the store is comes with each job.
        environment |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        environment |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        for name in PLACES:
            environment.pop(name, None)
        with open(f"{self._folder}/log", "w") as log:
            self._process = subprocess.Popen(self._command, env=environment, stdout=log, stderr=log)
        self._wait()
        return self

    def __exit__(self, *_):
        below = []
        with suppress(psutil.NoSuchProcess):
            below = psutil.Process(self._process.pid).children(recursive=True)
        self._process.terminate()
        self._process.wait(START_S)
        for process in below:  # nodes that it has started
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def home(self, folder, token=None):
        """Environment of a user of this head who has no token, or has it in the home."""
        (folder / ".ray").mkdir()
        if token is not None:
            (folder / ".ray" / "auth_token").write_text(token)
        return {"HOME": str(folder), **LOOPBACK}

    def _wait(self):
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, Path(self._folder, "log").read_text()
            assert time.monotonic() < deadline, Path(self._folder, "log").read_text()
            time.sleep(POLL_S)

    def _answers(self):
        if not Path(self._folder, "r", "ray_current_cluster").exists():
            return False
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/version", headers=headers)
        try:
            urllib.request.urlopen(request, timeout=1).close()
        except (urllib.error.URLError, OSError):
            return False
        return True


def free_ports(count):
    """Ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
