"""All files below a folder: any depth, any store, links once, one listing."""

import os
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.errors import ObjectAccessError
from dfp_batch.io import storage
from dfp_batch.io.storage import write_bytes
from dfp_batch.io.tree import Wanted, walk
from dfp_batch.io.urls import join


def is_png(name):
    return name.endswith(".png")


def is_zarr(name):
    return name.endswith(".zarr")


def tree(url, told=None):
    """Paths of files, those that are one thing, and the endings of others, by folder."""
    left_out = (lambda path, reason: told.append((path, reason))) if told is not None else print
    folders = {one.path: one for one in walk(url, Wanted(is_png, is_zarr, left_out))}
    return {
        path: (sorted(file.name for file in one.files), sorted(one.wholes), dict(one.others))
        for path, one in folders.items()
    }


def fill(url, *names):
    for name in names:
        write_bytes(join(url, name), b"1")


def test_every_folder_with_something_in_it_is_found(folder):
    fill(folder, "1.png", "a/2.png", "a/b/c/3.png", "a/b/c/notes.txt", "d/e.txt", "d/f.txt", "d/g")
    fill(folder, ".hidden/1.png", "a/.thumb.png", "x.zarr/0/0", "x.zarr/1.png", "a/y.zarr/.zattrs")
    assert tree(folder) == {
        "": (["1.png"], ["x.zarr"], {}),
        "a": (["2.png"], ["y.zarr"] if folder[0] == "/" else [], {}),
        "a/b/c": (["3.png"], [], {".txt": 1}),
        "d": ([], [], {".txt": 2, "": 1}),
    }


def test_nothing_comes_of_a_folder_that_is_not_there(folder):
    assert tree(join(folder, "none")) == {}


def test_sizes_are_told_and_marks_of_equal_content_are_equal(folder):
    for name, data in {"a.png": b"one", "b.png": b"one", "c.png": b"two", "d.png": b"more"}.items():
        write_bytes(join(folder, name), data)
    ((one,),) = ([found] for found in walk(folder, Wanted(is_png)))
    files = {file.name: file for file in one.files}
    assert {name: file.size_bytes for name, file in files.items()} == {
        "a.png": 3, "b.png": 3, "c.png": 3, "d.png": 4
    }  # fmt: skip
    if folder.startswith("s3://"):
        assert files["a.png"].mark == files["b.png"].mark
    assert files["a.png"].mark == "" or files["a.png"].mark != files["c.png"].mark


# Links


def test_a_link_to_a_folder_is_followed_once(tmp_path):
    outside = tmp_path / "outside"
    fill(str(outside), "1.png", "deep/2.png")
    fill(str(tmp_path / "in"), "z/3.png", "a.txt")
    (tmp_path / "in" / "b").symlink_to(outside)
    (tmp_path / "in" / "c").symlink_to(outside)
    (tmp_path / "in" / "a").symlink_to(tmp_path / "in" / "z")
    told = []
    assert tree(str(tmp_path / "in"), told) == {
        "": ([], [], {".txt": 1}),
        "b": (["1.png"], [], {}),
        "b/deep": (["2.png"], [], {}),
        "z": (["3.png"], [], {}),
    }
    assert told == [("a/", "is z/ once more, by a link"), ("c/", "is b/ once more, by a link")]


def test_loops_end(tmp_path):
    fill(str(tmp_path), "a/b/1.png")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "all").symlink_to(tmp_path)
    (tmp_path / "round").symlink_to(tmp_path / "round")
    told = []
    assert tree(str(tmp_path), told) == {"": ([], [], {"": 1}), "a/b": (["1.png"], [], {})}
    assert sorted(told) == [
        ("a/all/", "is ./ once more, by a link"),
        ("a/b/up/", "is a/ once more, by a link"),
    ]


