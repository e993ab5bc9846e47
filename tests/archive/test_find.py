"""Which images of a folder belong together, as names and pages of TIFFs say."""

import uuid
from dataclasses import replace
from unittest.mock import Mock

import pytest

from archive_parts import fill, tiff, urls
from dfp_batch.archive import layout
from dfp_batch.archive.find import find_stacks
from dfp_batch.errors import ManifestError, ObjectAccessError, StorageError
from dfp_batch.io import stack_files
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.storage import read_bytes, write_bytes
from dfp_batch.io.urls import join
from dfp_batch.runs.manifest import Pair, read_manifest, write_manifest
from microscope_parts import lif, nd2, volume, write_czi, write_zarr

LONG = "é" * 40
SHORT = "é" * 31 + "~84fe2e03"


@pytest.fixture(params=["file", "memory", "s3"])
def folder(request, tmp_path):
    if request.param == "file":
        return str(tmp_path)
    name = uuid.uuid4().hex
    if request.param == "memory":
        return f"memory://{name}"
    return f"{request.getfixturevalue('s3_url')}/{name}"


def found_in(folder):
    """The rows of the manifest, and what is left out."""
    found = find_stacks(folder)
    return list(found.pairs()), list(found.left_out)


def test_pairs_and_stacks_of_a_folder(folder):
    fill(folder, "x10_A.jpg", "x10_B.jpg", "x2_a.PNG", "x2_b.tif", "x2_C.webp")
    fill(folder, "x3/10.png", "x3/2.png", "x3/1.png", "x3/notes.txt", "x3/.hidden.png")
    fill(folder, "notes.txt", ".DS_Store", ".cache/1.png", "manifest.parquet")
    pairs, left_out = found_in(folder)
    assert left_out == []
    assert pairs == [
        Pair("x2", urls(folder, "x2_a.PNG", "x2_b.tif", "x2_C.webp")),
        Pair("x3", urls(folder, "x3/1.png", "x3/2.png", "x3/10.png")),
        Pair("x10", urls(folder, "x10_A.jpg", "x10_B.jpg")),
    ]
    write_manifest(join(folder, "manifest.parquet"), pairs)
    assert read_manifest(join(folder, "manifest.parquet")) == pairs


def test_the_rest_is_named_with_the_reason(folder):
    fill(folder, "ok_A.jpg", "ok_B.jpg", "stack7/1.png", "empty/notes.txt", "ok/1.png", "ok/2.png")
    fill(folder, "lytro_09_A.jpg", "alone_B.jpg", "gap_A.jpg", "gap_C.jpg", "far_D.png")
    fill(folder, "two_A.jpg", "two_A.png", "two_B.png", "panorama.jpg")
    pairs, left_out = found_in(folder)
    assert [pair.pair_id for pair in pairs] == ["ok"]
    assert sorted(left_out) == [
        "alone_B.jpg: no partner alone_A.*",
        "empty/: holds 0 images (1 .txt), at least 2 are needed",
        "far_D.png: no partner far_A.*, far_B.*, far_C.*",
        "gap_A.jpg, gap_C.jpg: no partner gap_B.*",
        "lytro_09_A.jpg: no partner lytro_09_B.*",
        "ok/: pair_id 'ok' is taken by ok_A.*, rename one",
        "panorama.jpg: the name does not end in _A, _B...",
        "stack7/: holds 1 image, at least 2 are needed",
        "two_A.jpg, two_A.png, two_B.png: 2 files are two_A, keep one",
    ]


