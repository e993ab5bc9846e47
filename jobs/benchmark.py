"""Time an iteration of the `paper` loop in fp32 and in bf16, interleaved in one run.

Usage: python jobs/benchmark.py [--side 260] [--scale 2] [--rounds 9] [--iterations 4]

Prints JSON ``{metadata, results}``: median and interquartile range of the milliseconds per
iteration, host synchronisations per iteration, and the ratio fp32 / bf16 of each round.
"""

import argparse
import json
import platform
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dfp_batch.core.contracts import Compute
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import enlarge
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.networks.fitting import Fit, Schedule, minimise
from dfp_batch.pipeline.steps import choose_device
from dfp_batch.reconstruction.deep_fusion_prior import DeepFusionPrior

SEED = 0
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Operators that make the host wait for a value or a shape that only the device knows; lift_fresh is
# a tensor made of host values, which is a blocking copy on an accelerator.
SYNCHRONISING = {
    "_local_scalar_dense",
    "nonzero",
    "is_nonzero",
    "equal",
    "masked_select",
    "lift_fresh",
}


class SyncCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators that make the host wait for the device."""

    count = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: Any = (),  # noqa: ANN401
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        name = func.overloadpacket.__name__
        to_host = name in {"_to_copy", "copy_"} and _leaves_device(args, kwargs or {})
        self.count += name in SYNCHRONISING or to_host
        return func(*args, **(kwargs or {}))


def _leaves_device(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    source = next((a for a in reversed(args) if isinstance(a, Tensor)), None)
    target = kwargs.get("device") or (args[0].device if isinstance(args[0], Tensor) else None)
    on_device = source is not None and source.device.type != "cpu"
    return on_device and target is not None and torch.device(target).type == "cpu"


class Problem:
    """One item of random sources in one precision, ready to iterate."""

    def __init__(self, precision: str, side: int, scale: int, device: torch.device) -> None:
        generator = torch.Generator(device).manual_seed(SEED)
        sources = torch.rand(2, 3, side, side, generator=generator, device=device)
        decision = torch.rand(1, 1, side, side, generator=generator, device=device).round()
        prior = DeepFusionPrior()
        self.compute = Compute(generator, DTYPES[precision])
        average = enlarge(sources, scale).mean(0, keepdim=True)
        self.fit = Fit.start(prior.network, average, 3, self.compute)
        decisions = torch.cat((decision, 1 - decision))
        self.objective = prior.objective(sources, decisions, Degradation(scale, Lanczos2()))

    def iterate(self, iterations: int) -> None:
        """Run the product's own loop."""
        schedule = Schedule(iterations, 1e-3)
        minimise(self.fit, self.objective, schedule, self.compute, "benchmark")

    def milliseconds(self, iterations: int) -> float:
        """Per iteration, device work included."""
        _synchronise(self.compute.generator.device)
        start = time.perf_counter()
        self.iterate(iterations)
        _synchronise(self.compute.generator.device)
        return (time.perf_counter() - start) / iterations * 1e3

    def syncs(self, iterations: int) -> float:
        """Host synchronisations per iteration: those that grow with their number."""
        counts: list[int] = []
        for length in (iterations, 2 * iterations):
            with SyncCounter() as counter:  # type: ignore[no-untyped-call]
                self.iterate(length)
            counts.append(counter.count)
        return (counts[1] - counts[0]) / iterations


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _quartiles(samples: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return {"median": round(median, 3), "iqr": round(high - low, 3)}


def _metadata(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    cuda = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        **vars(options),
        "seed": SEED,
        "commit": commit or "unknown",
        "device": cuda or f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--side", type=int, default=260, help="source height and width in px")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--iterations", type=int, default=4, help="per round and precision")
    options = parser.parse_args()
    device = choose_device(None)
    problems = {name: Problem(name, options.side, options.scale, device) for name in DTYPES}
    for problem in problems.values():
        problem.iterate(2)  # warm-up
    samples: dict[str, list[float]] = {name: [] for name in problems}
    for _ in range(options.rounds):
        for name, problem in problems.items():
            samples[name].append(problem.milliseconds(options.iterations))
    ratios = [a / b for a, b in zip(samples["fp32"], samples["bf16"], strict=True)]
    results: dict[str, dict[str, Any]] = {
        name: {
            "ms_per_iteration": _quartiles(samples[name]),
            "host_syncs_per_iteration": problem.syncs(2),
            "samples_ms": [round(sample, 1) for sample in samples[name]],
        }
        for name, problem in problems.items()
    }
    results["fp32_over_bf16"] = _quartiles(ratios)
    print(json.dumps({"metadata": _metadata(options, device), "results": results}, indent=1))


if __name__ == "__main__":
    main()
