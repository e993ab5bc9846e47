"""Training that goes on after an interruption: what is kept, and what it must agree with."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch.errors import ConfigError

Row = dict[str, Any]


class Settings(Protocol):
    """What the result of a training depends on: a dataclass whose fields are flags of its job."""

    @property
    def seed(self) -> int:
        """Of all randomness."""
        ...

    @property
    def steps(self) -> int:
        """Of the whole training."""
        ...

    @property
    def log(self) -> int:
        """Steps from one record, and checkpoint, to the next."""
        ...


@dataclass(frozen=True)
class Session:
    """One sitting of a training: what its result does not depend on.

    Attributes:
        out: Folder for everything.
        device: On which the network is trained.
        threads: Of the CPU.
        processes: That make the scenes and draw batches ahead; 1 is this one, for both.
        stop: Leave after so many steps, to go on later; 0 makes only the scenes, None all.
    """

    out: Path
    device: str = "cpu"
    threads: int = 1
    processes: int = 1
    stop: int | None = None

    def prepare(self) -> None:
        """Make the folder, set the number of threads, let cuDNN choose: pieces have one size."""
        self.out.mkdir(parents=True, exist_ok=True)
        torch.backends.cudnn.benchmark = True
        torch.set_num_threads(self.threads)
        cv2.setNumThreads(self.threads)


class Resumable(Protocol):
    """All that changes from step to step."""

    def state(self) -> Row:
        """Everything, for a checkpoint."""
        ...

    def restore(self, state: Row) -> None:
        """Go back to a checkpoint."""
        ...


def given(settings: object) -> dict[str, str]:
    """The settings that are not None, as text, by name."""
    return {name: str(value) for name, value in vars(settings).items() if value is not None}


def restored(training: Resumable, settings: object, session: Session) -> list[Row]:
    """Go on from the checkpoint, if there is one.

    Args:
        training: Is set back to it.
        settings: Must be those that the checkpoint was made with.
        session: Says where it is.

    Returns:
        The log until then.

    Raises:
        ConfigError: if it was made with other settings.
    """
    path = session.out / "checkpoint.pt"
    if not path.exists():
        return []
    saved = torch.load(path, weights_only=True, map_location=session.device)
    if saved["settings"] != given(settings):
        raise ConfigError(f"{path}: made with {saved['settings']}; choose another --out")
    training.restore(saved)
    rows: list[Row] = saved["log"]
    return rows


def keep(training: Resumable, rows: list[Row], settings: object, session: Session) -> None:
    """Write checkpoint, whole or not at all, and log."""
    path = session.out / "checkpoint.pt"
    unfinished = path.with_suffix(".part")
    torch.save({**training.state(), "settings": given(settings), "log": rows}, unfinished)
    unfinished.replace(path)
    (session.out / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def made_once(path: Path, make: Callable[[], NDArray[Any]]) -> Path:
    """A file of an array, which is made if it is not there; whole or not at all.

    Args:
        path: Ends in ``.npy``.
        make: Makes the array, which takes long.

    Returns:
        The path.
    """
    if not path.exists():
        unfinished = path.with_suffix(".part.npy")
        np.save(unfinished, make())
        unfinished.replace(path)
    return path
