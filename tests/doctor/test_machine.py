"""What is said of a machine: thresholds by hand, and the machine that this is."""

import pytest

from dfp_batch.doctor import machine
from dfp_batch.doctor.finding import Finding, Place
from dfp_batch.networks.precision import speedups

HERE = Place(None, "/tmp")
GB = 1e9


@pytest.mark.parametrize(
    ("free_gb", "cpus", "level", "words"),
    [
        (0.5, 1, "problem", "0.5 GB free of 64.0, 1 CPUs"),
        (2.0, 1, "warning", "of pairs of 12 MP at x2 none fit at once"),
        (16.0, 8, "warning", "of pairs of 12 MP at x2 6 fit at once"),
        (20.0, 8, "ok", "20.0 GB free of 64.0, 8 CPUs"),
    ],
)
def test_memory_is_enough_for_a_pair_on_every_cpu(free_gb, cpus, level, words):
    found = machine.enough_memory(free_gb * GB, 64 * GB, cpus)
    assert found.level == level
    assert found.found.endswith(words)
    assert (found.advice == "") == (level == "ok")


def test_shared_memory_of_a_container_is_too_small():
    found = machine.enough_shared_memory(0.064 * GB, 32 * GB)
    assert found == Finding(
        "warning",
        "0.1 GB free in /dev/shm, Ray wants 9.6 GB and takes slow files instead",
        "docker run --shm-size=10g, or on Kubernetes an emptyDir of medium Memory there",
    )
    assert machine.enough_shared_memory(9.6 * GB, 32 * GB).level == "ok"


@pytest.mark.parametrize(
    ("free_gb", "level"), [(0.9, "problem"), (1, "warning"), (9.9, "warning"), (10, "ok")]
)
def test_a_disk_is_nearly_full(free_gb, level):
    found = machine.enough_disk("/data", free_gb * GB)
    assert (found.level, found.found) == (level, f"{free_gb:.1f} GB free in /data")


@pytest.mark.parametrize(("text", "limit"), [("max\n", float("inf")), ("8000000000\n", 8e9)])
def test_a_container_may_have_less_memory_than_its_machine(text, limit):
    assert machine.memory_limit(text) == limit


def test_a_gpu_that_torch_does_not_see_is_told_of():
    found = machine.without_gpu("2.13.0+cpu", is_here=True)
    assert found.level == "warning"
    assert found.found == "there is one, but torch 2.13.0+cpu does not see it"
    assert machine.without_gpu("2.13.0+cpu", is_here=False).level == "ok"


def test_number_formats_are_those_that_are_measured():
    import torch  # noqa: PLC0415 - slow; only for those who ask

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    measured = speedups(device)
    found = machine.formats(HERE).found
    assert found.startswith(f"bf16 {measured.bf16:.1f}, ")
    assert (f"int8 {measured.int8:.1f}" in found) == (measured.int8 > 0)


@pytest.mark.parametrize(
    "check",
    [machine.python, machine.torch, machine.gpu, machine.memory, machine.shared_memory,
     machine.disk],
)  # fmt: skip
def test_every_check_finds_something_here(check):
    assert check(HERE).found


def test_a_package_that_is_not_there_has_no_version():
    with pytest.raises(ImportError, match="no package dfp-batch-none"):
        machine.version_of("dfp-batch-none")
