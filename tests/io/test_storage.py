import errno
import hashlib
import os
import subprocess
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import Mock

import fsspec
import pytest
import s3fs
from fsspec.implementations.memory import MemoryFile

from conftest import archive_away, deny
from dfp_batch.errors import (
    ConfigError,
    ObjectAccessError,
    ObjectMissingError,
    StorageAccessError,
    StorageError,
)
from dfp_batch.io import storage
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


@pytest.fixture(params=["file", "memory", "s3"])
def folder(request, tmp_path):
    """URL of an empty folder in each kind of store."""
    if request.param == "file":
        return str(tmp_path / "run")
    name = uuid.uuid4().hex
    if request.param == "memory":
        return f"memory://{name}"
    return f"{request.getfixturevalue('s3_url')}/{name}"


@pytest.fixture
def fresh_s3(s3_url, monkeypatch):
    """Let a test change the environment that S3 filesystems are made from."""
    s3fs.S3FileSystem.clear_instance_cache()
    yield monkeypatch
    s3fs.S3FileSystem.clear_instance_cache()


def text_of(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


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


def touch(url):
    with open_seekable(url) as file:
        file.read(1)


READERS = [read_bytes, touch, version]
WRITERS = [lambda url: write_bytes(url, b"1"), lambda url: create_bytes(url, b"1")]


@pytest.mark.parametrize("use", [*READERS, exists, list_files])
def test_a_missing_bucket_is_the_readers_own_matter(s3_url, use):
    with pytest.raises(ObjectAccessError, match=r"s3://no-such-.*: the bucket does not exist$"):
        use("s3://no-such-bucket/deep/a.png")


@pytest.mark.parametrize("use", WRITERS)
def test_a_missing_bucket_is_no_place_to_write_to(s3_url, use):
    with pytest.raises(StorageAccessError, match=r"cannot write: the bucket does not exist$"):
        use("s3://no-such-bucket/deep/a.png")


@pytest.fixture
def denied(s3_url):
    """URL of an object that nobody may read or replace."""
    url = f"{s3_url}/{uuid.uuid4().hex}/a.png"
    write_bytes(url, b"pixels")
    write_bytes(url.replace("a.png", "b.png"), b"pixels")
    deny(url)
    return url


@pytest.mark.parametrize("use", [*READERS, exists])
def test_a_denied_object_is_the_readers_own_matter(denied, use):
    with pytest.raises(ObjectAccessError) as error:
        use(denied)
    assert text_of(error) == f"{denied}: cannot read: 403, no permission"
    use(denied.replace("a.png", "b.png"))


@pytest.mark.parametrize("use", WRITERS)
def test_a_denied_write_concerns_everybody(denied, use):
    with pytest.raises(StorageAccessError) as error:
        use(denied)
    assert text_of(error) == f"{denied}: cannot write: 403, no permission"


@pytest.mark.parametrize("use", [read_bytes, touch])
def test_an_archived_object_is_the_readers_own_matter(s3_url, use):
    url = f"{s3_url}/{uuid.uuid4().hex}"
    write_bytes(url, b"pixels")
    archive_away(url)
    with pytest.raises(ObjectAccessError) as error:
        use(url)
    assert text_of(error) == f"{url}: cannot read: archived (restore it first)"


@pytest.mark.parametrize("use", READERS)
def test_a_bucket_is_no_file(s3_url, use):
    with pytest.raises(
        ObjectMissingError, match=f"^{s3_url}: cannot read: is a bucket, not a file"
    ):
        use(s3_url)
    with pytest.raises(StorageAccessError, match="cannot write: is a bucket, not a file"):
        write_bytes(s3_url, b"1")


@pytest.mark.parametrize("use", READERS)
def test_local_paths_that_cannot_be_read_are_the_readers_own_matter(tmp_path, use):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("none")
    (tmp_path / "file").write_bytes(b"")
    for name, expected, reason in [
        ("loop", ObjectAccessError, "Too many levels of symbolic links"),
        ("x" * 300, ObjectAccessError, "File name too long"),
        ("dangling", ObjectMissingError, "nothing is there"),
        ("file/a.png", ObjectMissingError, "a file stands where a folder is expected"),
        (".", ObjectMissingError, "Is a directory"),
    ]:
        with pytest.raises(expected) as error:
            use(f"{tmp_path}/{name}")
        assert error.type is expected
        assert error.value.category == "input"
        assert text_of(error) == f"{tmp_path}/{name}: cannot read: {reason}"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_disk_that_fails_is_worth_another_try():
    with pytest.raises(StorageError, match=r"^/proc/self/mem: cannot read: ") as error:
        touch("/proc/self/mem")
    assert error.type is StorageError


class _Answer(BaseHTTPRequestHandler):
    """A store that refuses every request with ``status`` and ``code``, as S3 does."""

    status, code = 400, "ExpiredToken"

    def do_GET(self):
        body = f"<Error><Code>{self.code}</Code><Message>Renew it.</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":  # which has no body, and cannot say why
            self.wfile.write(body)

    do_HEAD = do_PUT = do_GET  # noqa: N815

    def log_message(self, *arguments):
        pass


@pytest.fixture
def refusing_s3(fresh_s3, s3_url):
    """A store that answers as the test sets it, in place of the usual one."""
    answer = type("Answer", (_Answer,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answer)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    fresh_s3.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield answer
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ExpiredToken"),
        (400, "InvalidToken"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (403, "RequestTimeTooSkewed"),
    ],
)
def test_credentials_that_do_not_count_concern_everybody(refusing_s3, s3_url, status, code):
    refusing_s3.status, refusing_s3.code = status, code
    for use in (*READERS, exists, list_files, WRITERS[0]):
        with pytest.raises(StorageAccessError, match=f"^{s3_url}/a.png: cannot .*: Renew it.$"):
            use(f"{s3_url}/a.png")


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccessDenied", "403, no permission"),
        (403, "AllAccessDisabled", "403, no permission"),
        (403, "SomethingNew", "403, no permission"),
        (400, "AuthorizationHeaderMalformed", "Renew it."),
        (400, "KeyTooLongError", "Renew it."),
        (405, "MethodNotAllowed", "this version is a mark of deletion"),
    ],
)
def test_what_is_wrong_with_one_object_does_not(refusing_s3, s3_url, status, code, reason):
    refusing_s3.status, refusing_s3.code = status, code
    for use in READERS:
        with pytest.raises(ObjectAccessError) as error:
            use(f"{s3_url}/a.png")
        assert text_of(error) == f"{s3_url}/a.png: cannot read: {reason}"


