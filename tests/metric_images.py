"""Images with known answers, for the tests of the fusion metrics."""

import cv2
import numpy as np


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, shape)


def ramp(height=18, width=24, slope=1.0):
    return np.tile(slope * np.arange(width), (height, 1))


def checkerboard(size=48, amplitude=100.0):
    rows, columns = np.indices((size, size))
    return 128 + amplitude * (-1.0) ** (rows + columns)


def blurred(luma, sigma):
    return cv2.GaussianBlur(luma, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def scene(count=2, height=63, width=94):
    """A sharp scene, and sources that show one strip each of it sharp."""
    sharp = blurred(noise(height, width), 0.7)
    strip = np.arange(width) * count // width
    return sharp, np.stack([np.where(strip == k, sharp, blurred(sharp, 2)) for k in range(count)])


def windows(image, size):
    """Every window inside the image, row by row."""
    views = np.lib.stride_tricks.sliding_window_view(image, (size, size))
    return views.reshape(-1, size, size)
