"""Files are written, read, listed and deleted, in every kind of store."""

import errno
import os
import threading
import uuid

import fsspec
import pytest
import s3fs

from dfp_batch.errors import ObjectMissingError, StorageAccessError, StorageError
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.storage import (
    create_bytes,
    delete,
    exists,
    list_files,
    list_folder,
    read_bytes,
    version,
    write_bytes,
)
from dfp_batch.io.urls import absolute_url, join
from store_parts import text_of


@pytest.mark.parametrize("data", [b"", b"pixels", bytes(300_000)])
def test_what_was_written_is_read(folder, data):
    write_bytes(join(folder, "deep", "er", "a b#1%20é.png"), data)
    assert read_bytes(join(folder, "deep", "er", "a b#1%20é.png")) == data


LITERAL_NAMES = [
    "two//slashes/a.png",
    "/leading.png",
    "./a.png",
    "deep/../a.png",
    "a b.png",
    "a%20b.png",
    "a+b.png",
    "a#b.png",
    "a?b=1.png",
    "a?versionid=1.png",
    "ünï/日本.png",
    "a:b@c.png",
    "*[1].png",
    "a\\b.png",
]


@pytest.mark.parametrize("name", LITERAL_NAMES)
def test_names_in_a_bucket_are_taken_literally(s3_url, name):
    url = absolute_url(f"{s3_url}/{uuid.uuid4().hex}/{name}")
    assert not exists(url)
    assert create_bytes(url, name.encode())
    bucket, key = url.removeprefix("s3://").split("/", 1)
    body = s3fs.S3FileSystem().call_s3("get_object", Bucket=bucket, Key=key)["ContentLength"]
    assert body == len(name.encode()), "the store knows it by this very name"
    assert read_bytes(url) == name.encode()
    with open_seekable(url) as file:
        assert file.read() == name.encode()
    assert version(url).startswith(f"{len(name.encode())} etag:")
    delete(url)
    assert not exists(url)


@pytest.mark.parametrize("use", [read_bytes, open_seekable, version])
def test_a_slash_at_the_end_names_a_folder(folder, use):
    write_bytes(join(folder, "a.png"), b"1")
    with pytest.raises(ObjectMissingError, match=r"a\.png/: cannot read: is a folder, not a file"):
        use(join(folder, "a.png/"))


def test_a_file_and_a_folder_of_one_name_are_both_listed(s3_url):
    folder = f"{s3_url}/{uuid.uuid4().hex}"
    for name in ("a", "a/b", "x//y"):
        write_bytes(f"{folder}/{name}", b"1")
    assert list_folder(folder) == (["a"], ["a", "x"])
    assert list_folder(f"{folder}//") == (["a"], ["a", "x"])
    assert list_folder(f"{folder}/x") == ([], []), "a folder without a name is left out"


def test_writing_again_replaces(folder):
    url = join(folder, "a")
    write_bytes(url, b"old and longer")
    write_bytes(url, b"new")
    assert read_bytes(url) == b"new"


def test_create_writes_once(folder):
    url = join(folder, "deep", "run.json")
    assert create_bytes(url, b"first") is True
    assert create_bytes(url, b"second") is False
    assert read_bytes(url) == b"first"


def test_one_of_many_creators_wins(folder):
    url, results = join(folder, "lease"), []
    write_bytes(join(folder, "other"), b"")
    writers = [
        threading.Thread(target=lambda n=n: results.append((create_bytes(url, b"%d" % n), n)))
        for n in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    winners = [n for created, n in results if created]
    assert [read_bytes(url)] == [b"%d" % n for n in winners]


def test_exists(folder):
    write_bytes(join(folder, "deep", "a"), b"1")
    assert exists(join(folder, "deep", "a"))
    assert exists(join(folder, "deep"))
    assert not exists(join(folder, "deep", "b"))


def test_delete_and_delete_again(folder):
    write_bytes(join(folder, "a"), b"1")
    delete(join(folder, "a"))
    delete(join(folder, "a"))
    assert not exists(join(folder, "a"))


def test_list_files_is_sorted_filtered_and_flat(folder):
    for name in ("part-2.parquet", "part-1.parquet", "note.txt", "deep/part-3.parquet"):
        write_bytes(join(folder, name), b"1")
    expected = [join(folder, "part-1.parquet"), join(folder, "part-2.parquet")]
    assert list_files(folder, ".parquet") == expected
    assert list_files(folder + "/", ".parquet") == expected
    assert list_folder(folder) == (["note.txt", "part-1.parquet", "part-2.parquet"], ["deep"])


def test_listing_sees_what_came_later(folder):
    write_bytes(join(folder, "a"), b"1")
    assert len(list_files(folder)) == 1
    write_bytes(join(folder, "b"), b"1")
    assert len(list_files(folder)) == 2


def test_listing_a_missing_folder_or_a_file_is_empty(folder):
    assert list_files(join(folder, "none")) == []
    write_bytes(join(folder, "a"), b"1")
    assert list_folder(join(folder, "a")) == ([], [])


def test_reading_what_is_not_there(folder):
    url = join(folder, "none.png")
    with pytest.raises(ObjectMissingError) as error:
        read_bytes(url)
    assert text_of(error) == f"{url}: cannot read: nothing is there"
    assert isinstance(error.value.__cause__, FileNotFoundError)


def test_reading_a_local_folder(tmp_path):
    with pytest.raises(ObjectMissingError) as error:
        read_bytes(str(tmp_path))
    assert text_of(error) == f"{tmp_path}: cannot read: Is a directory"


def test_a_short_write_is_noticed(monkeypatch):
    store = fsspec.get_filesystem_class("memory")
    whole = store.pipe_file
    monkeypatch.setattr(store, "pipe_file", lambda self, path, data: whole(self, path, data[:3]))
    with pytest.raises(StorageError) as error:
        write_bytes("memory://short/a", b"12345")
    assert text_of(error) == ("memory://short/a: wrote 5 bytes but the store holds 3; try again")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_local_write_keeps_the_old_file_and_leaves_nothing(monkeypatch, tmp_path, call):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    url = str(tmp_path / "a.png")
    write_bytes(url, b"old")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageAccessError):
        write_bytes(url, b"new")
    assert list_files(str(tmp_path)) == [url]
    assert read_bytes(url) == b"old"


def test_a_new_local_file_has_the_mode_the_user_asked_for(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(str(tmp_path / "a"), b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("write", [write_bytes, create_bytes])
def test_a_file_where_a_folder_is_needed(tmp_path, write):
    (tmp_path / "run").write_bytes(b"")
    url = str(tmp_path / "run" / "a")
    with pytest.raises(StorageAccessError) as error:
        write(url, b"1")
    assert text_of(error) == f"{url}: cannot write: a file stands where a folder is expected"
