"""What a URL is."""

import pytest

from dfp_batch.errors import ConfigError
from dfp_batch.io.storage import read_bytes
from dfp_batch.io.urls import absolute_url, join
from store_parts import text_of


@pytest.mark.parametrize("ending", ["?versionId=", "?versionId=1/a.png", "?versionId=1?b.png"])
def test_a_version_stands_at_the_end(ending):
    url = f"s3://lot/a.png{ending}"
    with pytest.raises(ConfigError) as error:
        absolute_url(url)
    assert text_of(error) == f"{url}: ?versionId= must stand at the end, with the id of a version"


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


def test_join():
    assert join("s3://lot/run/", "outputs", "a b") == "s3://lot/run/outputs/a b"
    assert join("/", "a") == "/a"
