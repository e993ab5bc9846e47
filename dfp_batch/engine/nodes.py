"""What the cluster has now and may have later; it changes while a run goes on."""

import json
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._private.state import state  # Ray has no public way to what it is asked
from ray.experimental.internal_kv import _internal_kv_get

from dfp_batch.errors import ConfigError, ExecutorLostError
from dfp_batch.pipeline.placement import Accelerator

REFRESH_S = 5.0
_ROUNDING = 1e-9
_GROUP = "ray.io/node-group"  # label of a node that an autoscaler has started
_UNMANAGED = "node_"  # begins the type that Ray makes up for a node that nobody has
_ASSUMED_GPU_BYTES = 16 * 2**30


class Nodes:
    """Slots of the connected cluster; ``refresh`` asks Ray when it is due.

    A cluster without a CPU is none the worse: nodes may join at any time.

    Args:
        gpus_per_pair: Share of a GPU for each pair, or whole GPUs; None is one, if there are any,
            and else none.

    Raises:
        ConfigError: if GPUs are asked for in vain.
    """

    def __init__(self, gpus_per_pair: float | None) -> None:
        self._own = ray.get_runtime_context().get_node_id()
        self._refreshed_at = -REFRESH_S
        self.refresh()
        has_gpus = self._total("GPU") > 0
        self.gpus_per_pair = float(has_gpus) if gpus_per_pair is None else gpus_per_pair
        if gpus_per_pair is not None:
            self._check(gpus_per_pair)

    def refresh(self) -> None:
        """Look again, at most every few seconds.

        Raises:
            ExecutorLostError: if the node of this process has been given up by the cluster.
        """
        now = time.monotonic()
        if now - self._refreshed_at < REFRESH_S:
            return
        self._refreshed_at = now
        alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        if self._own not in alive:
            raise ExecutorLostError("stopped: the driver's Ray node is gone")
        self.draining = set(state.get_draining_nodes())
        self._nodes: Mapping[str, Mapping[str, float]] = {
            name: node["Resources"] for name, node in alive.items() if name not in self.draining
        }
        self._free: Mapping[str, float] = ray.available_resources()
        self._grows = any(_GROUP in node["Labels"] for node in alive.values()) or _is_managed()

    @property
    def uses_gpus(self) -> bool:
        """Whether pairs are reconstructed on GPUs."""
        return self.gpus_per_pair > 0

    @property
    def accelerator(self) -> Accelerator | None:
        """What the second stage has; the memory of GPUs, which Ray does not tell, is assumed.

        What turns out to be short of memory is merged on a CPU when it is tried again.
        """
        if not self.uses_gpus:
            return None
        return Accelerator(int(min(1.0, self.gpus_per_pair) * _ASSUMED_GPU_BYTES))

    @property
    def cpus(self) -> int:
        """For tasks; more than there are where nodes come when needed."""
        return self._with_demand(int(self._total("CPU")))

    @property
    def gpu_slots(self) -> int:
        """Pairs that fit on the GPUs; likewise."""
        share = self.gpus_per_pair
        slots = (int(node.get("GPU", 0) / share + _ROUNDING) for node in self._nodes.values())
        return self._with_demand(sum(slots))

    @property
    def largest_cpus(self) -> float:
        """CPUs of the largest node."""
        return max((node.get("CPU", 0) for node in self._nodes.values()), default=1.0)

    def memory_beside(self, cpus: int) -> float:
        """Most bytes that a node has for tasks which has so many CPUs as well; 0 if none has."""
        able = (node for node in self._nodes.values() if node.get("CPU", 0) >= cpus)
        return max((node.get("memory", 0) for node in able), default=0.0)

    @property
    def store_bytes(self) -> float:
        """Object store of all nodes."""
        return self._total("object_store_memory")

    def explain(self) -> str:
        """What the cluster has, for a message."""
        names = ["CPU", *(["GPU"] if self.uses_gpus or self._total("GPU") else [])]
        parts = [f"{self._free.get(name, 0):g} of {self._total(name):g} {name}s" for name in names]
        nodes = f"{len(self._nodes)} node{'s' * (len(self._nodes) != 1)}"
        return f"{nodes}, {', '.join(parts)} free"

    def _check(self, gpus_per_pair: float) -> None:
        largest = max((node.get("GPU", 0) for node in self._nodes.values()), default=0)
        if gpus_per_pair <= 0:
            raise ConfigError(f"--gpus-per-pair must be > 0, got {gpus_per_pair:g}")
        if gpus_per_pair > 1 and gpus_per_pair != int(gpus_per_pair):  # Ray takes no other
            raise ConfigError(
                f"--gpus-per-pair must be a whole number where it is > 1, got {gpus_per_pair:g}"
            )
        if gpus_per_pair > largest and not self._grows:
            raise ConfigError(
                f"--gpus-per-pair {gpus_per_pair:g} asks for more than any node of the cluster "
                f"has, and nothing starts others: {self.explain()}; leave it out, or join a node "
                "with GPUs first"
            )

    def _with_demand(self, now: int) -> int:
        """Twice what there is where more may come: what waits is what the autoscaler sees.

        How much more can come is not to be had from Ray; what waits in vain does no harm.
        """
        return max(1, 2 * now + 1 if self._grows else now)

    def _total(self, name: str) -> float:
        return sum(node.get(name, 0) for node in self._nodes.values())


def _is_managed() -> bool:
    """Whether an autoscaler has types of nodes that it can start, by its last report."""
    report: bytes | None = _internal_kv_get(DEBUG_AUTOSCALING_STATUS)
    if not report:
        return False
    found: dict[str, Any] = json.loads(report).get("autoscaler_report") or {}
    return any(not kind.startswith(_UNMANAGED) for kind in found.get("active_nodes") or {})
