"""Whether the sources of a run are read without credentials is kept with the run."""

import pytest

from dfp_batch.errors import ConfigError
from dfp_batch.io import storage
from dfp_batch.io.credentials import use_no_credentials, uses_no_credentials
from dfp_batch.io.storage import store_of
from dfp_batch.runs import access


@pytest.fixture(autouse=True)
def as_before():
    yield
    use_no_credentials(None)


def test_said_once_it_is_remembered(run_url):
    assert not access.open_run(run_url)
    assert not uses_no_credentials()
    assert access.open_run(run_url, asked=True)
    use_no_credentials(None)
    assert access.open_run(run_url)
    assert uses_no_credentials()
    assert storage.list_files(run_url) == [f"{run_url}/access.json"]


def test_what_is_written_or_used_again_keeps_its_credentials():
    access.use(True, "s3://mine/run", "s3://former/run")
    buckets = ("mine", "former", "public")
    assert [store_of(f"s3://{name}/a")[0].anon for name in buckets] == [False, False, True]
    access.use(False, "s3://mine/run")
    assert not uses_no_credentials()


def test_a_folder_is_read_without_credentials_unless_something_is_written_there():
    access.read_only(["s3://public/a"], [])
    assert uses_no_credentials()
    access.read_only(["s3://public/a"], ["m.parquet"])
    with pytest.raises(ConfigError, match="reads s3://public without credentials, but s3://public"):
        access.read_only(["s3://public/a"], ["s3://public/m.parquet"])
