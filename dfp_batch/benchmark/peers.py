"""Other programs that fuse a stack at scale 1, where they are installed."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dfp_batch.errors import ConfigError


@dataclass(frozen=True)
class Peer:
    """One of them.

    Attributes:
        programs: That must be on the PATH.
        commands: Made of the paths of the frames, a folder for what is written, and the threads.
    """

    programs: tuple[str, ...]
    commands: Callable[[Sequence[str], str, int], list[list[str]]]

    @property
    def is_here(self) -> bool:
        """Whether it is installed."""
        return all(shutil.which(program) for program in self.programs)


def _focus_stack(frames: Sequence[str], folder: str, threads: int) -> list[list[str]]:
    out = f"--output={folder}/focus-stack.png"
    return [["focus-stack", f"--threads={threads}", "--no-opencl", out, *frames]]


def _enfuse(frames: Sequence[str], folder: str, _threads: int) -> list[list[str]]:
    aligned = [f"{folder}/a{index:04d}.tif" for index in range(len(frames))]
    weights = ["--exposure-weight=0", "--saturation-weight=0", "--contrast-weight=1", "--hard-mask"]
    return [
        ["align_image_stack", "-m", "-a", f"{folder}/a", *frames],
        ["enfuse", *weights, "-o", f"{folder}/enfuse.tif", *aligned],
    ]


PEERS = {
    "focus-stack": Peer(("focus-stack",), _focus_stack),
    "enfuse": Peer(("align_image_stack", "enfuse"), _enfuse),
}


@dataclass(frozen=True)
class Cost:
    """Of one run.

    Attributes:
        wall_s: Seconds on the clock.
        core_s: Seconds of processor time.
        peak_bytes: Most resident memory.
    """

    wall_s: float
    core_s: float
    peak_bytes: int


# A process that does nothing else: else its own memory would count as that of the program. The
# kernel passes the peak of a process on to what it starts.
_WATCHER = """
import json, resource, subprocess, sys
silent = subprocess.DEVNULL
code = subprocess.run(sys.argv[1:], stdout=silent, stderr=silent).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def run_peer(name: str, frames: Sequence[str], folder: str, threads: int) -> Cost:
    """Fuse a stack with another program, its start included.

    Raises:
        ConfigError: It fails.
    """
    started, core_s, peak_bytes = time.perf_counter(), 0.0, 0
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    for command in PEERS[name].commands(frames, folder, threads):
        watcher = [sys.executable, "-I", "-S", "-c", _WATCHER, *command]
        done = subprocess.run(watcher, env=environment, stdout=subprocess.PIPE, check=True)
        code, seconds, peak_kib = json.loads(done.stdout)
        if code:
            raise ConfigError(f"{command[0]} ended with {code} on this stack")
        core_s += seconds
        peak_bytes = max(peak_bytes, peak_kib * 1024)
    return Cost(time.perf_counter() - started, core_s, peak_bytes)
