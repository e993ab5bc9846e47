"""``report`` and the page that a run leaves."""

import webbrowser

import pytest

from command_line import run, said
from dfp_batch import errors
from dfp_batch.cli import session
from dfp_batch.engine.retry import Retry
from dfp_batch.io import storage
from report_parts import small_run


@pytest.fixture
def url(tmp_path):
    return small_run(tmp_path)


def test_report_writes_the_page_and_opens_it(url, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert (
        said(0, "report", url, "--open", "--price-per-hour", "3.6")
        == f"report   {url}/report.html\n"
    )
    assert opened == [f"file://{url}/report.html"]
    assert b'"cost_per_gigapixel":' in storage.read_bytes(f"{url}/report.html")


def test_a_page_in_a_bucket_is_not_opened():
    done = run("report", "s3://bucket/run", "--open")
    assert (done.returncode, done.stdout) == (2, "")
    assert "s3://bucket/run is no folder of this machine; `dfp-batch serve" in done.stderr


@pytest.mark.parametrize("command", ["report", "serve"])
def test_what_is_not_a_run_is_one_line(tmp_path, command):
    done = run(command, str(tmp_path))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "is not a run directory" in done.stderr


def test_a_run_does_not_fail_for_its_page(url, capsys):
    storage.write_bytes(f"{url}/marks.json", b"{")
    session.leave_report(url)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("note: the run has ended, but its report.html was not written: ")
    assert "marks.json is no file of marks" in told.err


def test_a_run_that_is_stopped_leaves_its_page(url):
    def stopped(observer):
        raise errors.RunStoppedError("the time is up")

    with pytest.raises(errors.RunStoppedError):
        session.watch(Retry(url), stopped, as_json=False)
    assert storage.exists(f"{url}/report.html")