def test_a_tiff_of_several_pages_is_a_stack_of_its_own(folder):
    ome = tiff(3, ome=True, metadata={"axes": "ZYX"})
    write_bytes(join(folder, "cell 10.ome.tif"), ome)
    write_bytes(join(folder, "cell 2.OME.TIFF"), ome)
    for name in ("cell.v2.tif", "alone_A.tif", "deep/scan.tif", "gap_C.tiff", "x_B.tif"):
        write_bytes(join(folder, name), tiff(2, metadata=None))
    fill(folder, "x_A.jpg", "gap_A.jpg", "deep/notes.txt")
    pairs, left_out = found_in(folder)
    assert pairs == [
        Pair("alone_A", urls(folder, "alone_A.tif")),
        Pair("cell 2", urls(folder, "cell 2.OME.TIFF")),
        Pair("cell 10", urls(folder, "cell 10.ome.tif")),
        Pair("cell.v2", urls(folder, "cell.v2.tif")),
        Pair("deep", urls(folder, "deep/scan.tif")),
        Pair("gap_C", urls(folder, "gap_C.tiff")),
        Pair("x", urls(folder, "x_A.jpg", "x_B.tif")),
    ]
    assert left_out == ["gap_A.jpg: no partner gap_B.*"]
    write_manifest(join(folder, "manifest.parquet"), pairs)
    assert read_manifest(join(folder, "manifest.parquet")) == pairs


def test_tiffs_that_are_no_stack_are_named_with_the_reason(tmp_path):
    folder = str(tmp_path)
    for name in ("one.tif", "alone_A.tif", "deep/one.tif"):
        write_bytes(join(folder, name), tiff(1))
    for name in ("x.tif", "x.ome.tif", "ok.tif", "y.tif", LONG + ".tif"):
        write_bytes(join(folder, name), tiff(2))
    fill(folder, "ok_A.jpg", "ok_B.jpg", "text.tif", "dark/text.tif", "y/1.png", "y/2.png")
    pairs, left_out = found_in(folder)
    assert [pair.pair_id for pair in pairs] == [SHORT, "ok", "x", "y"]
    assert sorted(left_out) == [
        "alone_A.tif: no partner alone_B.*",
        "dark/: text.tif is not a whole TIFF (not a TIFF file: header=b'1')",
        "deep/: holds 1 image, at least 2 are needed",
        "ok.tif: pair_id 'ok' is taken by ok_A.*, rename one",
        "one.tif: the name does not end in _A, _B...",
        "text.tif: is not a whole TIFF (not a TIFF file: header=b'1')",
        "x.tif: pair_id 'x' is taken by x.ome.tif, rename one",
        "y/: pair_id 'y' is taken by y.tif, rename one",
    ]


def test_a_stack_with_the_letter_of_a_pair_leaves_the_pair_whole(tmp_path):
    folder = str(tmp_path)
    write_bytes(join(folder, "x_A.tif"), tiff(2))
    fill(folder, "x_A.jpg", "x_B.jpg")
    pairs, left_out = found_in(folder)
    assert pairs == [
        Pair("x", urls(folder, "x_A.jpg", "x_B.jpg")),
        Pair("x_A", urls(folder, "x_A.tif")),
    ]
    assert left_out == []


def test_lettered_pairs_are_not_opened_and_of_a_folder_one_file_is(tmp_path, monkeypatch):
    folder, opened = str(tmp_path), []
    for name in ("x_A.tif", "x_B.tif", "deep/1.tif", "deep/2.tif"):
        write_bytes(join(folder, name), tiff(1))

    def noting(url, *arguments):
        opened.append(url)
        return open_seekable(url, *arguments)

    monkeypatch.setattr(stack_files, "open_seekable", noting)
    pairs, _ = found_in(folder)
    assert [pair.pair_id for pair in pairs] == ["deep", "x"]
    assert opened == [join(folder, "deep/1.tif")]


def test_a_store_that_fails_while_looking_is_not_a_reason_to_leave_out(tmp_path, monkeypatch):
    write_bytes(str(tmp_path / "x.tif"), tiff(2))
    down = StorageError("the store is down")
    monkeypatch.setattr(layout, "parts_of", Mock(side_effect=down))
    with pytest.raises(StorageError, match="the store is down"):
        found_in(str(tmp_path))


