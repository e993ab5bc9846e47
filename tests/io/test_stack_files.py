"""ND2, CZI, LIF and OME-Zarr: which images they hold, and what is refused."""

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

import stack_fuzz
from dfp_batch.errors import ImageError, ObjectMissingError
from dfp_batch.io import storage
from dfp_batch.io.codec.names import cut_part, stack_kind
from dfp_batch.io.stack_files import open_stack, parts_of, version_of
from dfp_batch.io.volume import Part
from microscope_parts import CHANNELS, lif, nd2, volume, write_czi, write_zarr


@pytest.fixture(params=["file", "s3"])
def folder(request, tmp_path):
    if request.param == "file":
        return str(tmp_path)
    return f"{request.getfixturevalue('s3_url')}/{uuid.uuid4().hex}"


def put(folder, path, name):
    """What was made here, in the folder that is tested; gives its URL."""
    url = f"{folder}/{name}"
    if path.is_dir():
        for file in path.rglob("*"):
            if file.is_file():
                storage.write_bytes(f"{url}/{file.relative_to(path)}", file.read_bytes())
    else:
        storage.write_bytes(url, path.read_bytes())
    return url


def make(tmp_path, kind, samples):
    """A file of this kind of samples (C, Z, h, w)."""
    path = tmp_path / "made" / f"cells.{kind}"
    path.parent.mkdir(exist_ok=True)
    if kind == "czi":
        write_czi(path, samples)
    elif kind in ("lif", "nd2"):
        path.write_bytes({"lif": lif, "nd2": nd2}[kind](samples))
    else:
        write_zarr(path, samples[None], version="0.4" if kind == "ome.zarr" else "0.5")
    return path


def assert_holds(url, samples, names, size_um, axis="Z"):
    with open_stack(url, axis) as stack:
        assert len(stack) == samples.shape[1]
        assert stack.channels == names[: len(samples)]
        for channel, k in np.ndindex(samples.shape[:2]):
            frame = stack.frame(k, channel)
            np.testing.assert_array_equal(frame.pixels[..., 0], samples[channel, k])
            assert frame.kind == stack.header(k).kind
            assert frame.metadata.pixel_size_um == pytest.approx(size_um)


KINDS = ("czi", "lif", "nd2", "ome.zarr", "zarr")
NAMES = dict.fromkeys(KINDS, CHANNELS) | {"lif": ("0", "1")}
SIZES = dict.fromkeys(KINDS, (0.5, 0.5)) | {"lif": (0.25, 0.25)}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_image_of_every_channel_is_read(folder, tmp_path, kind, channels):
    samples = volume(channels)
    url = put(folder, make(tmp_path, kind, samples), f"x/cells.{kind}")
    assert_holds(url, samples, NAMES[kind], SIZES[kind])
    assert [(part.mark, part.depth) for part in parts_of(url)] == [("", samples.shape[1])]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("kind", ["czi", "nd2", "zarr"])
def test_every_type_of_samples_is_read(tmp_path, kind, dtype):
    samples = volume(1, dtype=dtype)
    assert_holds(str(make(tmp_path, kind, samples)), samples, NAMES[kind], SIZES[kind])


@pytest.mark.parametrize("dtype", ["int16", "uint32", "int8"])
def test_measured_values_of_ome_zarr_are_read(tmp_path, dtype):
    samples = volume(1, dtype=dtype)
    assert_holds(str(make(tmp_path, "zarr", samples)), samples, CHANNELS, (0.5, 0.5))


def test_colours_of_a_czi_are_read(tmp_path):
    samples = np.random.default_rng(1).integers(0, 256, (1, 3, 20, 28, 3)).astype(np.uint8)
    write_czi(tmp_path / "a.czi", samples)
    with open_stack(str(tmp_path / "a.czi")) as stack:
        assert (stack.header(0).channels, len(stack.channels)) == (3, 1)
        np.testing.assert_array_equal(stack.frame(1).pixels, samples[0, 1])


@pytest.mark.parametrize(("axes", "order"), [("zyx", (0, 1, 2)), ("zcyx", None), ("czyx", None)])
def test_axes_of_ome_zarr_may_come_in_any_order(tmp_path, axes, order):
    samples = volume(1 if order else 2)
    stored = {"zyx": samples[0], "zcyx": samples.swapaxes(0, 1), "czyx": samples}[axes]
    url = write_zarr(tmp_path / "a.zarr", stored, axes)
    assert_holds(url, samples, ("DAPI", "GFP"), (0.5, 0.5))


