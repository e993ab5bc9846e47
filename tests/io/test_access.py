"""Buckets that anybody may read, without credentials."""

import uuid

import pytest
import s3fs

from conftest import publish
from dfp_batch.errors import StorageAccessError
from dfp_batch.io.credentials import use_no_credentials, uses_no_credentials
from dfp_batch.io.seekable import open_seekable
from dfp_batch.io.storage import (
    read_bytes,
    store_of,
    write_bytes,
)
from dfp_batch.io.tree import Wanted, walk
from dfp_batch.io.urls import bucket_of
from store_parts import without_credentials


@pytest.fixture(autouse=True)
def as_before():
    yield
    use_no_credentials(None)


@pytest.fixture
def public(fresh_s3, s3_url):
    """An object in a bucket, and nobody has credentials for it."""
    url = f"{s3_url}/{uuid.uuid4().hex}/a.png"
    write_bytes(url, b"anybody")
    publish(url)
    s3fs.S3FileSystem.clear_instance_cache()
    without_credentials(fresh_s3)
    return url


def touch(url):
    with open_seekable(url) as file:
        file.read(1)


def listed(url):
    return list(walk(url.rpartition("/")[0], Wanted(lambda _: True)))


@pytest.mark.parametrize("use", [read_bytes, touch, listed])
def test_without_credentials_a_public_bucket_is_read_if_asked_for(public, use):
    with pytest.raises(StorageAccessError, match="--anonymous reads a public bucket without"):
        use(public)
    use_no_credentials([])
    use(public)
    use_no_credentials([bucket_of(public)])
    with pytest.raises(StorageAccessError):
        use(public)
    use_no_credentials(None)
    with pytest.raises(StorageAccessError):
        use(public)


def test_other_buckets_keep_their_credentials():
    use_no_credentials(["s3://mine"])
    assert uses_no_credentials()
    assert [store_of(url)[0].anon for url in ("s3://mine/a", "s3://other/a")] == [False, True]
    use_no_credentials(None)
    assert not uses_no_credentials()
    assert not store_of("s3://other/a")[0].anon


@pytest.mark.parametrize(
    ("url", "bucket"),
    [
        ("s3://a/b/c", "s3://a"),
        ("S3://a", "s3://a"),
        ("gs://a//b", "gs://a"),
        ("memory://a/b", "memory://a"),
        ("/a/b", ""),
        ("a/b", ""),
    ],
)
def test_the_bucket_of_a_url(url, bucket):
    assert bucket_of(url) == bucket
