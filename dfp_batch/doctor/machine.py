"""This machine: processors, memory, disks, and what torch makes of them."""

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

from dfp_batch.doctor.finding import GB, Finding, Place

PAIR_BYTES = 2.5e9  # of two frames of 12 MP, enlarged twice
LEAST_BYTES = 1e9
_SHARE = 0.3  # of the memory, that Ray takes for its objects
_SHARED = Path("/dev/shm")
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_NVIDIA = Path("/dev/nvidia0")
_FULL_BYTES, _SHORT_BYTES = 1e9, 10e9  # free on a disk


def python(_: Place) -> Finding:
    """Which Python runs this."""
    return Finding("ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def torch(_: Place) -> Finding:
    """Whether torch can be imported, and which it is."""
    import torch as found

    return Finding("ok", f"{found.__version__}, {found.get_num_threads()} threads")


def gpu(_: Place) -> Finding:
    """Whether there is a GPU, and torch computes on it."""
    import torch as found

    if not found.cuda.is_available():
        return without_gpu(found.__version__, _NVIDIA.exists())
    try:
        total = int(found.ones(8, device="cuda").sum().item())
    except RuntimeError as error:
        return Finding(
            "problem",
            f"{found.cuda.get_device_name()}: torch {found.__version__} cannot use it: "
            f"{' '.join(str(error).split())[:200]}",
            "install the torch whose CUDA fits the driver, or hide the GPU: CUDA_VISIBLE_DEVICES=",
        )
    properties = found.cuda.get_device_properties(0)
    return Finding(
        "ok" if total == 8 else "problem",  # noqa: PLR2004 - ones
        f"{found.cuda.device_count()} x {properties.name}, {properties.total_memory / GB:.0f} GB",
    )


def without_gpu(torch_version: str, is_here: bool) -> Finding:
    """What it means that torch sees no GPU.

    Args:
        torch_version: With its build, as in "2.9.0+cpu".
        is_here: Whether the system has one.
    """
    if is_here:
        return Finding(
            "warning",
            f"there is one, but torch {torch_version} does not see it",
            "pip install torch in its build for CUDA, and look whether nvidia-smi works",
        )
    return Finding("ok", "none; CPUs do all but the preset paper in good time")


def formats(_: Place) -> Finding:
    """How much faster other number formats are here."""
    import torch as found

    from dfp_batch.networks.precision import number_formats, speedups

    device = found.device("cuda" if found.cuda.is_available() else "cpu")
    speed = speedups(device)
    int8 = f"int8 {speed.int8:.1f}" if speed.int8 else "no int8"
    taken = number_formats("auto", device)
    slow = device.type == "cpu" and not speed.int8
    more = "; x2 takes two to four times as long as on a CPU with VNNI" if slow else ""
    return Finding("ok", f"bf16 {speed.bf16:.1f}, {int8} times as fast; {taken} is taken{more}")


def memory(_: Place) -> Finding:
    """What a run has for its pairs."""
    import psutil

    there = psutil.virtual_memory()
    limit = memory_limit(_CGROUP.read_text() if _CGROUP.exists() else "max")
    total = min(there.total, limit)
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return enough_memory(min(there.available, total), total, own or 1)


def memory_limit(text: str) -> float:
    """Of a container, in bytes, as its control group says it; infinite if there is none."""
    return float(text) if text.strip().isdecimal() else float("inf")


def enough_memory(free: float, total: float, cpus: int) -> Finding:
    """Whether pairs fit.

    Args:
        free: In bytes.
        total: In bytes.
        cpus: Each of which works on a pair.
    """
    found = f"{free / GB:.1f} GB free of {total / GB:.1f}, {cpus} CPUs"
    if free < LEAST_BYTES:
        return Finding("problem", found, "end other programs, or give the container more memory")
    fit = int(free / PAIR_BYTES)
    if fit >= cpus:
        return Finding("ok", found)
    return Finding(
        "warning",
        f"{found}: of pairs of 12 MP at x2 {fit or 'none'} fit at once",
        "smaller pairs are fine; large ones wait for each other, so take a machine with more "
        f"memory, {PAIR_BYTES / GB:g} GB for each CPU",
    )


def shared_memory(_: Place) -> Finding:
    """Whether what stages hand over fits into /dev/shm."""
    import psutil

    if not _SHARED.is_dir():
        return Finding("ok", f"no {_SHARED} here; Ray takes files")
    limit = memory_limit(_CGROUP.read_text() if _CGROUP.exists() else "max")
    total = min(psutil.virtual_memory().total, limit)
    return enough_shared_memory(shutil.disk_usage(_SHARED).free, total)


def enough_shared_memory(free: float, memory_bytes: float) -> Finding:
    """Whether Ray's objects fit.

    Args:
        free: Of /dev/shm, in bytes.
        memory_bytes: Of the machine or container.
    """
    wanted = _SHARE * memory_bytes
    found = f"{free / GB:.1f} GB free in {_SHARED}"
    if free >= wanted:
        return Finding("ok", found)
    return Finding(
        "warning",
        f"{found}, Ray wants {wanted / GB:.1f} GB and takes slow files instead",
        f"docker run --shm-size={-(-wanted // GB):.0f}g, or on Kubernetes an emptyDir of medium "
        "Memory there",
    )


def disk(place: Place) -> Finding:
    """Room for what Ray writes while it runs."""
    return enough_disk(place.temporary, shutil.disk_usage(place.temporary).free)


def enough_disk(folder: str, free: float) -> Finding:
    """Whether a disk has room.

    Args:
        folder: On it.
        free: In bytes.
    """
    found = f"{free / GB:.1f} GB free in {folder}"
    if free >= _SHORT_BYTES:
        return Finding("ok", found)
    advice = "free some, or set TMPDIR to a larger disk"
    return Finding("problem" if free < _FULL_BYTES else "warning", found, advice)


def version_of(package: str) -> str:
    """Of an installed package.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError(f"no package {package}") from error