@pytest.mark.parametrize(
    ("chunks", "shards"),
    [
        ((1, 1, 1, 16, 16), None),
        ((1, 1, 2, 20, 28), None),
        ((1, 2, 3, 20, 28), None),
        ((1, 1, 1, 10, 14), (1, 1, 1, 20, 28)),
    ],
)
def test_chunks_and_shards_of_ome_zarr_may_have_any_shape(folder, tmp_path, chunks, shards):
    samples = volume(2, 5)
    write_zarr(tmp_path / "made.zarr", samples[None], chunks=chunks, shards=shards)
    url = put(folder, tmp_path / "made.zarr", "a.zarr")
    assert_holds(url, samples, CHANNELS, (0.5, 0.5))


def test_an_image_of_bioformats2raw_is_found(tmp_path):
    import zarr  # noqa: PLC0415

    samples = volume(1)
    outer = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    outer.attrs["bioformats2raw.layout"] = 3
    write_zarr(tmp_path / "a.zarr" / "0", samples[None], version="0.4")
    assert_holds(str(tmp_path / "a.zarr"), samples, CHANNELS, (0.5, 0.5))
    assert_holds(str(tmp_path / "a.zarr" / "0"), samples, CHANNELS, (0.5, 0.5))
    assert parts_of(str(tmp_path / "a.zarr")) == (Part("", "", 3),)
    write_zarr(tmp_path / "a.zarr" / "1", samples[None], version="0.4")
    message = "holds several images or positions; name the one in it, .../0"
    assert refusal(str(tmp_path / "a.zarr")) == message
    assert parts_of(str(tmp_path / "a.zarr")) == (Part("/0", "0", 3), Part("/1", "1", 3))
    assert_holds(str(tmp_path / "a.zarr" / "1"), samples, CHANNELS, (0.5, 0.5))


def test_depth_that_is_stored_as_time_is_read_if_it_is_asked_for(tmp_path):
    samples = volume(2)
    stored = samples.swapaxes(0, 1)[:, :, None]
    url = write_zarr(tmp_path / "a.zarr", stored)
    message = (
        "has axes TCYX (3, 2, 20, 28): a time series; expected Z (Y, X), with C or RGB; if T is "
        "the depth, --stack-axis T"
    )
    assert refusal(url) == message
    assert_holds(url, samples, CHANNELS, (0.5, 0.5), axis="T")


def refusal(url):
    with pytest.raises(ImageError) as caught, open_stack(url) as stack:
        for k in range(len(stack)):
            stack.frame(k)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(url)
    return str(caught.value).removeprefix(url).removeprefix(": ")


def test_of_the_images_in_a_lif_the_only_stack_is_taken(tmp_path):
    samples, overview = volume(1), volume(1, 1, 8, 8)
    path = tmp_path / "a.lif"
    path.write_bytes(lif(overview, samples, volume(2, 1)))
    assert_holds(str(path), samples, ("0",), (0.25, 0.25))
    assert parts_of(str(path)) == (Part("#0", "a", 1), Part("", "b", 3), Part("#2", "c", 1))
    path.write_bytes(lif(overview, samples, samples))
    assert refusal(str(path)) == "holds 2 images, b, c; name one of them, as in a.lif#1"


@pytest.mark.parametrize("kind", NAMES)
def test_one_image_is_no_stack(tmp_path, kind):
    url = str(make(tmp_path, kind, volume(1, 1)))
    needed = "a pair needs 2 or more sources, or one file with 2 or more images"
    assert refusal(url) == f"holds 1 page: {needed}"


def test_an_nd2_that_was_stopped_is_read_as_far_as_it_goes(tmp_path):
    """Its library would make black images of those that were never taken."""
    samples = volume(2, 4)
    path = tmp_path / "a.nd2"
    path.write_bytes(nd2(samples, written=3))
    assert_holds(str(path), samples[:, :3], CHANNELS, (0.5, 0.5))
    with open_stack(str(path)) as stack:
        assert stack.notes == (
            "holds 3 of the 4 images that its description names; it is not whole",
        )
    path.write_bytes(nd2(samples, written=1))
    assert refusal(str(path)).startswith("holds 1 page: ")


