"""Files of several channels: one decision, every channel fused with it."""

from dataclasses import replace
from io import BytesIO

import cv2
import numpy as np
import pytest
import tifffile

from conftest import texture
from dfp_batch.config.run_config import Output, Reading, RunConfig
from dfp_batch.engine.headers import Looked, look
from dfp_batch.engine.prepare import Circumstances, prepare
from dfp_batch.engine.single import fuse_files
from dfp_batch.errors import ImageError
from dfp_batch.io import storage
from dfp_batch.io.codec.index_map import decode_indices
from dfp_batch.pipeline import slabs
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.placement import Accelerator
from dfp_batch.runs.manifest import Pair
from stage_parts import folder_of, fused_of, run_pair

CLASSICAL = FusionConfig.preset("classical", scale=1)
UNMOVED = replace(CLASSICAL, align=replace(CLASSICAL.align, model="none"))
NAMES = ["DAPI", "GFP"]


def thirds(seed, frames=3, height=36, width=48):
    """Images (N, h, w) of one scene, each sharp in a part of its own, and the scene."""
    sharp = texture(height, width, 1, seed)[..., 0].astype(np.uint16) * 200
    blurred = cv2.GaussianBlur(sharp, (0, 0), 3)
    owner = np.arange(width) * frames // width
    return np.stack([np.where(owner == k, sharp, blurred) for k in range(frames)]), sharp


def write(path, channels, axes="CZYX", **options):
    stack = np.stack(channels, axes.index("C"))
    metadata = {"axes": axes}
    if not options.get("imagej"):
        metadata |= {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Channel": {"Name": NAMES}}
        options["ome"] = True
    tifffile.imwrite(path, stack, photometric="minisblack", metadata=metadata, **options)
    return Pair("cells", (str(path),))


def run_of(config=UNMOVED, **reading):
    return RunConfig("test", config, reading=Reading(**reading))


def result_of(facts):
    """Channels (C, H, W) of the file that was written, and its OME-XML."""
    with tifffile.TiffFile(BytesIO(storage.read_bytes(facts["output_url"]))) as tiff:
        assert tiff.series[0].axes == "CYX"
        return tiff.asarray(), tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]


def labels_of(facts):
    return decode_indices(storage.read_bytes(f"{folder_of(facts)}/decision.png"))


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX"])
def test_every_channel_of_an_ome_tiff_is_fused_by_one_decision(tmp_path, axes):
    first, first_sharp = thirds(1)
    second, second_sharp = thirds(2)
    pair = write(tmp_path / "a.ome.tif", [first, second], axes)
    facts = run_pair(pair, run_of(), f"{tmp_path}/run")
    assert facts["output_url"].endswith("/fused.ome.tiff")
    assert facts["channel_names"] == NAMES
    assert (facts["n_sources"], facts["bit_depth"]) == (3, 16)
    found, pixels = result_of(facts)
    assert found.dtype == np.uint16
    for channel, sharp, frames in zip(
        found, (first_sharp, second_sharp), (first, second), strict=True
    ):
        error = np.abs(channel.astype(float) - sharp)
        assert error.mean() < 0.2 * np.abs(frames[1].astype(float) - sharp).mean()
    assert [channel["Name"] for channel in pixels["Channel"]] == NAMES
    assert pixels["PhysicalSizeX"] == 0.5
    assert [int(np.median(labels_of(facts)[:, at])) for at in (8, 24, 40)] == [0, 1, 2]


def test_channels_of_imagej_are_numbered(tmp_path):
    pair = write(tmp_path / "a.tif", [thirds(1)[0], thirds(2)[0]], "ZCYX", imagej=True)
    facts = run_pair(pair, run_of(), f"{tmp_path}/run")
    assert facts["channel_names"] == ["0", "1"]
    assert result_of(facts)[0].shape == (2, 36, 48)


def test_the_result_is_larger_and_its_pixels_smaller(tmp_path):
    pair = write(tmp_path / "a.ome.tif", [thirds(1)[0], thirds(2)[0]])
    facts = run_pair(pair, run_of(replace(UNMOVED, scale=2)), f"{tmp_path}/run")
    found, pixels = result_of(facts)
    assert found.shape == (2, 72, 96)
    assert pixels["PhysicalSizeX"] == 0.25


def test_the_same_input_gives_the_same_file(tmp_path):
    pair = write(tmp_path / "a.ome.tif", [thirds(1)[0], thirds(2)[0]])
    facts = [run_pair(pair, run_of(), f"{tmp_path}/run{k}") for k in range(2)]
    assert facts[0]["output_sha256"] == facts[1]["output_sha256"]


@pytest.mark.parametrize(("chosen", "expected"), [(0, [0, 1, 2]), (1, [2, 1, 0])])
def test_the_channel_that_was_asked_for_decides(tmp_path, chosen, expected):
    first, second = thirds(1)[0], thirds(2)[0][::-1]  # in focus the other way round
    pair = write(tmp_path / "a.ome.tif", [first, second])
    facts = run_pair(pair, run_of(focus_channel=chosen), f"{tmp_path}/run")
    assert [int(np.median(labels_of(facts)[:, at])) for at in (8, 24, 40)] == expected


