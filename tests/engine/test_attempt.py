"""Stages of one attempt: what they need to know to read, and when they are run at once."""

import json
import uuid
from dataclasses import replace

import pytest
import s3fs

from conftest import publish
from dfp_batch.config.run_config import RunConfig
from dfp_batch.engine import attempt
from dfp_batch.engine.attempt import Job, perform, perform_all
from dfp_batch.engine.executor import Work
from dfp_batch.engine.progress import UNWATCHED
from dfp_batch.engine.stages import Stage
from dfp_batch.io import storage
from dfp_batch.io.credentials import use_no_credentials
from dfp_batch.pipeline.placement import Accelerator
from dfp_batch.reconstruction.back_projection import BackProjection
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


class Fails(BackProjection):
    """A reconstruction with a bug."""

    def __call__(self, sources, decision, degrade, compute):
        raise ZeroDivisionError("a bug")


@pytest.fixture
def job(tmp_path):
    return Job(RunConfig("test", CLASSICAL), str(tmp_path / "run"))


@pytest.fixture
def work(tmp_path):
    pair = make_pair(str(tmp_path), *halves())
    return Work(0, Stage.PREPARE, pair, at_once=True)


def stages_of(reports):
    return [report.stage for report in reports]


def test_a_small_pair_passes_all_stages_at_once(work, job):
    reports, value = perform_all(work, job, (), UNWATCHED)
    assert stages_of(reports) == list(Stage)
    assert value is None
    assert [report.value_bytes for report in reports] == [0, 0, 0]  # nothing waits between them
    receipt = json.loads(storage.read_bytes(f"{job.url}/outputs/{work.pair.pair_id}/result.json"))
    row = receipt.get("facts", receipt)
    assert {"t_prepare_s", "t_reconstruct_s", "mg"} <= set(row)


@pytest.mark.parametrize("reason", ["not asked to", "large", "accelerator"])
def test_else_the_next_stage_waits_for_its_turn(work, job, reason, monkeypatch):
    if reason == "not asked to":
        work = replace(work, at_once=False)
    elif reason == "large":
        monkeypatch.setattr(attempt, "SMALL", 1)
    else:
        job = replace(job, accelerator=Accelerator(1 << 30))
    reports, value = perform_all(work, job, (), UNWATCHED)
    assert stages_of(reports) == [Stage.PREPARE]
    assert value.nbytes == reports[0].value_bytes > 0


def test_a_pair_that_begins_small_goes_to_the_end_however_much_it_becomes(work, job, monkeypatch):
    """Else the values of its first stages would be missing where it goes on."""
    (prepared, *_), _ = perform_all(replace(work, at_once=False), job, (), UNWATCHED)
    monkeypatch.setattr(attempt, "SMALL", prepared.value_bytes + 1)
    run = RunConfig("test", replace(CLASSICAL, scale=4))
    reports, value = perform_all(work, replace(job, run=run), (), UNWATCHED)
    assert reports[1].value_bytes == 0
    assert stages_of(reports) == list(Stage)
    assert value is None


def test_the_stage_that_fails_is_the_last_one(work, tmp_path):
    run = RunConfig("test", replace(CLASSICAL, reconstruction=Fails()))
    reports, value = perform_all(work, Job(run, str(tmp_path / "run")), (), UNWATCHED)
    assert stages_of(reports) == [Stage.PREPARE, Stage.RECONSTRUCT]
    assert [report.failure is None for report in reports] == [True, False]
    assert reports[-1].failure.error_type == "ZeroDivisionError"
    assert value is None
