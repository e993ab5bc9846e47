"""Tiny pairs, and the three stages in a row without Ray."""

import cv2
import numpy as np

from conftest import texture, write_image
from dfp_batch.config.run_config import RunConfig
from dfp_batch.engine.prepare import ALONE, prepare
from dfp_batch.engine.publish import publish
from dfp_batch.engine.reconstruct import reconstruct
from dfp_batch.io import codec, storage
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.runs.manifest import Pair

CLASSICAL = FusionConfig.preset("classical", scale=2)


def make_pair(folder, near, far, extension="png", **more):
    urls = (f"{folder}/x_A.{extension}", f"{folder}/x_B.{extension}")
    return Pair("x", tuple(map(write_image, urls, (near, far), (extension,) * 2)), **more)


def run_pair(pair, config, run_url, circumstances=ALONE):
    """All facts of the pair; ``config`` may be a composition or a whole run."""
    run = config if isinstance(config, RunConfig) else RunConfig("test", config)
    prepared, first = prepare(pair, run, circumstances=circumstances)
    reconstructed, second = reconstruct(prepared, run.fusion)
    _, third = publish(pair, prepared, reconstructed, run, run_url)
    return first | second | third


def halves(height=48, width=48, channels=3):
    """Two frames of one scene, sharp on the left and on the right."""
    sharp = texture(height, width, channels)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2.0).reshape(sharp.shape)
    is_left = (np.arange(width) < width // 2)[:, None]
    return np.where(is_left, sharp, blurred), np.where(is_left, blurred, sharp)


def folder_of(facts):
    return facts["output_url"].rpartition("/")[0]


def fused_of(facts):
    """The image that was written, as a frame."""
    return codec.decode(storage.read_bytes(facts["output_url"]), "fused")
