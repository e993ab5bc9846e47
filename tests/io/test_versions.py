"""Versions of a file: told apart, and asked for by name."""

import hashlib
import os
import subprocess
import sys
import uuid

import pytest
import s3fs

from dfp_batch.errors import ConfigError, ObjectAccessError, ObjectMissingError
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.storage import delete, exists, read_bytes, version, write_bytes
from dfp_batch.io.urls import join
from store_parts import READERS, WRITERS, text_of


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
