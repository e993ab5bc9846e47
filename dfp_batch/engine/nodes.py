"""What the cluster has now and may have later; it changes while a run goes on."""

import sys
import time
from collections.abc import Mapping

import ray
from ray._private.state import state  # Ray has no public way to the two questions it is asked

from dfp_batch.errors import ConfigError, ExecutorLostError

_REFRESH_S = 5.0
_ROUNDING = 1e-9


class Nodes:
    """Slots of the connected cluster; ``refresh`` asks Ray when it is due.

    Args:
        gpus_per_pair: Share of a GPU for each pair, or whole GPUs; None is one, if there are or may
            be GPUs, and else none.

    Raises:
        ConfigError: if there is no CPU and none may come, or GPUs are asked for in vain.
    """

    def __init__(self, gpus_per_pair: float | None) -> None:
        self._own = ray.get_runtime_context().get_node_id()
        self._refreshed_at = -_REFRESH_S
        self.refresh()
        has_gpus = self._total("GPU") > 0 or self._promised("GPU") > 0
        self.gpus_per_pair = (float(has_gpus)) if gpus_per_pair is None else gpus_per_pair
        if self._total("CPU") < 1 and not self._is_elastic:
            raise ConfigError(
                f"the cluster must have at least 1 CPU, it has {self._total('CPU'):g}"
            )
        if gpus_per_pair is not None and has_gpus and not self._fits(gpus_per_pair):
            most = max((node.get("GPU", 0) for node in self._nodes.values()), default=0)
            raise ConfigError(f"--gpus-per-pair must be in (0, {most:g}], got {gpus_per_pair:g}")
        if not has_gpus:
            self.gpus_per_pair = 0.0

    def refresh(self) -> None:
        """Look again, at most every few seconds.

        Raises:
            ExecutorLostError: if the node of this process has been given up by the cluster.
        """
        now = time.monotonic()
        if now - self._refreshed_at < _REFRESH_S:
            return
        self._refreshed_at = now
        alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        if self._own not in alive:
            raise ExecutorLostError("stopped: the driver's Ray node is gone")
        self.draining = set(state.get_draining_nodes())
        self._nodes: Mapping[str, Mapping[str, float]] = {
            name: resources for name, resources in alive.items() if name not in self.draining
        }
        self._free: Mapping[str, float] = ray.available_resources()
        self._most: Mapping[str, int] | None = state.get_max_resources_from_cluster_config()

    @property
    def uses_gpus(self) -> bool:
        """Whether pairs are optimised on GPUs."""
        return self.gpus_per_pair > 0

    @property
    def cpus(self) -> int:
        """For tasks; more than there are where nodes come when needed: what waits is the need."""
        return self._with_demand(int(self._total("CPU")), self._promised("CPU"))

    @property
    def gpu_slots(self) -> int:
        """Pairs that fit on the GPUs; likewise."""
        share = self.gpus_per_pair
        now = sum(int(node.get("GPU", 0) / share + _ROUNDING) for node in self._nodes.values())
        return self._with_demand(now, int(self._promised("GPU") / share + _ROUNDING))

    @property
    def largest_cpus(self) -> float:
        """CPUs of the largest node."""
        return max((node.get("CPU", 0) for node in self._nodes.values()), default=1.0)

    @property
    def store_bytes(self) -> float:
        """Object store of all nodes."""
        return self._total("object_store_memory")

    def explain(self) -> str:
        """What the cluster has, for a message."""
        parts = [
            f"{self._free.get(name, 0):g} of {self._total(name):g} {name}s free"
            for name in ("CPU", "GPU")
            if self._total(name)
        ]
        nodes = f"{len(self._nodes)} node{'s' * (len(self._nodes) != 1)}"
        return ", ".join([nodes, *parts])

    @property
    def _is_elastic(self) -> bool:
        return self._most is not None

    def _fits(self, gpus_per_pair: float) -> bool:
        largest = max((node.get("GPU", 0) for node in self._nodes.values()), default=0)
        return gpus_per_pair > 0 and (gpus_per_pair <= largest or self._promised("GPU") > 0)

    def _with_demand(self, now: int, most: int) -> int:
        """Twice what there is, as long as more may come: what waits is what the autoscaler sees."""
        return max(1, now, min(2 * now + 1, most))

    def _total(self, name: str) -> float:
        return sum(node.get(name, 0) for node in self._nodes.values())

    def _promised(self, name: str) -> int:
        """The most there can ever be, by the configuration of the autoscaler."""
        return min(sys.maxsize, (self._most or {}).get(name, 0))
