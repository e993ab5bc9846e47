"""The page as text: whole, alone, and safe whatever a run holds."""

import json
import re
from html import unescape

import pytest

from dfp_batch.config.run_config import run_config
from dfp_batch.io import storage
from dfp_batch.report.page import LIBRARY, MODULES, PAGE, Content, render, script
from dfp_batch.report.recorded_run import RecordedRun
from dfp_batch.report.writing import write_report
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair
from report_parts import NASTY, small_run


def told(page):
    """The data in a page."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text[1])


@pytest.fixture
def page(tmp_path):
    url = small_run(tmp_path)
    assert write_report(url) == f"{url}/report.html"
    return (tmp_path / "run/report.html").read_text()


def test_nothing_of_a_run_is_markup(page):
    assert NASTY not in page
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>") == 3
    columns = told(page)["columns"]
    assert NASTY[9:] in columns["pair_id"]
    assert columns["error_message"][0].endswith(NASTY)


def test_it_asks_no_network_for_anything(page):
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert not re.search(r'(?:src|href)="?(?:https?:)?//', page)


def test_a_small_run_has_its_pictures_in_it(page):
    details = told(page)["details"]
    assert len(details) == 4
    own = details["item 0"]
    ids = ["result", "decision", "confidence", "reference", "difference", "frame-0", "frame-1"]
    assert [one["id"] for one in own["pictures"]] == ids
    assert all(one["src"].startswith("data:image/webp;base64,") for one in own["pictures"])
    assert own["frames"][1]["warp"][0] == [1, 0, 2]
    assert own["pictures"][1]["legend"]["ends"] == ["frame 1", "frame 2"]


def test_what_failed_shows_the_frames_that_can_be_read(page):
    pictures = told(page)["details"]["broken"]["pictures"]
    assert [one["title"] for one in pictures] == ["Frame 1", "Frame 2"]


def test_failures_come_with_their_command(page, tmp_path):
    (cause,) = told(page)["causes"]
    assert cause["command"] == f"dfp-batch retry {tmp_path}/run --category input"
    assert (cause["count"], cause["pair_ids"]) == (1, ["broken"])


def test_all_modules_are_in_the_script():
    assert {path.stem for path in PAGE.glob("*.js")} - {LIBRARY.removesuffix(".js")} == {*MODULES}
    assert "import {" not in script()
    assert not re.search(r"^export ", script(), re.MULTILINE)
    assert "</script" not in script() + (PAGE / LIBRARY).read_text()
    for module, text in ((name, (PAGE / f"{name}.js").read_text()) for name in MODULES):
        used = re.findall(r'from "\./(\w+)\.js"', text)
        assert all(MODULES.index(name) < MODULES.index(module) for name in used), module


def test_numbers_that_json_has_not_are_refused(tmp_path):
    data = RecordedRun.read(small_run(tmp_path)).summary()
    with pytest.raises(ValueError, match="not JSON compliant"):
        render(Content(data, {"x": float("nan")}))


def test_a_run_that_goes_on_says_so(tmp_path):
    url = small_run(tmp_path)
    with Ledger.reopen(url):
        write_report(url)
    page = (tmp_path / "run/report.html").read_text()
    assert re.search(r"<p class=note>This run is still going \(\S+ .*\): the page shows it", page)


def test_a_run_without_an_attempt_has_a_page(tmp_path):
    pairs = [Pair("a", ("/a1.png", "/a2.png"))]
    url = f"{tmp_path}/run"
    Ledger.open(url, run_config("fast", None, {}), pairs).close()
    write_report(url)
    page = (tmp_path / "run/report.html").read_text()
    assert "<h1>0 of 1 items are done; 1 are still to do" in page
    assert "No item has a result yet" in page
    assert told(page)["columns"]["status"] == ["pending"]


def test_a_run_of_settings_that_this_version_does_not_know_has_a_page(tmp_path):
    url = small_run(tmp_path)
    file = tmp_path / "run/run.json"
    header = json.loads(file.read_text())
    header["config"] |= {"preset": "gone", "focus.use": "gone", "reading.gone": 1}
    file.write_text(json.dumps(header))
    write_report(url)
    assert "3 of 4 items are done" in (tmp_path / "run/report.html").read_text()


def test_a_run_in_a_bucket_has_its_page_there(s3_url):
    url = small_run(f"{s3_url}/report")
    write_report(url)
    page = storage.read_bytes(f"{url}/report.html").decode()
    assert all("src" in one for one in told(page)["details"]["item 0"]["pictures"])


def test_the_library_is_named_with_its_licence():
    version = re.match(r"//! openseadragon (\S+)", (PAGE / LIBRARY).read_text())[1]
    assert f"OpenSeadragon {version} (BSD licence)" in script()
    assert "Redistribution and use" in (PAGE / "openseadragon.LICENSE.txt").read_text()
