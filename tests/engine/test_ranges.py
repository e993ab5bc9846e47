"""Measured values: one range per stack, given back in the type and unit of the file."""

from dataclasses import replace
from io import BytesIO

import cv2
import numpy as np
import pytest
import tifffile

from conftest import texture
from dfp_batch.config.run_config import Output, RunConfig
from dfp_batch.engine.headers import look
from dfp_batch.engine.prepare import Circumstances, prepare
from dfp_batch.engine.single import fuse_files
from dfp_batch.errors import ImageError
from dfp_batch.io import storage
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.placement import Accelerator
from dfp_batch.runs.manifest import Pair
from stage_parts import fused_of, run_pair

CLASSICAL = FusionConfig.preset("classical", scale=1)
UNMOVED = replace(CLASSICAL, align=replace(CLASSICAL.align, model="none"))
UNITS = {  # dtype, value of black, value of a step of grey
    "int16 of CT": ("int16", -1000.0, 12.0),
    "int8": ("int8", -120.0, 0.9),
    "int32": ("int32", -2e9, 1.5e7),
    "uint32 counts": ("uint32", 1e9, 1e7),
    "float in volts": ("float32", -0.004, 1e-5),
    "float of 16-bit levels": ("float32", 0.0, 257.0),
}


def halves(unit):
    """Two frames (h, w) in a unit, sharp left and right, and the scene."""
    dtype, black, step = UNITS[unit]
    sharp = texture(40, 48, 1)[..., 0].astype(np.float64)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 3)
    is_left = np.arange(48) < 24
    frames = np.where(is_left, sharp, blurred), np.where(is_left, blurred, sharp)
    return [(black + step * frame).astype(dtype) for frame in (*frames, sharp)]


def pair_of(folder, frames, **more):
    urls = []
    for name, frame in zip("ab", frames, strict=True):
        urls.append(f"{folder}/{name}.tif")
        tifffile.imwrite(urls[-1], frame, photometric="minisblack")
    return Pair("p", tuple(urls), **more)


@pytest.mark.parametrize("unit", UNITS)
def test_values_come_back_in_the_type_and_unit_of_the_file(tmp_path, unit):
    near, far, sharp = halves(unit)
    dtype, _, step = UNITS[unit]
    facts = run_pair(pair_of(tmp_path, [near, far]), UNMOVED, f"{tmp_path}/run")
    fused = fused_of(facts)
    assert facts["output_url"].endswith("/fused.tiff")
    assert fused.pixels.dtype == dtype
    lowest, highest = min(near.min(), far.min()), max(near.max(), far.max())
    assert (facts["range_low"], facts["range_high"]) == (lowest, highest)
    error = np.abs(fused.pixels[..., 0].astype(float) - sharp.astype(float))
    assert np.median(error) <= max(2 * step, 1)
    assert fused.pixels.min() >= lowest
    assert fused.pixels.max() <= highest


def test_the_result_does_not_depend_on_the_unit(tmp_path):
    """A stack in volts is fused like the same in 16-bit levels."""
    config = replace(UNMOVED, scale=2)
    results = []
    for unit in ("float in volts", "float of 16-bit levels"):
        folder = tmp_path / unit.replace(" ", "-")
        folder.mkdir()
        near, far, _ = halves(unit)
        fused = fused_of(run_pair(pair_of(folder, [near, far]), config, f"{folder}/run")).pixels
        _, black, step = UNITS[unit]
        results.append((fused - black) / step)
    np.testing.assert_allclose(results[0], results[1], atol=0.02)


def test_a_reference_in_the_same_unit_is_compared_in_it(tmp_path):
    near, far, sharp = halves("int16 of CT")
    reference = f"{tmp_path}/truth.tif"
    tifffile.imwrite(reference, sharp)
    facts = run_pair(pair_of(tmp_path, [near, far], reference=reference), UNMOVED, f"{tmp_path}/r")
    assert facts["psnr_db"] > 25


def test_floats_in_the_unit_range_are_photographs_as_before(tmp_path):
    frames = [frame / 65535 for frame in halves("float of 16-bit levels")[:2]]
    facts = run_pair(pair_of(tmp_path, frames), UNMOVED, f"{tmp_path}/run")
    assert (facts["range_low"], facts["range_high"]) == (None, None)


def test_a_constant_stack_has_a_range(tmp_path):
    frames = [np.full((40, 48), 7, np.int16)] * 2
    facts = run_pair(pair_of(tmp_path, frames), UNMOVED, f"{tmp_path}/run")
    assert (facts["range_low"], facts["range_high"]) == (7, 8)
    assert (fused_of(facts).pixels == 7).all()


def test_measured_values_are_handed_over_in_the_unit_range(tmp_path):
    near, far, _ = halves("int16 of CT")
    beside = Circumstances(Accelerator(1 << 40))
    run = RunConfig("test", UNMOVED)
    prepared, _ = prepare(pair_of(tmp_path, [near, far]), run, circumstances=beside)
    assert prepared.aligned.white == 1
    assert prepared.aligned.frames[0].max() <= 1
    assert prepared.blank.pixels.dtype == np.int16


def test_two_types_do_not_fit_each_other(tmp_path):
    near, far, _ = halves("int16 of CT")
    pair = pair_of(tmp_path, [near, far.astype(np.int32)])
    with pytest.raises(ImageError, match=r"is 48x40 px, 1 channel, int16, .*, 1 channel, int32;"):
        prepare(pair, RunConfig("test", UNMOVED))


def test_another_format_is_refused_also_by_the_headers(tmp_path):
    pair = pair_of(tmp_path, halves("int16 of CT")[:2])
    run = RunConfig("test", UNMOVED, output=Output("png"))
    message = "--format png: png holds 8 or 16 bits per sample, got int16; use tiff"
    with pytest.raises(ImageError) as caught:
        prepare(pair, run)
    assert str(caught.value) == message
    assert look(pair, run).message == message


def test_channels_of_a_file_share_a_range(tmp_path):
    near, far, _ = halves("int16 of CT")
    stack = np.stack([np.stack([near, far]), np.stack([near, far]) // 2])
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack, photometric="minisblack", ome=True, metadata={"axes": "CZYX"})
    run = RunConfig("test", UNMOVED, output=Output("tiff"))
    made = fuse_files((str(path),), run)
    with tifffile.TiffFile(BytesIO(made.image)) as tiff:
        found = tiff.asarray()
    assert found.dtype == np.int16
    assert np.abs(found[1] - found[0] / 2).mean() < 8


def test_a_preview_shows_the_range(tmp_path):
    facts = run_pair(pair_of(tmp_path, halves("int16 of CT")[:2]), UNMOVED, f"{tmp_path}/run")
    folder = facts["output_url"].rpartition("/")[0]
    assert len(storage.read_bytes(f"{folder}/preview.jpg")) > 300
