"""One stage of one attempt: what it needs to know to read."""

import uuid

import pytest
import s3fs

from conftest import publish
from dfp_batch.config.run_config import RunConfig
from dfp_batch.engine.attempt import Job, perform
from dfp_batch.engine.executor import Work
from dfp_batch.engine.progress import UNWATCHED
from dfp_batch.engine.stages import Stage
from dfp_batch.io.credentials import use_no_credentials
from stage_parts import CLASSICAL, halves, make_pair
from store_parts import without_credentials


@pytest.mark.parametrize("anonymous", [True, False])
def test_a_worker_without_credentials_reads_what_anybody_may(s3_url, tmp_path, anonymous):
    pair = make_pair(f"{s3_url}/{uuid.uuid4().hex}", *halves())
    for url in pair.sources:
        publish(url)
    job = Job(RunConfig("test", CLASSICAL), str(tmp_path / "run"), anonymous=anonymous)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.MonkeyPatch.context() as patch:
            without_credentials(patch)
            report, _ = perform(Work(0, Stage.PREPARE, pair), job, (), UNWATCHED)
    finally:
        use_no_credentials(None)
        s3fs.S3FileSystem.clear_instance_cache()
    assert (report.failure is None) == anonymous
    assert anonymous or report.failure.category == "fatal"
