"""Files that are taken although something about them is unusual: the row says what."""

import numpy as np
import tifffile

from codec_samples import dng, mosaic
from conftest import texture
from dfp_batch.engine.frames import open_frames, read_frame
from dfp_batch.io import storage
from dfp_batch.runs.manifest import Pair
from stage_parts import CLASSICAL, fused_of, run_pair


def test_a_stack_of_imagej_that_was_cut_off_is_fused_and_the_row_says_so(tmp_path):
    path = tmp_path / "stack.tif"
    pages = np.stack([texture(20, 24, 1, seed)[..., 0] for seed in range(5)])
    tifffile.imwrite(path, pages, imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tiff:
        [start], size = tiff.pages[0].dataoffsets, tiff.pages[0].nbytes
    path.write_bytes(path.read_bytes()[: start + 3 * size + 5])
    facts = run_pair(Pair("p", (str(path),)), CLASSICAL, f"{tmp_path}/run")
    assert facts["source_notes"] == [
        "holds 3 of the 5 pages that its description names; it is not whole"
    ]
    assert facts["n_sources"] == 3
    assert fused_of(facts).size == "48x40 px"


def test_nothing_is_said_of_usual_files(tmp_path):
    path = tmp_path / "stack.tif"
    pages = np.stack([texture(20, 24, 1, seed)[..., 0] for seed in range(3)])
    tifffile.imwrite(path, pages, photometric="minisblack")
    facts = run_pair(Pair("p", (str(path),)), CLASSICAL, f"{tmp_path}/run")
    assert facts["source_notes"] is None


def test_camera_raw_files_are_developed_like_the_reference(tmp_path):
    """Their tags differ as cameras write them; what they saw does not."""
    whole = mosaic(48, 64)
    balances = [(0.5, 1.0, 0.6), (0.55, 1.0, 0.6), (0.5, 1.0, 0.7)]
    urls = []
    for k, neutral in enumerate(balances):
        urls.append(str(tmp_path / f"{k}.dng"))
        storage.write_bytes(urls[-1], dng(whole, black=256 + 10 * k, neutral=neutral))
    with open_frames(urls, reference=lambda _: 2) as frames:
        images = [frames[k].pixels for k in range(3)]
    np.testing.assert_array_equal(images[0], images[2])
    np.testing.assert_array_equal(images[1], images[2])
    np.testing.assert_array_equal(images[2], read_frame(urls[2]).pixels)
    facts = run_pair(Pair("p", tuple(urls)), CLASSICAL, f"{tmp_path}/run")
    fused = fused_of(facts)
    assert (fused.size, fused.bit_depth) == ("128x96 px", 16)
    assert b"Makers" in fused.metadata.exif
    assert facts["gain_max"] < 1.01
