"""OME-Zarr in and out: a URL is a stack, and a result is a folder that counts as one."""

import sys
import uuid
from dataclasses import replace

import numpy as np
import pytest
import zarr

from conftest import texture
from dfp_batch.config.run_config import Output, RunConfig
from dfp_batch.engine import image_files, receipt
from dfp_batch.engine.prepare import prepare
from dfp_batch.engine.single import format_of, fuse_files
from dfp_batch.errors import ImageError, ObjectMissingError
from dfp_batch.io import codec, ome_zarr, storage
from dfp_batch.io.codec import Frame, Metadata
from dfp_batch.io.stack_files import open_stack
from dfp_batch.io.zarr_store import FolderStore
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.runs.manifest import Pair
from microscope_parts import CHANNELS, volume, write_zarr
from stage_parts import fused_of, halves, make_pair, run_pair

CLASSICAL = FusionConfig.preset("classical", scale=2)
UNMOVED = replace(CLASSICAL, align=replace(CLASSICAL.align, model="none"))
TO_ZARR = RunConfig("test", UNMOVED, output=Output("ome-zarr"))


@pytest.fixture(params=["file", "s3"])
def folder(request, tmp_path):
    if request.param == "file":
        return str(tmp_path)
    return f"{request.getfixturevalue('s3_url')}/{uuid.uuid4().hex}"


def stack_in(folder, tmp_path, **options):
    """An OME-Zarr of two channels in this folder."""
    made = tmp_path / "made.zarr"
    write_zarr(made, volume(2, 3, 24, 32)[None], **options)
    for file in made.rglob("*"):
        if file.is_file():
            url = f"{folder}/cells.ome.zarr/{file.relative_to(made)}"
            storage.write_bytes(url, file.read_bytes())
    return Pair("cells", (f"{folder}/cells.ome.zarr",))


def image_of(url):
    """Samples (C, H, W), and what the group says."""
    group = zarr.open_group(FolderStore(url), mode="r")
    return np.asarray(group["0"][...]), group.attrs["ome"]


