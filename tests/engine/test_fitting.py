"""Frames that differ by a few pixels."""

import numpy as np
import pytest

from conftest import texture, write_image
from dfp_batch.config.run_config import Reading, RunConfig
from dfp_batch.engine.frames import open_frames
from dfp_batch.engine.headers import Looked, look
from dfp_batch.engine.prepare import prepare
from dfp_batch.errors import ImageError
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.runs.manifest import Pair
from stage_parts import fused_of, run_pair

CLASSICAL = FusionConfig.preset("classical", scale=2)
CROPPED = RunConfig("test", CLASSICAL, reading=Reading(fit="crop"))
SCENE = texture(60, 80)


def cut(folder, *sizes):
    """Frames of one scene, cut to these sizes (h, w)."""
    urls = [
        write_image(f"{folder}/{k}.png", SCENE[:height, :width])
        for k, (height, width) in enumerate(sizes)
    ]
    return Pair("p", tuple(urls))


def test_frames_of_several_sizes_are_refused_unless_they_are_to_be_cropped(tmp_path):
    pair = cut(tmp_path, (40, 50), (38, 53))
    with pytest.raises(ImageError, match=r"^sources differ: .* is 50x40 px, .* is 53x38 px"):
        prepare(pair, RunConfig("test", CLASSICAL))
    facts = run_pair(pair, CROPPED, f"{tmp_path}/run")
    assert facts["source_notes"] == ["cropped to the top left 50x38 px of up to 53x40 px"]
    assert fused_of(facts).size == "100x76 px"


def test_the_part_that_all_have_is_the_top_left(tmp_path):
    pair = cut(tmp_path, (40, 50), (38, 53), (41, 49))
    with open_frames(pair.sources, Reading(fit="crop")) as frames:
        for index in range(3):
            np.testing.assert_array_equal(frames[index].pixels, SCENE[:38, :49])


def test_frames_of_one_size_are_taken_as_they_are(tmp_path):
    facts = run_pair(cut(tmp_path, (40, 50), (40, 50)), CROPPED, f"{tmp_path}/run")
    assert facts["source_notes"] is None
    assert fused_of(facts).size == "100x80 px"


def test_frames_that_differ_by_more_are_refused_all_the_same(tmp_path):
    pair = cut(tmp_path, (60, 40), (60, 73))
    message = (
        "sources differ by 33 px in size, --fit crop takes at most 32 px; register or crop them "
        "to one size"
    )
    with pytest.raises(ImageError) as caught:
        prepare(pair, CROPPED)
    assert str(caught.value) == message
    assert look(pair, CROPPED).message == message


def test_the_headers_tell_what_will_be_taken(tmp_path):
    found = look(cut(tmp_path, (40, 50), (38, 53)), CROPPED)
    assert isinstance(found, Looked)
    assert (found.header.width, found.header.height) == (50, 38)


def test_other_differences_are_no_matter_of_cropping(tmp_path):
    urls = [
        write_image(f"{tmp_path}/a.png", SCENE[:40, :50]),
        write_image(f"{tmp_path}/b.png", SCENE[:40, :48, :1]),
    ]
    with pytest.raises(ImageError, match=r"48x40 px, 1 channel, 8 bit"):
        prepare(Pair("p", tuple(urls)), CROPPED)
