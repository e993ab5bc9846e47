"""Files that are taken although something about them is unusual: the row says what."""

import numpy as np
import tifffile

from conftest import texture
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