def test_one_url_is_a_stack_and_the_result_a_folder(folder, tmp_path):
    pair = stack_in(folder, tmp_path)
    facts = run_pair(pair, TO_ZARR, f"{folder}/run")
    url = facts["output_url"]
    assert url.endswith("/outputs/cells/fused.ome.zarr")
    assert (facts["n_sources"], facts["channel_names"]) == (3, list(CHANNELS))
    found, ome = image_of(url)
    assert (found.shape, found.dtype) == ((2, 48, 64), np.uint16)
    assert ome["version"] == "0.5"
    [image] = ome["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["c", "y", "x"]
    assert image["axes"][1]["unit"] == "micrometer"
    [step] = image["datasets"][0]["coordinateTransformations"]
    assert step["scale"] == [1.0, 0.25, 0.25]  # half of what it was
    assert [channel["label"] for channel in ome["omero"]["channels"]] == list(CHANNELS)
    assert facts["output_bytes"] == image_files.size_bytes(url)
    assert facts["output_sha256"] == image_files.sha256(url)
    again = run_pair(pair, TO_ZARR, f"{folder}/again")
    assert again["output_sha256"] == facts["output_sha256"]


def test_the_result_is_what_a_tiff_would_hold(tmp_path):
    pair = make_pair(str(tmp_path), *halves())
    facts = run_pair(pair, TO_ZARR, f"{tmp_path}/run")
    found, ome = image_of(facts["output_url"])
    png = run_pair(pair, UNMOVED, f"{tmp_path}/png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found.transpose(1, 2, 0), fused_of(png).pixels)
    labels = [channel["label"] for channel in ome["omero"]["channels"]]
    assert labels == ["red", "green", "blue"]


def test_a_result_of_grey_has_one_channel_and_can_be_a_source(tmp_path):
    pair = make_pair(str(tmp_path), *halves(channels=1))
    found, _ = image_of(run_pair(pair, TO_ZARR, f"{tmp_path}/run")["output_url"])
    assert found.shape == (1, 96, 96)


def test_large_images_are_cut_into_tiles(tmp_path):
    wide = texture(20, 1100, 1)
    pair = make_pair(str(tmp_path), wide, wide)
    run = replace(TO_ZARR, fusion=replace(UNMOVED, scale=1))
    url = run_pair(pair, run, f"{tmp_path}/run")["output_url"]
    tiles = {"0/c/0/0/0", "0/c/0/0/1", "1/c/0/0/0"}
    assert {path for path in storage.list_tree(url) if "/c/" in path} == tiles


def test_beside_large_images_lie_smaller_ones():
    pixels = np.random.default_rng(5).integers(0, 2**16, (1100, 2051, 1), np.uint16)
    files = ome_zarr.files_of([Frame(pixels, metadata=Metadata(pixel_size_um=(0.5, 0.25)))], ["a"])
    store = zarr.storage.MemoryStore(
        {name: zarr.core.buffer.cpu.Buffer.from_bytes(data) for name, data in files.items()}
    )
    group = zarr.open_group(store, mode="r")
    levels = group.attrs["ome"]["multiscales"][0]["datasets"]
    assert [one["path"] for one in levels] == ["0", "1", "2"]
    assert [group[one["path"]].shape for one in levels] == [
        (1, 1100, 2051), (1, 550, 1025), (1, 275, 512)
    ]  # fmt: skip
    blocks = pixels[:1100, :2050, 0].reshape(550, 2, 1025, 2).astype(float).mean((1, 3))
    np.testing.assert_array_equal(group["1"][0], np.rint(blocks))
    for k, one in enumerate(levels):
        step, *shift = one["coordinateTransformations"]
        assert step["scale"] == [1, 0.25 * 2**k, 0.5 * 2**k]
        middle = (2**k - 1) / 2
        assert not k or shift[0]["translation"] == [0, 0.25 * middle, 0.5 * middle]


def test_a_receipt_tells_whether_all_files_are_whole(tmp_path):
    pair = make_pair(str(tmp_path), *halves())
    run_url = f"{tmp_path}/run"
    facts = run_pair(pair, TO_ZARR, run_url)
    storage.write_bytes(f"{run_url}/outputs/x/result.json", receipt.to_bytes(pair, TO_ZARR, facts))
    assert receipt.adopt(pair, TO_ZARR, run_url)["adopted"]
    storage.write_bytes(f"{facts['output_url']}/0/c/0/0/0", b"changed")
    assert receipt.adopt(pair, TO_ZARR, run_url) is None


def test_what_another_attempt_left_in_the_folder_goes(tmp_path):
    pair = make_pair(str(tmp_path), *halves())
    left = f"{tmp_path}/run/outputs/x/fused.ome.zarr/0/c/9/9/9"
    storage.write_bytes(left, b"of another size")
    facts = run_pair(pair, TO_ZARR, f"{tmp_path}/run")
    assert not storage.exists(left)
    assert image_files.sha256(facts["output_url"]) == facts["output_sha256"]


def test_a_folder_that_is_gone_is_missing(tmp_path):
    for ask in (image_files.sha256, image_files.size_bytes):
        with pytest.raises(ObjectMissingError):
            ask(f"{tmp_path}/fused.ome.zarr")


def test_one_item_is_fused_to_an_ome_zarr_without_a_run(tmp_path):
    target = f"{tmp_path}/out.ome.zarr"
    pair = make_pair(str(tmp_path), *halves())
    run = RunConfig("test", UNMOVED, output=Output(format_of(target)))
    image_files.write(target, fuse_files(pair.sources, run).image)
    assert image_of(target)[0].shape == (3, 96, 96)


def test_alpha_is_refused(tmp_path):
    rgba = np.dstack([texture(24, 32), texture(24, 32, 1)])
    urls = [f"{tmp_path}/{name}.png" for name in "ab"]
    for url in urls:
        storage.write_bytes(url, codec.encode(Frame(rgba[..., :3], alpha=rgba[..., 3]), "png"))
    message = "^--format ome-zarr: ome-zarr holds no alpha; use png or tiff$"
    with pytest.raises(ImageError, match=message):
        prepare(Pair("p", tuple(urls)), TO_ZARR)


def test_without_zarr_it_is_known_before_anything_is_computed(tmp_path, monkeypatch):
    pair = make_pair(str(tmp_path), *halves())
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImageError) as caught:
        prepare(pair, TO_ZARR)
    assert str(caught.value) == (
        "--format ome-zarr: needs the package zarr; pip install 'dfp-batch[microscopy]'"
    )


def test_planes_are_read_one_at_a_time(tmp_path, monkeypatch):
    pair = stack_in(str(tmp_path), tmp_path)
    read = []
    whole = storage.read_bytes

    def noted(url):
        read.append(url.rpartition("cells.ome.zarr/")[2])
        return whole(url)

    monkeypatch.setattr(storage, "read_bytes", noted)
    with open_stack(pair.sources[0]) as stack:
        read.clear()
        stack.frame(1, 1)
    assert read == ["0/c/0/1/1/0/0"]
