"""A store is tried: real folders, and buckets of a real server."""

import json
import os
from pathlib import Path

import pytest
import s3fs

from dfp_batch.doctor.finding import Place
from dfp_batch.doctor.store import store
from dfp_batch.io import storage


def look(url):
    return store(Place(url, "/tmp"))


def test_a_folder_is_written_and_left_as_it_was(run_url):
    storage.write_bytes(f"{run_url}/a.txt", b"a")
    found = look(run_url)
    assert found.level in ("ok", "warning")  # a full disk is no fault of the folder
    assert found.found.startswith(
        f"{run_url}: 1 files and 0 folders directly in it; can be written"
    )
    assert list(storage.list_tree(run_url)) == ["a.txt"]


def test_what_is_no_folder_is_not_made(tmp_path):
    (tmp_path / "file").touch()
    assert look(f"{tmp_path}/none").found == f"{tmp_path}/none is not there"
    assert look(f"{tmp_path}/file").found == f"{tmp_path}/file is a file, not a folder"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_is_for_sources(tmp_path):
    tmp_path.chmod(0o500)
    # Root may write everywhere but where the system itself has the say.
    folder = "/proc/sys/kernel" if os.geteuid() == 0 else str(tmp_path)
    found = look(folder)
    tmp_path.chmod(0o700)
    assert found.level == "warning"
    assert "cannot write: " in found.found
    assert "give submit an --output where you may write" in found.advice


def test_a_bucket_that_does_not_exist_is_a_problem(s3_url):
    found = look("s3://no-such-bucket-here/folder")
    assert found.level == "problem"
    assert found.found.endswith("cannot list: the bucket does not exist")
    assert "AWS_ENDPOINT_URL" in found.advice


@pytest.mark.parametrize(
    ("action", "level", "words"),
    [
        ("s3:PutObject", "warning", "cannot write: 403, no permission"),
        ("s3:GetObject", "problem", "cannot read: 403, no permission"),
        ("s3:DeleteObject", "problem", "cannot delete: 403, no permission"),
    ],
)
def test_rights_that_a_bucket_does_not_give_are_named(s3_url, tmp_path, action, level, words):
    bucket = f"no-{action.rpartition(':')[2].lower()}"
    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    fs.mkdir(bucket)
    denied = {"Effect": "Deny", "Principal": "*", "Action": [action]}
    policy = {
        "Version": "2012-10-17",
        "Statement": [denied | {"Resource": f"arn:aws:s3:::{bucket}/*"}],
    }
    fs.call_s3("put_bucket_policy", Bucket=bucket, Policy=json.dumps(policy))
    found = look(f"s3://{bucket}")
    assert (found.level, words in found.found) == (level, True), found


def test_a_driver_that_is_not_installed_is_named(monkeypatch):
    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name == "gcsfs":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("sys.meta_path", [Absent(), *__import__("sys").meta_path])
    found = look("gs://bucket")
    assert found.level == "problem"
    assert found.found == "gs://bucket: gs:// needs the package gcsfs; pip install gcsfs"


def test_no_file_of_the_project_is_touched():
    before = sorted(Path(__file__).parent.iterdir())
    look(str(Path(__file__).parent))
    assert sorted(Path(__file__).parent.iterdir()) == before
