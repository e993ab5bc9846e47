"""Pairs by their headers: what fits is described, what ``prepare`` would refuse is told."""

import dataclasses

import numpy as np
import pytest
import tifffile

from conftest import texture, write_image
from dfp_batch.config.run_config import Output, RunConfig
from dfp_batch.engine.headers import Looked, look
from dfp_batch.engine.prepare import prepare
from dfp_batch.errors import DfpError
from dfp_batch.io import storage
from dfp_batch.runs.manifest import Pair
from stage_parts import CLASSICAL

RUN = RunConfig("classical", CLASSICAL)


def write(folder, name, size=(24, 30), channels=3):
    return write_image(f"{folder}/{name}.png", texture(*size, channels))


def test_a_good_pair_is_described(tmp_path):
    sources = write(tmp_path, "a"), write(tmp_path, "b")
    truth = write(tmp_path, "t", (48, 60))
    seen = look(Pair("x", sources, reference=truth), RUN)
    assert isinstance(seen, Looked)
    assert (seen.pair_id, seen.frames, seen.truths) == ("x", 2, 1)
    assert seen.frame_mp == pytest.approx(24 * 30 / 1e6)
    assert seen.source_bytes == sum(len(storage.read_bytes(url)) for url in sources)
    assert seen.truth_bytes == len(storage.read_bytes(truth))


def test_a_stack_in_one_file_is_looked_through(tmp_path):
    url = f"{tmp_path}/stack.tiff"
    tifffile.imwrite(url, np.stack([texture(24, 30)] * 3), photometric="rgb")
    seen = look(Pair("x", (url,)), RUN)
    assert isinstance(seen, Looked)
    assert (seen.frames, seen.header.width, seen.header.channels) == (3, 30, 3)
    assert seen.source_bytes == len(storage.read_bytes(url))


def damaged(folder):
    storage.write_bytes(f"{folder}/b.png", b"no image")
    return Pair("x", (write(folder, "a"), f"{folder}/b.png"))


def float_stack(folder):
    urls = [f"{folder}/{name}.tiff" for name in "ab"]
    for url in urls:
        tifffile.imwrite(url, np.full((24, 30), 0.5, np.float32))
    return Pair("x", tuple(urls))


BAD = {
    "missing": (
        "cannot be read",
        lambda folder: Pair("x", (write(folder, "a"), f"{folder}/gone.png")),
    ),
    "damaged": ("cannot be decoded", damaged),
    "another size": (
        "does not fit",
        lambda folder: Pair("x", (write(folder, "a"), write(folder, "b", (24, 31)))),
    ),
    "another kind": (
        "does not fit",
        lambda folder: Pair("x", (write(folder, "a"), write(folder, "b", channels=1))),
    ),
    "too small": (
        "does not fit",
        lambda folder: Pair("x", (write(folder, "a", (12, 30)), write(folder, "b", (12, 30)))),
    ),
    "no such frame": (
        "does not fit",
        lambda folder: Pair("x", (write(folder, "a"), write(folder, "b")), reference_frame=2),
    ),
    "reference of the wrong size": (
        "does not fit",
        lambda folder: Pair(
            "x", (write(folder, "a"), write(folder, "b")), reference=write(folder, "t")
        ),
    ),
    "floats as png": ("does not fit", float_stack),
}


@pytest.mark.parametrize("case", BAD)
def test_what_prepare_refuses_is_found_in_the_headers(case, tmp_path):
    what, make = BAD[case]
    pair = make(str(tmp_path))
    run = dataclasses.replace(RUN, output=Output("png"))
    problem = look(pair, run)
    assert problem.what == what
    with pytest.raises(DfpError) as refused:
        prepare(pair, run)
    assert problem.message == str(refused.value)
