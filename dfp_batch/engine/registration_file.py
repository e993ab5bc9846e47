"""registration.json: how the frames of a pair were registered, to be looked at and used again."""

import json
from typing import Any

import numpy as np

from dfp_batch import storage
from dfp_batch.errors import AlignmentError, ObjectMissingError
from dfp_batch.manifest import folder_name
from dfp_batch.method.align import Registered
from dfp_batch.method.stack import Still

NAME = "registration.json"


def to_bytes(still: Still, names: tuple[str, ...], size: tuple[int, int]) -> bytes:
    """The file.

    Args:
        still: Of N frames.
        names: Of the frames.
        size: (h, w) of the frames.
    """
    found = still.registered
    frames = [
        {
            "source": name,
            "flag": found.flags[index],
            "warp": found.warps[index].tolist(),
            "gains": still.gains[index].tolist(),
            "score_before": found.before[index],
            "score_after": found.after[index],
        }
        for index, name in enumerate(names)
    ]
    header = {"width_px": size[1], "height_px": size[0], "reference": found.reference}
    meaning = "warp maps (x, y, 1) of the reference frame to the frame; pixel centres are integers"
    return json.dumps({**header, "meaning": meaning, "frames": frames}, indent=1).encode()


def read(url: str, pair_id: str, count: int, size: tuple[int, int]) -> Still:
    """What another run wrote for the same pair.

    Args:
        url: Of a run directory, or of one such file.
        pair_id: Of the pair.
        count: Number of its frames.
        size: (h, w) of its frames.

    Raises:
        AlignmentError: if there is none, or it is of another stack.
        StorageError: if it cannot be read.
    """
    target = url
    if not url.endswith(".json"):
        target = storage.join(url, "outputs", folder_name(pair_id), NAME)
    try:
        content = json.loads(storage.read_bytes(target))
        found = (len(content["frames"]), content["height_px"], content["width_px"])
        if found != (count, *size):
            raise AlignmentError(
                f"{target} registers {found[0]} frames of {found[2]}x{found[1]} px, "
                f"expected {count} of {size[1]}x{size[0]} px"
            )
        return _still(content)
    except ObjectMissingError as error:
        raise AlignmentError(f"{target}: nothing is there, expected a registration") from error
    except (ValueError, KeyError, TypeError) as error:
        raise AlignmentError(f"{target} is not a registration: {error!r}") from error


def _still(content: dict[str, Any]) -> Still:
    frames = content["frames"]
    registered = Registered(
        int(content["reference"]),
        np.array([frame["warp"] for frame in frames], np.float64).reshape(-1, 3, 3),
        tuple(float(frame["score_before"]) for frame in frames),
        tuple(float(frame["score_after"]) for frame in frames),
        tuple(frame["flag"] for frame in frames),
    )
    return Still(registered, np.array([frame["gains"] for frame in frames], np.float64))