def test_missing_credentials_are_no_access(fresh_s3, s3_url, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        fresh_s3.delenv(name)
    fresh_s3.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fresh_s3.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    fresh_s3.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageAccessError) as error:
        read_bytes(f"{s3_url}/a.png")
    assert text_of(error) == f"{s3_url}/a.png: cannot read: Unable to locate credentials"


def test_a_store_that_does_not_answer_is_worth_another_try(fresh_s3, s3_url):
    fresh_s3.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fresh_s3.setitem(storage._OPTIONS["s3"]["config_kwargs"], "retries", {"total_max_attempts": 1})
    with pytest.raises(StorageError, match="cannot read: Could not connect") as error:
        read_bytes(f"{s3_url}/a.png")
    assert error.type is StorageError


def counted(size) -> bytes:
    """Bytes of which no range looks like another."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4))


def test_a_file_is_read_in_any_order(folder):
    data = counted(2_000_000)
    write_bytes(join(folder, "a b#1%20é.tif"), data)
    with open_seekable(join(folder, "a b#1%20é.tif")) as file:
        assert file.seek(-8, os.SEEK_END) == len(data) - 8
        assert file.read() == data[-8:]
        assert file.read(1) == b""
        file.seek(1_000_001)
        assert file.read(600_000) == data[1_000_001:1_600_001]
        assert file.tell() == 1_600_001
        file.seek(-600_000, os.SEEK_CUR)
        assert file.read(4) == data[1_000_001:1_000_005]
        file.seek(0)
        assert file.read() == data
    assert file.closed


def test_a_file_may_be_open_twice(folder):
    write_bytes(join(folder, "a"), b"abcdef")
    with open_seekable(join(folder, "a")) as one, open_seekable(join(folder, "a")) as other:
        assert (one.read(2), other.read(3), one.read(2)) == (b"ab", b"abc", b"cd")


def test_an_empty_file_is_open_and_empty(folder):
    write_bytes(join(folder, "a"), b"")
    with open_seekable(join(folder, "a")) as file:
        assert file.read() == b""


def test_only_what_is_read_is_fetched(s3_url, monkeypatch):
    url, data = f"{s3_url}/{uuid.uuid4().hex}", counted(3_000_000)
    write_bytes(url, data)
    ranges, fetch = [], s3fs.core.S3File._fetch_range
    monkeypatch.setattr(
        s3fs.core.S3File,
        "_fetch_range",
        lambda file, start, end: ranges.append((start, end)) or fetch(file, start, end),
    )
    with open_seekable(url) as file:
        for place in (0, 8, 100_000):
            file.seek(place)
            assert file.read(16) == data[place : place + 16]
        file.seek(1_000_000)
        assert file.read(900_000) == data[1_000_000:1_900_000]
    assert ranges[0] == (0, 262_144)
    assert min(start for start, _ in ranges[1:]) == 1_000_000
    assert max(end for _, end in ranges) <= 1_900_000 + 262_144
    assert len(ranges) <= 3


# Versions.


@pytest.fixture
def versioned(s3_url):
    """URL of an object in a bucket that keeps the past, and the ids of its two versions."""
    name = f"kept-{uuid.uuid4().hex}"
    s3 = s3fs.S3FileSystem()
    s3.mkdir(name)
    s3.call_s3("put_bucket_versioning", Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    put = [
        s3.call_s3("put_object", Bucket=name, Key="x//a b.png", Body=b) for b in (b"old", b"now")
    ]
    return f"s3://{name}/x//a b.png", *(answer["VersionId"] for answer in put)


def test_a_version_of_an_object_is_read(versioned):
    url, old, now = versioned
    for asked, content in [
        ("", b"now"),
        (f"?versionId={now}", b"now"),
        (f"?versionId={old}", b"old"),
    ]:
        assert read_bytes(f"{url}{asked}") == content
        with open_seekable(f"{url}{asked}") as file:
            assert file.read() == content
        assert exists(f"{url}{asked}")
        assert version(f"{url}{asked}").endswith(hashlib.md5(content).hexdigest())
    write_bytes(url, b"newer")
    assert read_bytes(f"{url}?versionId={now}") == b"now"


def test_a_version_that_is_not_there_is_missed(versioned):
    unknown = f"{versioned[0]}?versionId={uuid.uuid4()}"
    assert not exists(unknown)
    for use in READERS:
        with pytest.raises((ObjectMissingError, ObjectAccessError)) as error:
            use(unknown)
        assert text_of(error).startswith(f"{unknown}: cannot read: ")


def test_a_deleted_object_still_has_its_versions(versioned):
    url, old, _ = versioned
    delete(url)
    assert not exists(url)
    assert read_bytes(f"{url}?versionId={old}") == b"old"


@pytest.mark.parametrize("use", [*WRITERS, delete])
def test_a_version_is_never_changed(versioned, use):
    url, old, _ = versioned
    with pytest.raises(ConfigError, match="a version of an object cannot be changed"):
        use(f"{url}?versionId={old}")
    assert read_bytes(f"{url}?versionId={old}") == b"old"


@pytest.mark.parametrize("ending", ["?versionId=", "?versionId=1/a.png", "?versionId=1?b.png"])
def test_a_version_stands_at_the_end(ending):
    url = f"s3://lot/a.png{ending}"
    with pytest.raises(ConfigError) as error:
        absolute_url(url)
    assert text_of(error) == f"{url}: ?versionId= must stand at the end, with the id of a version"


def test_elsewhere_a_version_is_part_of_the_name(tmp_path):
    for url in (f"{tmp_path}/a?versionId=1", "memory://lot/a?versionId=1"):
        write_bytes(url, b"1")
        assert read_bytes(url) == b"1"
        assert not exists(url.partition("?")[0])


def write_again(folder, url, data):
    if folder.startswith("/"):  # as after a while: two writes may come within one tick of the clock
        os.utime(url, ns=(1, 1))
    write_bytes(url, data)


def test_another_content_of_the_same_size_is_another_version(folder):
    url = join(folder, "a b#1%20é.png")
    write_bytes(url, b"12345")
    first = version(url)
    assert version(url) == first
    write_again(folder, url, b"54321")
    second = version(url)
    assert second != first
    assert (first.split()[0], second.split()[0]) == ("5", "5")
    write_again(folder, url, b"")
    assert version(url).startswith("0 ")


def test_a_version_says_what_it_rests_on(tmp_path, s3_url):
    write_bytes(f"{tmp_path}/a", b"12345")
    os.utime(tmp_path / "a", ns=(0, 1767225600123456789))
    assert version(f"{tmp_path}/a") == "5 mtime:1767225600123456789"
    url = f"{s3_url}/{uuid.uuid4().hex}"
    write_bytes(url, b"12345")
    assert version(url) == "5 etag:827ccb0eea8a706c4c34a16891f84e7b"


def test_a_version_is_the_same_in_another_process(s3_url, tmp_path):
    urls = [f"{s3_url}/{uuid.uuid4().hex}", f"{tmp_path}/a"]
    for url in urls:
        write_bytes(url, b"12345")
    code = f"from dfp_batch.io.storage import version\nprint(*map(version, {urls}), sep='\\n')"
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert other.stdout.splitlines() == list(map(version, urls))


def test_what_has_no_version(folder):
    write_bytes(join(folder, "deep", "a"), b"1")
    for name in ("deep", "none"):
        with pytest.raises(ObjectMissingError, match="cannot read: "):
            version(join(folder, name))


def test_opening_what_is_not_there(folder):
    url = join(folder, "none.tif")
    with pytest.raises(ObjectMissingError) as error:
        open_seekable(url)
    assert text_of(error) == f"{url}: cannot read: nothing is there"


def test_a_file_that_changes_while_it_is_read_is_worth_another_try(s3_url):
    url = f"{s3_url}/{uuid.uuid4().hex}"
    write_bytes(url, bytes(600_000))
    with open_seekable(url) as file:
        file.read(1)
        write_bytes(url, bytes(700_000))
        file.seek(500_000)
        with pytest.raises(StorageError, match="cannot read: ") as error:
            file.read(1)
    assert error.type is StorageError
    assert text_of(error).startswith(f"{url}: cannot read: ")


DENIED = {"read": ObjectAccessError, "write": StorageAccessError}
FAULTS = [
    (PermissionError(errno.EACCES, "Permission denied"), DENIED, "Permission denied"),
    (OSError(errno.ENOSPC, "No space left"), StorageAccessError, "No space left"),
    (OSError(errno.EROFS, "Read-only"), StorageAccessError, "Read-only"),
    (TimeoutError(), StorageError, "TimeoutError"),
    (ConnectionResetError(errno.ECONNRESET, "reset"), StorageError, "reset"),
    (OSError(errno.EIO, "two\nlines"), StorageError, "two lines"),
]


@pytest.mark.parametrize(("fault", "expected", "reason"), FAULTS)
def test_each_fault_has_its_error(monkeypatch, fault, expected, reason):
    def fail(self, path, data, mode="overwrite"):
        raise fault

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "pipe_file", fail)
    expected = DENIED["write"] if expected is DENIED else expected
    with pytest.raises(expected) as error:
        write_bytes("memory://run/a", b"1")
    assert error.type is expected
    assert text_of(error) == f"memory://run/a: cannot write: {reason}"
    assert error.value.__cause__ is fault


@pytest.mark.parametrize(("fault", "expected", "reason"), FAULTS)
def test_each_fault_of_a_later_read_has_its_error(monkeypatch, fault, expected, reason):
    expected = DENIED["read"] if expected is DENIED else expected
    write_bytes("memory://run/a", bytes(600_000))
    with open_seekable("memory://run/a") as file:
        file.read(1)
        file.seek(500_000)
        with monkeypatch.context() as patch, pytest.raises(expected) as error:
            patch.setattr(MemoryFile, "read", Mock(side_effect=fault))
            file.read(1)
        assert error.type is expected
        assert text_of(error) == f"memory://run/a: cannot read: {reason}"
        with pytest.raises(expected):
            file.read(1)


def test_a_bug_is_not_a_storage_error(monkeypatch):
    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read_bytes("memory://run/a")


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


@pytest.mark.parametrize(
    ("url", "base", "expected"),
    [
        ("/data/../x/a.png", None, "/x/a.png"),
        ("file:///x/a.png", None, "/x/a.png"),
        ("file:///x/a%20b.png", None, "/x/a%20b.png"),
        ("a.png", "/lot/manifest.parquet", "/lot/a.png"),
        ("../a.png", "file:///lot/deep/manifest.parquet", "/lot/a.png"),
        ("/x/a.png", "s3://lot/manifest.parquet", "/x/a.png"),
        ("a.png", "s3://lot/manifest.parquet", "s3://lot/a.png"),
        ("img/a.png", "s3://lot/deep/manifest.parquet", "s3://lot/deep/img/a.png"),
        ("../../../a.png", "s3://lot/deep/manifest.parquet", "s3://lot/a.png"),
        ("../a.png", "s3://lot/deep/manifest.parquet", "s3://lot/a.png"),
        ("./x/../a.png", "s3://lot/deep/manifest.parquet", "s3://lot/deep/a.png"),
        ("a.png", "s3://lot/two//slashes/m.parquet", "s3://lot/two//slashes/a.png"),
        ("../a.png", "s3://lot/two//slashes/m.parquet", "s3://lot/two//a.png"),
        ("x//a.png", "s3://lot/m.parquet", "s3://lot/x//a.png"),
        ("a.png", "s3://lot//m.parquet", "s3://lot//a.png"),
        ("a.png", "s3://lot/./up/../m.parquet", "s3://lot/./up/../a.png"),
        ("a%20b#1?c.png", "s3://lot/é +/m.parquet", "s3://lot/é +/a%20b#1?c.png"),
        ("a.png?versionId=v1", "s3://lot/m.parquet?versionId=v2", "s3://lot/a.png?versionId=v1"),
        ("s3://lot/x//../a.png", "/lot/m.parquet", "s3://lot/x//../a.png"),
        ("x//a.png", "/lot/m.parquet", "/lot/x/a.png"),
        ("S3://lot/A.png", "/lot/manifest.parquet", "s3://lot/A.png"),
        ("abfs://box@account.dfs.example/a", None, "abfs://box@account.dfs.example/a"),
        ("s3://arn:aws:s3:eu:1:point/a@b", None, "s3://arn:aws:s3:eu:1:point/a@b"),
        ("s3://lot/10:30@cam1.png", None, "s3://lot/10:30@cam1.png"),
        ("a://b", "/lot/m", ConfigError),
        ("", None, ConfigError),
        ("a\0.png", None, ConfigError),
    ],
)
def test_absolute_url(url, base, expected):
    if expected is ConfigError:
        with pytest.raises(ConfigError):
            absolute_url(url, base)
    else:
        assert absolute_url(url, base) == expected


def test_a_relative_path_without_base_is_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_url("a.png") == str(tmp_path / "a.png")
    assert absolute_url("a.png", "manifest.parquet") == str(tmp_path / "a.png")


@pytest.mark.parametrize("url", ["https://host/a.png", "simplecache::s3://lot/a", "hf://x"])
def test_other_protocols_are_refused(url):
    with pytest.raises(ConfigError) as error:
        read_bytes(url)
    assert text_of(error) == (
        f"{url}: protocol must be one of file, s3, gs, gcs, az, abfs, memory, "
        f"got {url.partition('://')[0]!r}"
    )


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:secret@lot/a.png",
        "s3://AKIA:sec/secret@lot/a.png",
        "s3://secret@lot/a.png",
        "https://user:secret@host/a.png",
        "abfs://box:secret@account/a.png",
        "gs://user:secret@x@lot/a.png",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_shown(url):
    with pytest.raises(ConfigError) as error:
        absolute_url(url)
    assert "URLs must not hold credentials; set them in the environment" in text_of(error)
    assert "secret" not in str(error.value)
    assert "AKIA" not in str(error.value)


@pytest.mark.parametrize(("protocol", "driver"), [("gs", "gcsfs"), ("abfs", "adlfs")])
def test_a_missing_driver_says_what_to_install(monkeypatch, protocol, driver):
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ConfigError) as error:
        read_bytes(f"{protocol}://lot/a.png")
    assert text_of(error) == (
        f"{protocol}://lot/a.png: {protocol}:// needs the package {driver}; pip install {driver}"
    )


def test_join():
    assert join("s3://lot/run/", "outputs", "a b") == "s3://lot/run/outputs/a b"
    assert join("/", "a") == "/a"
