"""Pictures of any size in parts: what is zoomed into is all that is sent."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from dfp_batch.errors import ObjectMissingError
from dfp_batch.io import codec
from dfp_batch.io.codec import Frame
from dfp_batch.report.colours import Image
from dfp_batch.report.pictures import small

SIDE_PX = 512
MOST_BYTES = 1 << 30
_QUALITY = 92


def cut_tile(image: Image, level: int, column: int, row: int) -> Image:
    """A tile of a picture (h, w, 3) that is halved until it is one pixel.

    Args:
        image: At full size, which is the highest level.
        level: From 0, one pixel; each is twice as large as the one before.
        column: From the left.
        row: From the top.

    Raises:
        ObjectMissingError: if the picture has no such tile.
    """
    height, width = image.shape[:2]
    highest = (max(height, width) - 1).bit_length()
    factor = 1 << max(0, highest - level)
    step = SIDE_PX * factor
    part = image[row * step : (row + 1) * step, column * step : (column + 1) * step]
    if level > highest or part.size == 0:
        raise ObjectMissingError(f"no tile {column}, {row} at level {level} of {highest}")
    return part if factor == 1 else small(part, -(-max(part.shape[:2]) // factor))


def encoded_tile(image: Image, is_map: bool) -> tuple[bytes, str]:
    """The file of a tile and its type: maps in false colours without loss.

    Raises:
        ImageError: The encoder failed.
    """
    if is_map:
        return codec.encode(Frame(image), "png"), "image/png"
    return codec.encode(Frame(image), "jpg", _QUALITY), "image/jpeg"


class PictureCache:
    """Pictures that were looked at last, up to a number of bytes; used by several threads.

    Args:
        most_bytes: Of all; the last one is kept whatever its size.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, Image] = OrderedDict()
        self._lock = threading.Lock()  # also while one is made: tiles of it are asked for at once

    def get(self, key: Hashable, make: Callable[[], Image]) -> Image:
        """The picture of a key, made if it is not there."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
            self._kept.move_to_end(key)
            while (
                len(self._kept) > 1
                and sum(one.nbytes for one in self._kept.values()) > self._most_bytes
            ):
                self._kept.popitem(last=False)
            return self._kept[key]