@pytest.mark.parametrize("kind", ["czi", "lif", "nd2"])
def test_damage_is_an_image_error_or_a_stack_in_bounded_memory(tmp_path, kind):
    paths = [str(Path(stack_fuzz.__file__).parent), str(Path(stack_fuzz.__file__).parents[1])]
    child = subprocess.run(
        [
            sys.executable,
            "-X",
            "faulthandler",
            stack_fuzz.__file__,
            kind,
            str(tmp_path),
            "600",
            "1500",
        ],
        env={**os.environ, "PYTHONPATH": ":".join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    last = (child.stdout.splitlines() or ["nothing was printed"])[-1]
    assert child.returncode == 0, f"exit {child.returncode} at {last}\n{child.stderr[-3000:]}"
    assert int(last.split()[1]) > 20


def test_a_number_of_images_that_no_microscope_takes_is_refused(tmp_path):
    write_czi(tmp_path / "a.czi", volume(2, 3, 8, 9))
    data = bytearray((tmp_path / "a.czi").read_bytes())
    at = data.index(b"C\0\0\0\1\0\0\0\1\0\0\0")  # the entry of the second channel
    while at >= 0:
        data[at + 4 : at + 8] = (2**28).to_bytes(4, "little")
        at = data.find(b"C\0\0\0\1\0\0\0\1\0\0\0", at)
    (tmp_path / "a.czi").write_bytes(data)
    assert "images along an axis: truncated or damaged" in refusal(str(tmp_path / "a.czi"))


SEVERAL = {"czi": "scenes or positions", "lif": "images", "nd2": "positions"}


@pytest.mark.parametrize("kind", SEVERAL)
def test_of_several_stacks_in_a_file_one_is_named(folder, tmp_path, kind):
    each = [volume(2, seed=seed) for seed in range(3)]
    path = tmp_path / f"made.{kind}"
    if kind == "czi":
        write_czi(path, *each)
    else:
        path.write_bytes({"lif": lif, "nd2": nd2}[kind](*each))
    url = put(folder, path, f"cells.{kind}")
    for k, samples in enumerate(each):
        assert_holds(f"{url}#{k}", samples, NAMES[kind], SIZES[kind])
        assert version_of(f"{url}#{k}") == version_of(url)
    names = "abc" if kind == "lif" else "012"
    assert parts_of(url) == tuple(Part(f"#{k}", names[k], 3) for k in range(3))
    what = "3 images, a, b, c" if kind == "lif" else f"3 {SEVERAL[kind]}"
    assert refusal(url) == f"holds {what}; name one of them, as in cells.{kind}#0"
    no_such = f"holds 3 {SEVERAL[kind]}, cells.{kind}#0 to #2, and no #3"
    assert refusal(f"{url}#3") == no_such


@pytest.mark.parametrize("kind", SEVERAL)
def test_the_only_stack_in_a_file_may_be_named_as_well(tmp_path, kind):
    samples = volume(1)
    assert_holds(f"{make(tmp_path, kind, samples)}#0", samples, NAMES[kind], SIZES[kind])


def test_scenes_of_a_czi_may_differ_in_size(tmp_path):
    each = [volume(1, height=20), volume(1, height=30, width=50)]
    write_czi(tmp_path / "a.czi", *each)
    for k, samples in enumerate(each):
        assert_holds(f"{tmp_path}/a.czi#{k}", samples, CHANNELS, (0.5, 0.5))


def test_the_images_of_a_plate_are_named(folder, tmp_path):
    import zarr  # noqa: PLC0415

    plate = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    wells = ("A/1", "B/2")
    plate.attrs["ome"] = {"plate": {"wells": [{"path": well} for well in wells]}}
    expected = {}
    for well in wells:
        plate.create_group(well).attrs["ome"] = {"well": {"images": [{"path": "0"}, {"path": "1"}]}}
        for image in "01":
            expected[f"/{well}/{image}"] = volume(2, seed=len(expected))
            write_zarr(tmp_path / "a.zarr" / well / image, expected[f"/{well}/{image}"][None])
    url = put(folder, tmp_path / "a.zarr", "a.zarr")
    assert parts_of(url) == tuple(Part(mark, mark[1:], 3) for mark in expected)
    for mark, samples in expected.items():
        assert_holds(url + mark, samples, CHANNELS, (0.5, 0.5))
    assert refusal(url) == "is a plate of several positions; name the image in it, .../A/1/0"


@pytest.mark.parametrize(
    ("url", "place", "part"),
    [
        ("a.lif", "a.lif", None),
        ("s3://b/a.LIF#12", "s3://b/a.LIF", 12),
        ("s3://b/a.nd2#0?versionId=x", "s3://b/a.nd2?versionId=x", 0),
        ("a.czi#x", "a.czi#x", None),
        ("a#1.lif", "a#1.lif", None),
        ("a.tif#1", "a.tif#1", None),
        ("/x.lif#1/a.png", "/x.lif#1/a.png", None),
    ],
)
def test_the_end_of_a_url_may_name_a_part(url, place, part):
    assert cut_part(url) == (place, part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"multiscales": []}, "is not a whole OME-Zarr of version 0.4 or 0.5 (list index out of"),
        ({"plate": {}}, "is a plate of several positions; name the image in it, .../A/1/0"),
    ],
)
def test_what_is_no_image_of_ome_zarr_is_refused(tmp_path, change, message):
    url = write_zarr(tmp_path / "a.zarr", volume()[None], **change)
    assert refusal(url).startswith(message)


