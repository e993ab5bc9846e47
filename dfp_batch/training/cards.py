"""Cards of weights: how they were made, for the file beside them."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime

import cv2
import numpy as np
import torch
from torch import nn

from dfp_batch.training.checkpoints import Session, given


def table(job: str, settings: object, facts: Mapping[str, object]) -> str:
    """The table of a card: the command that makes the same weights, facts, versions, date.

    Args:
        job: Script in jobs/.
        settings: A dataclass whose fields are flags of the job.
        facts: By name.
    """
    flags = [f"--{name.replace('_', '-')} {value}" for name, value in given(settings).items()]
    lines = {
        "command": f"`{' '.join([f'python jobs/{job} --out FOLDER', *flags])}`",
        **facts,
        "torch, numpy, OpenCV": f"{torch.__version__}, {np.__version__}, {cv2.__version__}",
        "date": datetime.now(UTC).date(),
    }
    return "\n".join(["| | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in lines.items())])


def device_name(session: Session) -> str:
    """The GPU, or the CPU and how many threads."""
    if torch.device(session.device).type == "cuda":
        return torch.cuda.get_device_name(session.device)
    return f"{platform.machine()} CPU, {session.threads} thread(s)"


def size(network: nn.Module) -> str:
    """Number of parameters, with commas."""
    return f"{sum(weight.numel() for weight in network.parameters()):,}"
