"""Trees of files to be sorted into stacks: names alone, or tiny images."""

from io import BytesIO

import cv2
import numpy as np
import tifffile

from dfp_batch.archive.find import find_stacks
from dfp_batch.io.storage import write_bytes
from dfp_batch.io.urls import join


def fill(folder, *names):
    """Files of one byte, which are images by their names alone."""
    for name in names:
        write_bytes(join(folder, name), b"1")


def urls(folder, *names):
    return tuple(join(folder, name) for name in names)


def tiff(pages, **options) -> bytes:
    """A TIFF of some pages of 16x16 px."""
    buffer, pixels = BytesIO(), np.zeros((pages, 16, 16), np.uint8)
    tifffile.imwrite(buffer, pixels, photometric="minisblack", **options)
    return buffer.getvalue()


def stacks(folder, how=None):
    """What is found: the names of the files of every stack, by id."""
    found = find_stacks(folder, how)
    return {stack.pair_id: [one.path for one in stack.images] for stack in found.stacks}


def left_out(folder, how=None):
    return sorted(find_stacks(folder, how).left_out)


def scene(number, blur=0.0, size=(48, 64)):
    """Pixels of one of many scenes, in or out of focus."""
    small = np.random.default_rng(number).integers(0, 256, (6, 8), np.uint8)
    pixels = cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)
    pixels = cv2.GaussianBlur(pixels, (0, 0), blur) if blur else pixels
    return np.dstack([pixels] * 3)


def picture(number, blur=0.0, **options) -> bytes:
    """PNG of one of many scenes; two of one number show the same."""
    return cv2.imencode(".png", scene(number, blur, **options))[1].tobytes()


def show(folder, pictures):
    """Write pictures of scenes: ``{name: (number of the scene, blur)}``."""
    for name, (number, blur) in pictures.items():
        write_bytes(join(folder, name), picture(number, blur))
