"""What a stage frees is kept for it, and given back after it."""

import subprocess
import sys

import pytest

_SCRIPT = """
import resource
import numpy as np
from dfp_batch.core.allocator import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.empty(12_000_000, np.float32).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6

def stage():
    blocks = [np.ones(6_000_000) for _ in range(8)]
    pins = [np.ones(100) for _ in range(8)]
    del blocks
    return pins

usual, idle = faults(), resident_mb()
with kept_memory():
    faults()
    kept = faults()
    pins = stage()
print(usual, kept, resident_mb() - idle)
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="it is glibc's")
def test_blocks_are_used_again_and_given_back():
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True
    )
    usual, kept, left_mb = map(float, done.stdout.split())
    assert usual > 100
    assert kept < 0.05 * usual
    assert left_mb < 100
