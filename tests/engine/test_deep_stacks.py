"""Stacks of more frames than are decided at once."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile

from conftest import texture
from dfp_batch.config.run_config import RunConfig
from dfp_batch.engine.checks import reference_index
from dfp_batch.engine.headers import look
from dfp_batch.errors import ImageError
from dfp_batch.io import storage
from dfp_batch.io.codec.index_map import decode_indices
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.runs.manifest import Pair
from stage_parts import folder_of, fused_of, run_pair

CLASSICAL = FusionConfig.preset("classical", scale=1)


def stripes(path, count, height=24, width=40):
    """A TIFF of so many pages: three of them are sharp in a third of the image, the others not."""
    sharp = texture(height, width, 1)[..., 0]
    blurred = cv2.GaussianBlur(sharp, (0, 0), 4)
    pages = np.repeat(blurred[None], count, 0)
    owners = (1, count // 2, count - 1)
    for third, owner in enumerate(owners):
        part = np.s_[:, third * width // 3 : (third + 1) * width // 3]
        pages[owner][part] = sharp[part]
    tifffile.imwrite(path, pages, photometric="minisblack")
    return Pair("deep", (str(path),)), owners


@pytest.mark.parametrize("count", [201, 300])
def test_every_frame_of_a_deep_stack_counts(tmp_path, count):
    pair, owners = stripes(tmp_path / "stack.tif", count)
    config = replace(CLASSICAL, align=replace(CLASSICAL.align, model="none"))
    facts = run_pair(pair, config, f"{tmp_path}/run")
    assert facts["n_sources"] == count
    labels = decode_indices(storage.read_bytes(f"{folder_of(facts)}/decision.png"))
    assert labels.dtype == (np.uint16 if count > 256 else np.uint8)
    middles = [int(np.median(labels[:, at])) for at in (6, 20, 34)]
    assert middles == list(owners)
    assert fused_of(facts).size == "40x24 px"


def test_more_frames_than_the_most_are_refused():
    with pytest.raises(ImageError, match=r"^2001 frames, at most 2000 can be fused$"):
        reference_index(2001, CLASSICAL)
    assert reference_index(2000, CLASSICAL) == 999


def test_a_composition_that_needs_all_frames_at_once_refuses_a_deep_stack(tmp_path):
    pair, _ = stripes(tmp_path / "stack.tif", 201)
    problem = look(pair, RunConfig("paper", FusionConfig.preset("paper", scale=2)))
    assert problem.message == (
        "201 frames, at most 200 can be fused by a composition that needs all at once, as paper "
        "does; take another preset"
    )
