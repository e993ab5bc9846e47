"""OpenCV's decoder and encoder, with our errors and our order of channels."""

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np

from dfp_batch.io.codec.frame import Pixels, with_channels
from dfp_batch.io.codec.header import RefusedError

_EXCHANGES = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}

# OpenCV reports a damaged image twice: to us (we raise) and to the terminal of every worker.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def pixels_of(data: bytes, kind: str) -> Pixels | None:
    """Decode a whole file to (h, w, C) as it is stored: no orientation, alpha last.

    Returns:
        Channels 1, 3 (red, green, blue) or 4; None if OpenCV cannot tell what is wrong.

    Raises:
        RefusedError: OpenCV says what is wrong.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        reason = " ".join(error.err.split())
        raise RefusedError(f"OpenCV cannot decode this {kind}: {reason}") from error
    return None if pixels is None else swapped(with_channels(pixels))


def file_of(
    pixels: Pixels,
    extension: str,
    options: Sequence[int] = (),
    exif: bytes | None = None,
    icc: bytes | None = None,
) -> bytes:
    """Encode (h, w, C), C = 1, 3 or 4, with metadata.

    Args:
        pixels: Red, green, blue, alpha.
        extension: ``png``, ``jpg`` or ``webp``.
        options: Pairs of a flag of OpenCV and its value.
        exif: A TIFF structure; for jpg at most 65,527 bytes.
        icc: A profile; for jpg at most 65,519 bytes.

    Raises:
        RefusedError: The encoder failed.
    """
    found = [(cv2.IMAGE_METADATA_EXIF, exif), (cv2.IMAGE_METADATA_ICCP, icc)]
    kinds = [kind for kind, block in found if block is not None]
    blocks = [np.frombuffer(block, np.uint8) for _, block in found if block is not None]
    image = swapped(pixels)
    try:
        done, data = cv2.imencodeWithMetadata(f".{extension}", image, kinds, blocks, options)
    except cv2.error as error:
        raise RefusedError(" ".join(error.err.split())) from error
    if not done:
        raise RefusedError("OpenCV refused it")
    return data.tobytes()


def swapped(pixels: Pixels) -> Pixels:
    """Exchange red and blue, OpenCV's order and ours; alpha stays last."""
    exchange = _EXCHANGES.get(pixels.shape[2])
    if exchange is None:
        return np.ascontiguousarray(pixels)
    return cast(Pixels, cv2.cvtColor(pixels, exchange))
