"""Planes and warps of frames that moved, for the tests of the alignment."""

from functools import cache

import numpy as np

from dfp_batch.alignment.warp import warp_image
from dfp_batch.synthetic import procedural_image

LUMA = np.float32([0.299, 0.587, 0.114])


def luma(source):
    return np.tensordot(LUMA, source, 1) if len(source) == 3 else source[0]


@cache
def picture(side_px=192, seed=0):
    plane = luma(procedural_image(side_px, seed)).astype(np.float32)
    plane.flags.writeable = False  # many tests look at the same one
    return plane


def centred(size, linear=((1, 0), (0, 1)), shift=(0.0, 0.0), tilt=(0.0, 0.0)):
    """The warp about the centre of an image (h, w)."""
    to_centre = np.eye(3)
    to_centre[:2, 2] = -(size[1] - 1) / 2, -(size[0] - 1) / 2
    warp = np.eye(3)
    warp[:2, :2], warp[:2, 2], warp[2, :2] = linear, shift, tilt
    return np.linalg.inv(to_centre) @ warp @ to_centre


def turned(degrees, magnification=1.0):
    angle = np.radians(degrees)
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return magnification * np.array(turn)


def moved(plane, warp):
    """The frame in which the warp finds what is in ``plane``."""
    return np.asarray(warp_image(plane, np.linalg.inv(warp), plane.shape))


def through(warp, points):
    mapped = np.column_stack([points, np.ones(len(points))]) @ warp.T
    return mapped[:, :2] / mapped[:, 2:]


WARPS = {
    "translation": centred((192, 192), shift=(7.3, -4.6)),
    "similarity": centred((192, 192), turned(3, 0.97), (4, -3)),
    "affine": centred((192, 192), [[1.02, 0.03], [-0.01, 0.97]], (-2, 3)),
    "homography": centred((192, 192), turned(1, 1.01), (1, 2), (2e-4, -1e-4)),
}
