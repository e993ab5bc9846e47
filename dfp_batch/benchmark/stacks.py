"""Stacks to time: procedural frames of any size that moved as a lens breathes."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dfp_batch.engine.frames import read_header
from dfp_batch.io import codec, storage
from dfp_batch.synthetic import procedural_image

Image = NDArray[np.float32]

_TILE_PX = 1024
_SIDE_PX = 16  # of which the sides are multiples, as those of sensors are
_BLURS = ((1, 1.0), (3, 2.0), (8, 4.0))  # frames away, px of sigma
_BREATHING = 0.002  # of the size, from frame to frame


def make_stack(folder: str, frames: int, megapixels: float, extension: str) -> tuple[str, ...]:
    """Frames (h, w, 3) of one scene, each sharp in its own rows, less so the farther away.

    Args:
        folder: Where they are written.
        frames: How many.
        megapixels: Of one; its sides are as 3 to 2.
        extension: jpg; or png or tiff, of 16 bits.

    Returns:
        Their URLs.
    """
    height = _SIDE_PX * max(1, round((megapixels * 1e6 / 1.5) ** 0.5 / _SIDE_PX))
    sharp = _scene(height, height * 3 // 2)
    blurred = {sigma_px: cv2.GaussianBlur(sharp, (0, 0), sigma_px) for _, sigma_px in _BLURS}
    away = np.abs(np.arange(height) * frames / height - 0.5 - np.arange(frames)[:, None])
    urls = []
    for index in range(frames):
        frame = sharp.copy()
        for nearest, sigma_px in _BLURS:
            rows = away[index] >= nearest
            frame[rows] = blurred[sigma_px][rows]
        urls.append(f"{folder}/{frames}-{index:03d}.{extension}")
        storage.write_bytes(urls[-1], _file(_moved(frame, index - frames // 2), extension))
    return tuple(urls)


def describe(frames: Sequence[str]) -> dict[str, Any]:
    """What a stack is: frames, size, and the bytes of its files."""
    header, _ = read_header(frames[0])
    size_bytes = sum(read_header(frame)[1] for frame in frames)
    return {
        "frames": len(frames),
        "width_px": header.width,
        "height_px": header.height,
        "kind": header.kind,
        "bytes": size_bytes,
    }


def _scene(height: int, width: int) -> Image:
    """A picture (h, w, 3), in [0, 1], mirrored over the edges of what is drawn."""
    tile = procedural_image(min(_TILE_PX, max(height, width)), 0).transpose(1, 2, 0)
    more = ((0, max(0, height - len(tile))), (0, max(0, width - len(tile))), (0, 0))
    return np.ascontiguousarray(np.pad(tile, more, "symmetric")[:height, :width])


def _moved(frame: Image, steps: int) -> Image:
    h, w = frame.shape[:2]
    warp = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), 0, 1 + _BREATHING * steps)
    moved = cv2.warpAffine(frame, warp, (w, h), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.float32)


def _file(frame: Image, extension: str) -> bytes:
    dtype = np.uint8 if extension == "jpg" else np.uint16
    stored = codec.from_unit(frame.transpose(2, 0, 1), np.dtype(dtype))
    return codec.encode(stored, extension)