def test_a_name_too_long_for_a_folder_is_shortened_from_the_front(tmp_path):
    deep = "/".join(["a long name of a folder"] * 10)
    fill(str(tmp_path), f"{LONG}_A.jpg", f"{LONG}_B.jpg", f"{deep}/1.jpg", f"{deep}/2.jpg")
    fill(str(tmp_path), f"other/{deep}/1.jpg", f"other/{deep}/2.jpg")
    pairs, left_out = found_in(str(tmp_path))
    assert left_out == []
    one, other, short = sorted((pair.pair_id for pair in pairs), key=lambda pair_id: pair_id[0])
    assert short == SHORT
    assert one[:-9] == other[:-9] == "/".join(["a long name of a folder"] * 7)
    assert one != other


def test_a_folder_of_frames_and_nothing_else_is_one_stack(folder):
    fill(folder, "10.png", "2.png", "1.png", "notes.txt")
    pairs, left_out = found_in(folder)
    name = folder.rpartition("/")[2]
    assert pairs == [Pair(name, urls(folder, "1.png", "2.png", "10.png"))]
    assert left_out == []


def test_a_folder_without_pairs_is_refused(folder):
    fill(folder, "1.png", "x_A.png", "x_C.png", "2.png")
    with pytest.raises(ManifestError) as error:
        find_stacks(folder)
    assert str(error.value) == (
        f"{folder}: holds no pair; expected <name>_A.jpg with <name>_B.jpg..., a folder of images "
        "per stack, or TIFFs of 2 or more pages; --gap, --every and --group cut other folders into "
        "stacks; x_A.png, x_C.png: no partner x_B.*; 1.png: the name does not end in _A, _B...; "
        "2.png: the name does not end in _A, _B..."
    )


def test_a_missing_folder_is_refused(folder):
    with pytest.raises(ManifestError) as error:
        find_stacks(join(folder, "none"))
    nothing = "nothing is there, expected a folder of images; look at its name"
    assert str(error.value) == f"{folder}/none: {nothing}"


@pytest.mark.usefixtures("s3_url")
def test_a_missing_bucket_cannot_be_read():
    with pytest.raises(ObjectAccessError, match="the bucket does not exist"):
        find_stacks("s3://no-such-bucket/lot")


def test_a_relative_folder_gives_absolute_urls(tmp_path, monkeypatch):
    fill(str(tmp_path / "lot"), "p_A.png", "p_B.png")
    monkeypatch.chdir(tmp_path)
    pairs, _ = found_in("lot")
    assert pairs == [Pair("p", urls(str(tmp_path / "lot"), "p_A.png", "p_B.png"))]


def test_a_tiff_that_cannot_be_read_is_left_out_with_the_reason(tmp_path):
    fill(str(tmp_path), "a_A.png", "a_B.png")
    (tmp_path / "stack.tif").symlink_to("none.tif")
    pairs, left_out = found_in(str(tmp_path))
    assert [pair.pair_id for pair in pairs] == ["a"]
    assert left_out == ["stack.tif: is a link to nothing that can be read"]


def test_names_in_a_bucket_are_paired_literally_and_found_again(s3_url):
    folder = f"{s3_url}/{uuid.uuid4().hex}//a %20+#?é"
    names = ("shot 1%_A.png", "shot 1%_B.png", "st#ck?/1+.png", "st#ck?/2+.png")
    fill(folder, *names)
    pairs, left_out = found_in(folder)
    assert left_out == []
    assert pairs == [
        Pair("shot 1%", urls(folder, *names[:2])),
        Pair("st#ck?", urls(folder, *names[2:])),
    ]
    for number, base in enumerate((folder, f"{folder}/x//y")):
        url = join(base, "manifest.parquet")
        up = "../../../" * number
        relative = [replace(pair, sources=tuple(up + name for name in names[:2])) for pair in pairs]
        write_manifest(url, relative[:1])
        (found,) = read_manifest(url)
        assert found.sources == urls(folder, *names[:2])
        assert [read_bytes(source) for source in found.sources] == [b"1", b"1"]


