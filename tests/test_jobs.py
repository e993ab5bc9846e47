"""The scripts in jobs/, run as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

JOBS = Path(__file__).parent.parent / "jobs"


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, str(JOBS / script), *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_benchmark_times_both_precisions_and_counts_no_synchronisation():
    report = json.loads(run("benchmark.py", "--side", "32", "--rounds", "2", "--iterations", "1"))
    assert report["metadata"]["seed"] == 0
    for precision in ("fp32", "bf16"):
        result = report["results"][precision]
        assert result["ms_per_iteration"]["median"] > 0
        assert len(result["samples_ms"]) == 2
        assert result["host_syncs_per_iteration"] == 0


def test_the_stack_benchmark_measures_time_and_memory():
    report = json.loads(run("benchmark_stack.py", "--frames", "3", "--side", "64", "--rounds", "2"))
    (result,) = report["results"]
    assert (result["frames"], result["width_px"], result["height_px"]) == (3, 64, 64)
    assert len(result["seconds"]) == 2
    assert "failed" not in result["align_flags"]
