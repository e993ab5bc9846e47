"""registration.json: how the frames of a pair were registered, to be looked at and used again."""

import json
from typing import Any, get_args

import numpy as np

from dfp_batch.alignment.registration import Flag, RegistrationResult
from dfp_batch.alignment.stack_alignment import StackAlignment
from dfp_batch.errors import AlignmentError, ObjectMissingError
from dfp_batch.io import storage, urls
from dfp_batch.runs.manifest import folder_name
from dfp_batch.runs.row_problems import MIN_SOURCES

NAME = "registration.json"


def to_bytes(alignment: StackAlignment, names: tuple[str, ...], size: tuple[int, int]) -> bytes:
    """The file.

    Args:
        alignment: Of N frames.
        names: Of the frames.
        size: (h, w) of the frames.
    """
    found = alignment.registered
    frames = [
        {
            "source": name,
            "flag": found.flags[index],
            "warp": found.warps[index].tolist(),
            "gains": alignment.gains[index].tolist(),
            "score_before": found.before[index],
            "score_after": found.after[index],
        }
        for index, name in enumerate(names)
    ]
    header = {"width_px": size[1], "height_px": size[0], "reference": found.reference}
    meaning = "warp maps (x, y, 1) of the reference frame to the frame; pixel centres are integers"
    return json.dumps({**header, "meaning": meaning, "frames": frames}, indent=1).encode()


def read(url: str, pair_id: str, count: int, shape: tuple[int, ...]) -> StackAlignment:
    """What another run wrote for the same pair.

    Args:
        url: Of a run directory, or of one such file.
        pair_id: Of the pair.
        count: Number of its frames.
        shape: (h, w, C) of its frames.

    Raises:
        AlignmentError: if there is none, or it is of another stack.
        StorageError: if it cannot be read.
    """
    target = url
    if not url.endswith(".json"):
        target = urls.join(url, "outputs", folder_name(pair_id), NAME)
    try:
        content = json.loads(storage.read_bytes(target))
        size, alignment = (content["height_px"], content["width_px"]), _alignment(content)
    except ObjectMissingError as error:
        raise AlignmentError(f"{target}: nothing is there, expected a registration") from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise AlignmentError(f"{target} is not a registration: {error!r}") from error
    frames, channels = alignment.gains.shape
    if (frames, *size) != (count, *shape[:2]):
        raise AlignmentError(
            f"{target} registers {frames} frames of {size[1]}x{size[0]} px, "
            f"expected {count} of {shape[1]}x{shape[0]} px"
        )
    if channels != shape[2]:
        raise AlignmentError(f"{target} has gains for {channels} channels, expected {shape[2]}")
    return alignment


def _alignment(content: dict[str, Any]) -> StackAlignment:
    frames = content["frames"]
    registered = RegistrationResult(
        int(content["reference"]),
        np.array([frame["warp"] for frame in frames], np.float64),
        tuple(float(frame["score_before"]) for frame in frames),
        tuple(float(frame["score_after"]) for frame in frames),
        tuple(frame["flag"] for frame in frames),
    )
    alignment = StackAlignment(
        registered, np.array([frame["gains"] for frame in frames], np.float64)
    )
    _check(alignment)
    return alignment


def _check(alignment: StackAlignment) -> None:
    """Refuse what no run has written, but an editor may have."""
    found, gains = alignment.registered, alignment.gains
    count = len(found.flags)
    if not set(found.flags) <= set(get_args(Flag)):
        raise ValueError(f"a flag must be one of {', '.join(get_args(Flag))}, got {found.flags}")
    if not 0 <= found.reference < count or sum(found.kept) < MIN_SOURCES:
        raise ValueError(
            f"frame {found.reference} of {count} is the reference, flags {found.flags}"
        )
    if found.warps.shape != (count, 3, 3) or not np.isfinite(found.warps).all():
        raise ValueError("a warp must be 3 rows of 3 numbers")
    if not (np.linalg.det(found.warps) > 0).all():
        raise ValueError("a warp must be a motion")
    if gains.ndim != 2 or not ((gains > 0) & (gains < np.inf)).all():  # noqa: PLR2004
        raise ValueError("gains must be one number > 0 for every channel")