def test_camera_raw_files_are_frames_where_they_are_alone(folder):
    fill(
        folder,
        "a/1.NEF",
        "a/2.NEF",
        "b/1.dng",
        "b/1.jpg",
        "b/2.dng",
        "b/2.jpg",
        "c_A.CR2",
        "c_B.CR2",
    )
    pairs, left_out = found_in(folder)
    assert pairs == [
        Pair("a", urls(folder, "a/1.NEF", "a/2.NEF")),
        Pair("b", urls(folder, "b/1.jpg", "b/2.jpg")),
        Pair("c", urls(folder, "c_A.CR2", "c_B.CR2")),
    ]
    assert left_out == ["b/: 2 camera RAW files beside developed images"]


def test_files_of_microscopes_and_folders_of_ome_zarr_are_stacks(folder, tmp_path_factory):
    samples, made_in = volume(1), tmp_path_factory.mktemp("made")
    write_czi(made_in / "b.czi", samples)
    made = {
        "day/a.nd2": nd2(samples),
        "day/b.czi": (made_in / "b.czi").read_bytes(),
        "c.lif": lif(samples),
        "f.lif": lif(volume(1, 1)),
        "day/g.nd2": b"1",
    }
    write_zarr(made_in / "d.ome.zarr", samples[None])
    for file in (made_in / "d.ome.zarr").rglob("*"):
        if file.is_file():
            made[f"day/{file.relative_to(made_in)}"] = file.read_bytes()
    for name, data in made.items():
        write_bytes(join(folder, name), data)
    fill(folder, "day/d.ome.zarr/1.png", "day/d.ome.zarr/2.png", "e/1.jpg", "e/2.jpg")
    pairs, left_out = found_in(folder)
    assert {pair.sources for pair in pairs} == {
        urls(folder, "day/a.nd2"),
        urls(folder, "day/b.czi"),
        urls(folder, "c.lif"),
        urls(folder, "day/d.ome.zarr"),
        urls(folder, "e/1.jpg", "e/2.jpg"),
    }
    assert sorted(line.partition(" (")[0] for line in left_out) == [
        "day/g.nd2: is not a whole ND2",
        "f.lif: holds one image of one plane and no stack",
    ]
    assert [pair.pair_id for pair in pairs] == ["c", "day/a", "day/b", "day/d", "e"]


def test_every_stack_in_a_file_is_one(folder):
    """A LIF holds all that was taken in a session."""
    samples, overview = volume(1), volume(1, 1)
    write_bytes(join(folder, "day/s.lif"), lif(overview, samples, samples))
    write_bytes(join(folder, "t.nd2"), nd2(samples, samples))
    pairs, left_out = found_in(folder)
    assert pairs == [
        Pair("day/b", urls(folder, "day/s.lif#1")),
        Pair("day/c", urls(folder, "day/s.lif#2")),
        Pair("t/0", urls(folder, "t.nd2#0")),
        Pair("t/1", urls(folder, "t.nd2#1")),
    ]
    assert left_out == ["day/s.lif#0: 'a' is one image, no stack"]
    write_manifest(join(folder, "manifest.parquet"), pairs)
    assert read_manifest(join(folder, "manifest.parquet")) == pairs


def test_a_file_of_several_stacks_is_an_archive(folder):
    samples = volume(1)
    write_bytes(join(folder, "t.nd2"), nd2(samples, samples))
    found = find_stacks(join(folder, "t.nd2"))
    assert list(found.pairs()) == [
        Pair("t/0", urls(folder, "t.nd2#0")),
        Pair("t/1", urls(folder, "t.nd2#1")),
    ]
    write_bytes(join(folder, "one.lif"), lif(volume(1, 1)))
    with pytest.raises(ManifestError, match=r"one\.lif: holds one image of one plane"):
        find_stacks(join(folder, "one.lif"))