def test_every_channel_is_exposed_by_itself(tmp_path):
    first, sharp = thirds(1)
    second = thirds(2)[0]
    factor = np.array([1.25, 1, 0.8])[:, None, None]
    faded = (second * factor).astype(np.uint16)  # as it bleaches, while the other does not
    facts = run_pair(write(tmp_path / "a.ome.tif", [first, faded]), run_of(), f"{tmp_path}/run")
    found, _ = result_of(facts)
    same = run_pair(write(tmp_path / "b.ome.tif", [first, second]), run_of(), f"{tmp_path}/same")
    expected, _ = result_of(same)
    assert np.abs(found[0].astype(float) - sharp).mean() < 0.05 * sharp.mean()
    assert np.abs(found[1].astype(float) - expected[1]).mean() < 0.05 * expected[1].mean()


def test_deep_stacks_of_several_channels_are_fused_in_slabs(tmp_path, monkeypatch):
    monkeypatch.setattr(slabs, "MOST_AT_ONCE", 4)
    first, second = (thirds(seed, 7, 24, 112) for seed in (1, 2))
    facts = run_pair(
        write(tmp_path / "a.ome.tif", [first[0], second[0]]), run_of(), f"{tmp_path}/run"
    )
    assert facts["n_sources"] == 7
    assert [int(np.median(labels_of(facts)[:, at])) for at in range(8, 112, 16)] == list(range(7))
    for found, (frames, sharp) in zip(result_of(facts)[0], (first, second), strict=True):
        error = np.abs(found.astype(float) - sharp).mean()
        assert error < 0.4 * np.abs(frames[3].astype(float) - sharp).mean()


def test_channels_are_merged_before_an_accelerator_sees_them(tmp_path):
    pair = write(tmp_path / "a.ome.tif", [thirds(1)[0], thirds(2)[0]])
    beside = Circumstances(Accelerator(1 << 40))
    prepared, _ = prepare(pair, run_of(), circumstances=beside)
    assert prepared.aligned is None
    assert prepared.channels.shape == (2, 36, 48)


REFUSED = {
    "channel": (
        run_of(focus_channel=2),
        "a.ome.tif has 2 channels, 0 (DAPI), 1 (GFP); --focus-channel asks for 2",
    ),
    "format": (
        replace(run_of(), output=Output("png")),
        "--format png: holds one image, the result has 2 channels; use tiff or ome-zarr",
    ),
    "all at once": (
        run_of(FusionConfig.preset("paper", scale=2)),
        "2 channels cannot be fused by a composition that needs all frames at once, as paper "
        "does; take another preset",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_with_channels_is_refused_also_by_the_headers(tmp_path, case):
    run, message = REFUSED[case]
    pair = write(tmp_path / "a.ome.tif", [thirds(1)[0], thirds(2)[0]])
    with pytest.raises(ImageError) as caught:
        prepare(pair, run)
    assert str(caught.value).endswith(message)
    assert look(pair, run).message == str(caught.value)


def test_the_headers_count_frames_not_channels(tmp_path):
    found = look(write(tmp_path / "a.ome.tif", [thirds(1)[0], thirds(2)[0]]), run_of())
    assert isinstance(found, Looked)
    assert (found.frames, found.header.channels) == (3, 1)


def test_one_item_is_fused_to_an_ome_tiff_without_a_run(tmp_path):
    pair = write(tmp_path / "a.ome.tif", [thirds(1)[0], thirds(2)[0]])
    made = fuse_files(pair.sources, replace(run_of(), output=Output("tiff")))
    with tifffile.TiffFile(BytesIO(made.image)) as tiff:
        assert tiff.is_ome
        assert tiff.asarray().shape == (2, 36, 48)


# Depth that is stored as time.


@pytest.mark.parametrize("options", [{"imagej": True}, {"ome": True}, {}])
def test_time_that_is_depth_is_fused_if_it_is_asked_for(tmp_path, options):
    pages, sharp = thirds(1)
    metadata = {"axes": "TYX"}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pages, photometric="minisblack", metadata=metadata, **options)
    pair = Pair("t", (str(path),))
    with pytest.raises(ImageError, match=r"a time series; .*; if T is the depth, --stack-axis T$"):
        run_pair(pair, run_of(), f"{tmp_path}/run")
    facts = run_pair(pair, run_of(stack_axis="T"), f"{tmp_path}/run")
    assert facts["n_sources"] == 3
    fused = fused_of(facts).pixels[..., 0]
    assert np.abs(fused.astype(float) - sharp).mean() < 0.02 * 65535


@pytest.mark.parametrize("axes", ["TCYX", "CTYX"])
def test_time_that_is_depth_may_have_channels(tmp_path, axes):
    pair = write(tmp_path / "a.ome.tif", [thirds(1)[0], thirds(2)[0]], axes)
    facts = run_pair(pair, run_of(stack_axis="T"), f"{tmp_path}/run")
    assert (facts["n_sources"], facts["channel_names"]) == (3, NAMES)


def test_depth_and_time_are_one_too_many(tmp_path):
    path = tmp_path / "a.ome.tif"
    stack = np.stack([thirds(1)[0], thirds(2)[0]])
    tifffile.imwrite(path, stack, photometric="minisblack", ome=True, metadata={"axes": "TZYX"})
    with pytest.raises(ImageError, match=r"has axes TZYX \(2, 3, 36, 48\): several stacks"):
        prepare(Pair("p", (str(path),)), run_of(stack_axis="T"))
