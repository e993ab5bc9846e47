"""Pairs of files, written and run through the stages."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from dfp_batch.config.run_config import Output, RunConfig
from dfp_batch.io import codec, storage
from dfp_batch.io.codec import Frame
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.runs.manifest import Pair
from dfp_batch.synthetic import procedural_image
from stage_parts import CLASSICAL

PLAIN = FusionConfig.preset("classical", scale=1)
both_scales = pytest.mark.parametrize("scale", [1, 2])


def at(scale, **output):
    return RunConfig("test", replace(CLASSICAL, scale=scale), Output(**output))


def write_pair(folder, frames, extension="png", **more):
    """Write frames, or pixels (h, w, C), and make a pair of them."""
    urls = tuple(f"{folder}/{number:02d}.{extension}" for number in range(len(frames)))
    for url, frame in zip(urls, frames, strict=True):
        whole = frame if isinstance(frame, Frame) else Frame(frame)
        storage.write_bytes(url, codec.encode(whole, codec.extension_of(url)))
    return Pair("x", urls, **more)


def psnr_db(image, truth, white):
    error = (image.astype(np.float64) - truth) / white
    return -10 * np.log10((error**2).mean())


# Frames that moved.


SHIFTS = ((0, 0), (4, -3), (-3, 5))  # of frames, in px


def picture(side_px=80, seed=3):
    image = procedural_image(side_px, seed).transpose(1, 2, 0)
    return np.rint(255 * image).astype(np.uint8)


def moved_frames(count=3, darker=1.0):
    """Windows (64, 64, 3) of one picture, each sharp in its own third."""
    frames = []
    for number, (x, y) in enumerate(SHIFTS[:count]):
        blurred = cv2.GaussianBlur(picture(), (0, 0), 1.5)
        left, right = 8 + 64 * number // count, 8 + 64 * (number + 1) // count
        blurred[:, left:right] = picture()[:, left:right]
        frames.append(blurred[8 + y : 72 + y, 8 + x : 72 + x])
    return [frames[0], *(np.rint(frame * darker).astype(np.uint8) for frame in frames[1:])]
