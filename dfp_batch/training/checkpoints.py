"""Training that goes on after an interruption: what the jobs that train networks share."""

import argparse
import json
import math
from typing import Any, Protocol

import cv2
import torch

WARM_UP_STEPS = 100
APART = ("out", "device", "threads", "processes", "stop")  # what the result does not depend on
Row = dict[str, Any]


class Resumable(Protocol):
    """All that changes from step to step."""

    def state(self) -> Row:
        """Everything, for a checkpoint."""
        ...

    def restore(self, state: Row) -> None:
        """Go back to a checkpoint."""
        ...


def prepare(options: argparse.Namespace) -> None:
    """Make the folder and set the number of threads."""
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)


def schedule(step: int, steps: int) -> float:
    """Share of the full learning rate: a warm-up, then half a cosine."""
    return min(1, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))


def settings_of(options: argparse.Namespace) -> Row:
    """What the result depends on."""
    named = {name: value for name, value in vars(options).items() if name not in APART}
    return {name: str(value) for name, value in named.items() if value is not None}


def command_of(script: str, options: argparse.Namespace) -> str:
    """The command that gives the same result."""
    flags = [f"--{name.replace('_', '-')} {value}" for name, value in settings_of(options).items()]
    return " ".join([f"python jobs/{script} --out FOLDER", *flags])


def restored(training: Resumable, options: argparse.Namespace, device: str = "cpu") -> list[Row]:
    """Go on from the checkpoint, if there is one; the log until then.

    Raises:
        SystemExit: if it was made with other settings.
    """
    path = options.out / "checkpoint.pt"
    if not path.exists():
        return []
    saved = torch.load(path, weights_only=True, map_location=device)
    if saved["settings"] != settings_of(options):
        raise SystemExit(f"{path}: made with {saved['settings']}; choose another --out")
    training.restore(saved)
    rows: list[Row] = saved["log"]
    return rows


def keep(training: Resumable, rows: list[Row], options: argparse.Namespace) -> None:
    """Write checkpoint, whole or not at all, and log."""
    path = options.out / "checkpoint.pt"
    unfinished = path.with_suffix(".part")
    torch.save({**training.state(), "settings": settings_of(options), "log": rows}, unfinished)
    unfinished.replace(path)
    (options.out / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