def test_a_linked_file_is_a_file_and_shares_its_mark(tmp_path):
    fill(str(tmp_path), "1.png")
    (tmp_path / "2.png").symlink_to("1.png")
    os.link(tmp_path / "1.png", tmp_path / "3.png")
    (tmp_path / "4.png").symlink_to("none.png")
    told = []
    wanted = Wanted(is_png, left_out=lambda *line: told.append(line))
    (folder,) = walk(str(tmp_path), wanted)
    assert [file.name for file in folder.files] == ["1.png", "2.png", "3.png"]
    assert len({file.mark for file in folder.files}) == 1
    assert told == [("4.png", "is a link to nothing that can be read")]


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    fill(str(tmp_path), "a/1.png", "b/2.png")
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    told = []
    assert tree(str(tmp_path), told) == {"a": (["1.png"], [], {})}
    assert told == [("b/", "cannot list: Permission denied")]
    monkeypatch.setattr(os, "scandir", lambda _: denied("/b"))
    with pytest.raises(ObjectAccessError, match="Permission denied"):
        tree(str(tmp_path))


def test_a_name_that_is_no_text_is_named(tmp_path):
    fill(str(tmp_path), "1.png")
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.png", os.O_CREAT))
    told = []
    assert tree(str(tmp_path), told) == {"": (["1.png"], [], {})}
    assert told == [("\\udcff.png", "the name is not UTF-8, rename it")]


# Object stores


def test_folders_without_a_name_are_passed_by(s3_url):
    folder = f"{s3_url}/{uuid.uuid4().hex}"
    fill(folder, "a/1.png", "a//2.png", "a//b/3.png", "/4.png")
    write_bytes(join(folder, "marker/1.png"), b"1")
    told = []
    assert tree(folder, told) == {"a": (["1.png"], [], {}), "marker": (["1.png"], [], {})}
    reason = "is a folder without a name; name its files in a manifest"
    assert told == [("//", reason), ("a//", reason)]


@pytest.fixture
def requests(monkeypatch):
    """The questions to a store that returns two keys at once."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    asked = []
    fs, _ = storage.store_of("s3://archive/x")
    call_s3 = type(fs).call_s3

    def noting(self, method, *arguments, **options):
        asked.append(options.get("StartAfter", "next"))
        return call_s3(self, method, *arguments, **options)

    monkeypatch.setattr(type(fs), "call_s3", noting)
    return asked


def test_one_listing_page_after_page(s3_url, requests):
    folder = f"{s3_url}/{uuid.uuid4().hex}"
    names = [f"{a}/{b}.png" for a in range(3) for b in range(3)]
    fill(folder, *names)
    requests.clear()
    found = tree(folder)
    assert {path: files for path, (files, _, _) in found.items()} == {
        str(a): [f"{b}.png" for b in range(3)] for a in range(3)
    }
    assert requests == ["next"] * 5


def test_what_is_one_thing_is_leapt_over(s3_url, requests):
    folder = f"{s3_url}/{uuid.uuid4().hex}"
    fill(folder, "a.png", *(f"b.zarr/{n}" for n in range(9)), "b.zarr0", "c.png")
    fill(folder, *(f"d/.x/{n}" for n in range(9)), "d/1.png", "d/2.png")
    requests.clear()
    assert tree(folder) == {
        "": (["a.png", "c.png"], ["b.zarr"], {".zarr0": 1}),
        "d": (["1.png", "2.png"], [], {}),
    }
    assert len(requests) == 4


STEP = st.sampled_from(["a", "b", "c.zarr", ".d", "e f", "ü%"])
PATH = st.lists(STEP, max_size=3).map("/".join)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(PATH, st.sets(st.sampled_from(["1.png", "2.txt"]), min_size=1), max_size=6))
def test_a_store_and_a_disk_tell_the_same(tmp_path_factory, found):
    """Whatever the tree, except that a disk also knows folders that hold nothing."""
    paths = {path: names for path, names in found.items()}
    disk, memory = str(tmp_path_factory.mktemp("t")), f"memory://{uuid.uuid4().hex}"
    for path, names in paths.items():
        for folder in (disk, memory):
            fill(folder, *(join(path, name).lstrip("/") for name in names))
    hidden = {one for one, (_, wholes, _) in tree(disk).items() if wholes}
    on_disk, in_memory = tree(disk), tree(memory)
    for path in hidden:  # nothing but hidden files in it
        on_disk[path][1][:] = in_memory.get(path, ([], [], {}))[1]
    assert {path: one for path, one in on_disk.items() if any(one)} == in_memory
