"""Fixtures of the tests that open URLs."""

import uuid

import pytest
import s3fs


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
