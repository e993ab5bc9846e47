"""Components that fail on purpose; the top left corner of the sources says how.

Named as ``fault_injection:FaultyReconstruction`` in a configuration, as a user's own component is.
"""

import ctypes
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from dfp_batch.core.contracts import FocusMeasure, Reconstruction
from dfp_batch.errors import DivergedError, StorageError
from dfp_batch.focus.undecided import Undecided
from dfp_batch.reconstruction.back_projection import BackProjection

RAISE, SEGV, EXIT, OUT_OF_MEMORY, DIVERGE, BUSY_ONCE, HOLD, FREEZE_ONCE = range(1, 9)
DEVICE_ASSERT, DEVICE_MEMORY = 9, 10
ERRORS = {
    RAISE: ZeroDivisionError("a bug"),
    OUT_OF_MEMORY: torch.OutOfMemoryError("tried to allocate 1 TiB"),
    DIVERGE: DivergedError("loss is not finite"),
    DEVICE_ASSERT: torch.AcceleratorError("CUDA error: device-side assert triggered"),
    DEVICE_MEMORY: torch.AcceleratorError("CUDA error: out of memory"),
}


def _busy_once(folder):
    marker = Path(folder) / "was-busy"
    if not marker.exists():
        marker.touch()
        raise StorageError("the store is busy")


def _freeze_once(folder):
    """Stop this process, as a signal from outside would."""
    marker = Path(folder) / "frozen"
    if not marker.exists():
        marker.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)


def _hold(folder):
    """Say that it is here, and wait until the test puts the file ``go-on`` there."""
    (Path(folder) / "held").touch()
    while not (Path(folder) / "go-on").exists():
        threading.Event().wait(0.05)


@dataclass(frozen=True)
class FaultyReconstruction(Reconstruction):
    """Back projection, unless the corner asks for a fault."""

    folder: str = ""

    def __call__(self, sources, decision, degrade, compute):
        code = round(float(sources[0, 0, 0, 0]) * 255)
        if code in ERRORS:
            raise ERRORS[code]
        if code == SEGV:
            ctypes.string_at(0)
        if code == EXIT:
            os._exit(1)
        if code == FREEZE_ONCE:
            _freeze_once(self.folder)
        if code == HOLD:
            _hold(self.folder)
        if code == BUSY_ONCE:
            _busy_once(self.folder)
        return BackProjection(1)(sources, decision, degrade, compute)


@dataclass(frozen=True)
class NotesThreads(FocusMeasure):
    """Decides nothing; notes how many threads it may use, one line a call."""

    folder: str = ""

    def __call__(self, sources):
        with (Path(self.folder) / "threads").open("a") as file:
            file.write(f"{torch.get_num_threads()} {cv2.getNumThreads()}\n")
        return Undecided()(sources)


@dataclass(frozen=True)
class NotesMemory(FocusMeasure):
    """Decides nothing; notes how much memory its task has asked for, one line a call."""

    folder: str = ""

    def __call__(self, sources):
        import ray  # noqa: PLC0415 - slow; only for those who ask

        asked = ray.get_runtime_context().get_assigned_resources().get("memory", 0)
        with (Path(self.folder) / "memory").open("a") as file:
            file.write(f"{asked:.0f}\n")
        return Undecided()(sources)