def test_64_bit_numbers_are_refused(tmp_path):
    url = write_zarr(tmp_path / "a.zarr", volume(dtype="uint16").astype(np.int64)[None])
    expected = "holds 1 x int64 samples, expected grey or RGB of 8, 16 or 32 bits"
    assert refusal(url) == expected


@pytest.mark.parametrize("kind", ["nd2", "czi", "lif"])
def test_what_is_no_such_file_is_refused(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"no such file" * 20)
    assert refusal(str(path)).startswith(f"is not a whole {kind.upper()} (")
    path.unlink()
    with pytest.raises(ObjectMissingError), open_stack(str(path)):
        pass


@pytest.mark.parametrize("kind", ["czi", "lif", "nd2"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.95])
def test_a_file_that_was_cut_off_is_refused(tmp_path, kind, kept):
    path = make(tmp_path, kind, volume())
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ImageError):
        assert_holds(str(path), volume(), NAMES[kind], SIZES[kind])


@pytest.mark.parametrize(
    ("kind", "package", "what"),
    [
        ("nd2", "nd2", "an ND2"),
        ("czi", "pylibCZIrw", "a CZI"),
        ("lif", "liffile", "a LIF"),
        ("zarr", "zarr", "an OME-Zarr"),
    ],
)
def test_without_its_reader_a_file_says_what_to_install(tmp_path, monkeypatch, kind, package, what):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"1")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "pylibCZIrw.czi", None)
    assert refusal(str(path)) == (
        f"is {what}, which needs the package {package}; pip install 'dfp-batch[microscopy]'"
    )


def test_the_version_of_a_folder_changes_with_its_content(folder, tmp_path):
    made = make(tmp_path, "zarr", volume())
    url = put(folder, made, "a.zarr")
    before = version_of(url)
    assert before == version_of(url)
    total = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
    assert before.startswith(f"{total} files:")
    storage.write_bytes(f"{url}/0/zarr.json", b"another")
    assert version_of(url) != before
    with pytest.raises(ObjectMissingError):
        version_of(f"{folder}/none.zarr")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.tif", "tiff"),
        ("a.ome.TIFF", "tiff"),
        ("s3://b/a.zarr", "zarr"),
        ("s3://b/a.ome.zarr/", "zarr"),
        ("s3://b/a.zarr/0", "zarr"),
        ("a.ND2", "nd2"),
        ("a.czi", "czi"),
        ("a.lif", "lif"),
        ("a.lif#2", "lif"),
        ("a.png#2", None),
        ("a.png", None),
        (".tif", None),
    ],
)
def test_the_name_says_what_holds_a_stack(name, kind):
    assert stack_kind(name) == kind


def test_damage_in_ome_zarr_is_an_image_error_or_a_stack(tmp_path):
    made = make(tmp_path, "zarr", volume())
    files = sorted(file for file in made.rglob("*") if file.is_file())
    rng = np.random.default_rng(3)
    for case in range(60):
        broken = tmp_path / f"{case}.zarr"
        shutil.copytree(made, broken)
        file = broken / files[case % len(files)].relative_to(made)
        data = bytearray(file.read_bytes())
        at = int(rng.integers(len(data)))
        data[at : at + int(rng.integers(0, 5))] = rng.bytes(int(rng.integers(0, 5)))
        file.write_bytes(data)
        try:
            with open_stack(str(broken)) as stack:
                for k in range(len(stack)):
                    assert stack.frame(k).size == stack.frame(0).size
        except ImageError as error:
            assert str(error).startswith(str(broken))
